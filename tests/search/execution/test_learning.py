"""Learning from earlier searches: what is taken, what is refused, and that it is all copied."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import CONTENT, experiment, new_run, outcome, picture_digests, play
from PIL import Image

from dipstage.documents.plain_yaml import yaml_text
from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from search import Run
from search.execution.driver import create
from search.execution.learning import learn
from search.execution.ledger import Ledger
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates
from search.experiment.reading import load_experiment
from search.verification.unseen import refuse_seen, seeds_of, seen_pictures

SPACE = {**CONTENT["space"], "stages": {"low": 2, "high": 6}, "split": ["power"]}
NEW: dict[str, Any] = {
    "name": "new", "space": SPACE, "seeds": [5], "images": ["skimage:moon"],
    "search": {"trials": 6, "learn_from": ["tiny"]},
}  # fmt: skip


def score(number: int) -> tuple[float, int]:
    """Objectives of the earlier run: plain DIP, trial 0, has 25 dB at 20."""
    return (25.0, 20) if number == 0 else (25.0 + number / 8, 20 - number)


@pytest.fixture
def earlier(tmp_path: Path) -> Run:
    """A finished search of eight trials and two candidates."""
    tiny = experiment(space=SPACE, search={"trials": 8, "seed": 1}, racing={"enabled": False})
    return play(new_run(tmp_path, tiny), score)


def made(runs_dir: Path, new: Experiment) -> Run:
    """A new run as `launch` makes it, without its pictures checked."""
    candidates = load_candidates(new)
    learned = learn(new, candidates, runs_dir, None)
    digests = picture_digests(tuple(new.images), new.size)
    create(new, runs_dir / new.name, None, digests, candidates, learned=learned)
    return Run.open(new.name, runs_dir)


def test_trials_are_copied_as_differences_to_their_own_plain_dip(
    earlier: Run, tmp_path: Path
) -> None:
    run = made(tmp_path, experiment(**NEW))
    [learned] = run.attributes.learned
    assert (learned.run, list(learned.seeds)) == ("tiny", [0, 1])
    assert list(learned.images) == ["skimage:chelsea", "skimage:camera"]
    assert sorted(learned.pictures) == sorted(earlier.attributes.pictures.values())
    sampled = [trial for trial in earlier.records() if trial.candidate is None]
    assert [params for params, _ in learned.points] == [trial.params for trial in sampled]
    assert [list(gains) for _, gains in learned.points] == [
        [number / 8, -number] for number in range(2, 10)
    ]
    # They are no trials of the new run.
    assert run.records() == []


def values_of(ledger: Ledger) -> list[list[float] | None]:
    """What the sampler is told of all trials; None for those that are under way for it."""
    memory = ledger._searched._memory
    return [trial.values and list(trial.values) for trial in memory.get_trials(deepcopy=False)]


def test_the_sampler_sees_differences_once_plain_dip_has_ended(
    earlier: Run, tmp_path: Path
) -> None:
    run = made(tmp_path, experiment(**NEW, candidates=["log10", "baseline"]))
    keys = ["moon-seed5"]
    ledger = Ledger(run.study, run.experiment, keys)
    works = [ledger.next() for _ in range(4)]
    old = [[number / 8, -number] for number in range(2, 10)]
    assert values_of(ledger) == [*old, None, None]

    def end(index: int, psnr: float, steps: int) -> None:
        work = works[index]
        assert work is not None
        ledger.record(work.number, keys[0], outcome(psnr, steps))
        ledger.finish(work.number, None)

    end(2, 31.0, 12)
    assert values_of(ledger) == [*old, None, None]
    end(1, 30.0, 18)
    assert values_of(ledger) == [*old, [1.0, -6.0], None]
    end(3, 29.5, 8)
    assert values_of(ledger) == [*old, [1.0, -6.0], [-0.5, -10.0]]
    # The study holds the scores themselves, and another driver tells the sampler the same.
    assert [t.values for t in run.records()[1:]] == [(30.0, 18.0), (31.0, 12.0), (29.5, 8.0)]
    assert values_of(Ledger(run.study, run.experiment, keys)) == values_of(ledger)


@pytest.mark.long
def test_a_run_goes_on_alike_when_the_earlier_one_is_gone(earlier: Run, tmp_path: Path) -> None:
    runs = []
    for folder in ("kept", "gone"):
        there = tmp_path / folder
        shutil.copytree(earlier.folder, there / "tiny")
        run = made(there, experiment(**NEW))
        if folder == "gone":
            shutil.rmtree(there / "tiny")
        keys = ["moon-seed5"]
        for trials in (4, 4):
            ledger = Ledger(run.study, run.experiment, keys)
            for _ in range(trials):
                work = ledger.next()
                assert work is not None
                ledger.record(work.number, keys[0], outcome(25 + work.number % 3, 9))
                ledger.finish(work.number, None)
        runs.append([trial.params for trial in run.records()])
    assert runs[0] == runs[1]
    alone = made(tmp_path / "kept", experiment(**{**NEW, "name": "alone", "search": {"trials": 6}}))
    ledger = Ledger(alone.study, alone.experiment, keys)
    params = []
    for _ in range(3):
        work = ledger.next()
        assert work is not None
        params.append(alone.records()[work.number].params)
    assert params[2] != runs[0][2], "what was learned changes what is sampled"


def test_pictures_and_seeds_of_earlier_runs_count_as_seen(earlier: Run, tmp_path: Path) -> None:
    run = made(tmp_path, experiment(**NEW, candidates=["baseline"]))
    assert seeds_of(run, 2) == [6, 7]
    assert set(seen_pictures(run)) == {
        *earlier.attributes.pictures.values(), *run.attributes.pictures.values(),
    }  # fmt: skip
    # At another size, the picture of the earlier run has another digest.
    pictures = {"camera": load_picture("skimage:camera", size=32, multiple=2)}
    words = refuse_seen(run, [1, 9], pictures, allowed=True)
    assert words == ["pictures skimage:camera (a copy of skimage:camera)", "seeds 1"]
    with pytest.raises(InputError, match=r"has seen pictures skimage:camera \(.*\); seeds 1"):
        refuse_seen(run, [1, 9], pictures, allowed=False)


@pytest.mark.long
def test_what_an_earlier_run_had_learned_from_counts_as_seen_but_is_not_learned_again(
    earlier: Run, tmp_path: Path
) -> None:
    second = made(tmp_path, experiment(**NEW))
    play_all(second)
    third = made(
        tmp_path,
        experiment(**{**NEW, "name": "third", "search": {"trials": 3, "learn_from": ["new"]}}),
    )
    learned = {each.run: each for each in third.attributes.learned}
    assert sorted(learned) == ["new", "tiny"]
    assert len(learned["tiny"].points) == 0
    assert sorted(learned["tiny"].pictures) == sorted(earlier.attributes.pictures.values())
    assert len(learned["new"].points) == 6


@pytest.mark.long
@pytest.mark.parametrize("order", [("new", "tiny"), ("tiny", "new")])
def test_two_runs_of_one_name_both_count_as_seen(tmp_path: Path, order: tuple[str, ...]) -> None:
    """A run learned from `tiny`, which was then removed and launched on another picture."""

    def launch(**changes: Any) -> Run:
        tiny = experiment(
            space=SPACE, racing={"enabled": False}, candidates=["baseline"], **changes
        )
        return play(new_run(tmp_path, tiny), score)

    search = {"trials": 2, "seed": 1}
    former = launch(images=["skimage:camera"], seeds=[7], search=search)
    gone = set(former.attributes.pictures.values())
    play_all(made(tmp_path, experiment(**NEW, candidates=["baseline"])))
    shutil.rmtree(former.folder)
    today = launch(images=["skimage:coffee"], seeds=[8], search={**search, "trials": 3})
    third = {**NEW, "name": "third", "search": {"trials": 3, "learn_from": list(order)}}
    run = made(tmp_path, experiment(**third, candidates=["baseline"]))
    assert seen_pictures(run) >= gone | set(today.attributes.pictures.values())
    assert seeds_of(run, 1) == [9]
    assert refuse_seen(run, [7], {}, allowed=True) == ["seeds 7"]
    learned = [(each.run, len(each.points)) for each in run.attributes.learned]
    assert sorted(learned) == [("new", 6), ("tiny", 0), ("tiny", 3)]


def test_a_run_that_is_named_and_was_learned_from_is_listed_once(
    earlier: Run, tmp_path: Path
) -> None:
    play_all(made(tmp_path, experiment(**NEW)))
    third = {**NEW, "name": "third", "search": {"trials": 3, "learn_from": ["new", "tiny"]}}
    learned = made(tmp_path, experiment(**third)).attributes.learned
    assert [(each.run, len(each.points)) for each in learned] == [("tiny", 8), ("new", 6)]


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_learns_which_earlier_trials_violated_a_constraint(
    tmp_path: Path, sampler: str
) -> None:
    limited = {"space": SPACE, "objective": {"max_steps": 16}, "racing": {"enabled": False}}
    play(new_run(tmp_path, experiment(**limited, search={"trials": 8, "seed": 1})), score)
    search = {"trials": 2, "sampler": sampler, "learn_from": ["tiny"]}
    run = made(tmp_path, experiment(**{**NEW, **limited, "search": search}))
    [learned] = run.attributes.learned
    assert [each[2] for each in learned.points] == [{"max_steps": 4.0 - k} for k in range(2, 10)]
    ledger = Ledger(run.study, run.experiment, ["moon-seed5"])
    for _ in range(5):  # The candidates, and trials before and after the first new one has ended.
        work = ledger.next()
        if work is not None:
            ledger.record(work.number, "moon-seed5", outcome(25 + work.number, 18))
            ledger.finish(work.number, None)
    sampled = [trial for trial in run.records() if trial.candidate is None]
    assert [trial.violations for trial in sampled] == [{"max_steps": 2.0}] * 2
    memory = ledger._searched._memory.get_trials(deepcopy=False)
    assert [trial.constraints["max_steps"] for trial in memory] == [
        *(4.0 - k for k in range(2, 10)), 2.0, 2.0,
    ]  # fmt: skip


def play_all(run: Run) -> None:
    """Finish a run of one replicate for each trial."""
    ledger = Ledger(run.study, run.experiment, ["moon-seed5"])
    while (work := ledger.next()) is not None:
        ledger.record(work.number, "moon-seed5", outcome(25 + work.number, 20))
        ledger.finish(work.number, None)


def masked(path: Path, missing: int) -> dict[str, str]:
    """A task with a mask that is written to a path."""
    pixels = np.full((16, 16), 255, np.uint8)
    pixels[:missing] = 0
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return {"kind": "inpaint", "mask": str(path)}


def test_a_mask_is_compared_by_its_content(tmp_path: Path) -> None:
    task = masked(tmp_path / "one/mask.png", 5)
    play(new_run(tmp_path, experiment(space=SPACE, task=task)), score)
    new = experiment(**NEW, task=masked(tmp_path / "two/mask.png", 5))
    [learned] = learn(new, load_candidates(new), tmp_path, None)
    assert len(learned.points) == 4
    new = experiment(**NEW, task=masked(tmp_path / "three/mask.png", 6))
    with pytest.raises(InputError, match=r"task\.mask of 'tiny' is SHA-256 .*, and here SHA-256"):
        learn(new, load_candidates(new), tmp_path, None)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"search": {"trials": 1, "learn_from": ["nothing"]}}, "run 'nothing' does not"),
    "task": ({"task": {"sigma_255": 15}}, r"task\.sigma_255 of 'tiny' is 25.*, and here 15"),
    "objective": (
        {"objective": {"output": "smoothed"}},
        r"objective\.output of 'tiny' is raw, and here smoo",
    ),
    "plain": ({"candidates": ["log10"]}, "needs plain DIP, .*: add baseline to candidates"),
    "parameters": (
        {"space": {**SPACE, "split": ["power", "log"]}},
        r"other parameters than this one: space.split \(space.split: power there, searched here",
    ),
    "ranges": (
        {"space": {**SPACE, "ramp": {"low": 1, "high": 2}}},
        "no trial to learn from: 8 lie outside this space",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_runs_that_do_not_fit_are_refused_in_one_sentence(
    earlier: Run, tmp_path: Path, what: str
) -> None:
    changes, words = WRONG[what]
    new = experiment(**{**NEW, **changes})
    with pytest.raises(InputError, match=rf"search\.learn_from:? .*{words}"):
        learn(new, load_candidates(new), tmp_path, None)


@pytest.mark.parametrize(("candidate", "psnr"), [("log10", 25.0), ("baseline", math.inf)])
def test_a_run_without_a_score_of_plain_dip_is_refused(
    tmp_path: Path, candidate: str, psnr: float
) -> None:
    tiny = experiment(space=SPACE, search={"trials": 1}, candidates=[candidate])
    play(new_run(tmp_path, tiny), lambda _: (psnr, 20))
    new = experiment(**NEW)
    with pytest.raises(InputError, match="'tiny' has no complete plain DIP of finite scores among"):
        learn(new, load_candidates(new), tmp_path, None)


@pytest.mark.parametrize("sampler", ["random", "qmc", "nsga2"])
def test_samplers_that_would_ignore_it_are_refused(sampler: str) -> None:
    search = {"trials": 1, "sampler": sampler, "learn_from": ["tiny"]}
    with pytest.raises(InputError, match=f"needs the sampler tpe or gp, .* got {sampler} and 1"):
        experiment(search=search)


def test_a_run_may_be_named_by_its_folder_relative_to_the_experiment(
    earlier: Run, tmp_path: Path
) -> None:
    (tmp_path / "lab").mkdir()
    path = tmp_path / "lab" / "new.yaml"
    path.write_text(yaml_text({**CONTENT, **NEW, "search": {"learn_from": ["../tiny"]}}))
    new = load_experiment(path)
    assert new.search.learn_from == [str(tmp_path / "lab" / "../tiny")]
    [learned] = learn(new, load_candidates(new), tmp_path / "elsewhere", None)
    assert len(learned.points) == 8
