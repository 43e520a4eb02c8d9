"""What a verification may be made of."""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from fake_runs import CONTENT, experiment, new_run, play
from PIL import Image
from played_verification import searched

from dipstage.errors import InputError
from dipstage.pictures.images import Picture, Pixels, load_picture
from dipstage.pictures.likeness import SAME, SIMILAR, likeness
from dipstage.schedules.schedule_file import read_schedule_file
from search import Run
from search.experiment.candidate import Candidate
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates
from search.plots.chosen import choose as drawn
from search.verification.declared import Claim, Request
from search.verification.export import choose
from search.verification.plan import new_plan
from search.verification.references import INPUT_NOISE, LEARNING_RATES, recipe_words
from search.verification.unseen import refuse_seen


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_a_copy_of_a_searched_picture_counts_as_seen(tmp_path: Path, suffix: str) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    picture = Image.fromarray(skimage.data.chelsea())
    if suffix == ".png":  # Half the size, with a palette.
        picture = picture.resize((226, 150)).convert("P")
    path = tmp_path / f"copy{suffix}"
    picture.save(path)

    def loaded(name: str) -> dict[str, Picture]:
        size = run.experiment.size
        return {"p": load_picture(name, size=size, multiple=run.experiment.trainer.multiple)}

    with pytest.raises(InputError, match=r"has seen pictures .*\(a copy of skimage:chelsea\)"):
        refuse_seen(run, [9], loaded(str(path)), allowed=False)
    [words] = refuse_seen(run, [9], loaded(str(path)), allowed=True) or []
    assert "a copy of skimage:chelsea" in words
    assert refuse_seen(run, [9], loaded("skimage:coffee"), allowed=False) is None


def test_pictures_that_are_copies_of_each_other_are_refused(tmp_path: Path) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "copy.jpg")
    names = ("skimage:coffee", "skimage:rocket", str(tmp_path / "copy.jpg"))
    pictures = {name: load_picture(name, size=16, multiple=2) for name in names}
    with pytest.raises(InputError, match=r"copy\.jpg is a copy of skimage:coffee: leave one of"):
        refuse_seen(run, [9], pictures, allowed=True)
    coffee, rocket, _ = pictures.values()
    pixels = blend_of(coffee, rocket)
    alike = {"coffee": coffee, "mine": replace(rocket, name="mine.png", pixels=pixels)}
    assert refuse_seen(run, [9], alike, allowed=False) is None
    assert alike["coffee"].notices == coffee.notices
    assert "mine.png is like skimage:coffee: is it" in alike["mine"].notices[-1]


def blend_of(one: Picture, other: Picture) -> Pixels:
    """A blend of two pictures, with the share at which its likeness to the first is in between."""
    blends = (share * one.pixels + (1 - share) * other.pixels for share in np.linspace(0, 1, 101))
    pixels: Pixels = next(each for each in blends if likeness(each, one.pixels) > SIMILAR + 0.02)
    assert likeness(pixels, one.pixels) < SAME
    return pixels


def test_a_picture_that_is_like_a_searched_one_gets_a_notice(tmp_path: Path) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    one, other = (
        load_picture(f"skimage:{name}", size=16, multiple=2) for name in ("chelsea", "coffee")
    )
    pictures = {"p": replace(other, name="mine.png", pixels=blend_of(one, other))}
    assert refuse_seen(run, [9], pictures, allowed=False) is None
    assert "mine.png is like skimage:chelsea of the search" in pictures["p"].notices[-1]


@pytest.fixture
def compared(tmp_path: Path) -> Run:
    """A finished comparison of two schedule files and a copy, rescaled to another task."""
    source = play(new_run(tmp_path / "source", experiment()), lambda number: (25.0 + number, 20))
    paths = [source.export(str(n), tmp_path / f"{name}.yaml") for n, name in ((2, "a"), (3, "b"))]
    shutil.copy(paths[0], tmp_path / "copy.yaml")
    candidates = ["baseline", *map(str, paths), str(tmp_path / "copy.yaml")]
    alone = experiment(
        name="alone", candidates=candidates, search={"trials": 0}, space=None,
        task={"sigma_255": 50.0}, trainer={**CONTENT["trainer"], "iterations": 40},
    )  # fmt: skip
    return play(new_run(tmp_path, alone), lambda number: (25.0 + number, 20))


def test_candidates_alone_are_claimed_by_their_names(compared: Run) -> None:
    a, b = compared.records()[1:3]
    assert (a.name, b.name) == ("a", "b")
    plan = new_plan(compared, Request(images=("skimage:coins",), fast="a", best="b", claims=8,
                                      references=12))  # fmt: skip
    assert plan.declared is not None
    assert plan.declared.claims == [Claim(a.number, "time"), Claim(b.number, "psnr")]
    assert (plan.declared.family, len(plan.declared.references)) == (8, 12)
    one = new_plan(compared, Request(images=("skimage:coins",), best="b"))
    assert one.declared is not None
    assert one.declared.claims == [Claim(b.number, "psnr")]
    assert len(one.declared.references) == 5, "every learning rate"


def test_one_schedule_in_two_files_is_claimed_once(compared: Run) -> None:
    for best in ("a", "copy"):
        with pytest.raises(InputError, match="--fast and --best name the same schedule"):
            new_plan(compared, Request(images=("skimage:coins",), fast="a", best=best))


def test_a_number_means_the_trial_in_earlier_runs_with_such_a_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named_5(experiment: Experiment) -> list[Candidate]:
        return [replace(each, name="5") for each in load_candidates(experiment)]

    monkeypatch.setattr("fake_runs.load_candidates", named_5)
    run = new_run(tmp_path, experiment(candidates=["log10"], search={"trials": 5}))
    scores = {0: (24.0, 24), 1: (25.0, 20), 2: (24.5, 22), 3: (25.5, 12), 4: (25.0, 10)}
    play(run, lambda number: scores.get(number, (27.0, 25)))
    assert run.records()[0].name == "5"
    for which in ("5", 5):
        assert run.pick(which).number == 5
        assert [trial.number for trial in drawn(run, [which], lambda trial: True)] == [5]
    assert choose(run, "best").trial.number == 5
    plan = new_plan(run, Request(images=("skimage:coins",), best="5"))
    assert plan.trials == [5]
    exported = [read_schedule_file(path).provenance for path in run.export_front()]
    assert [each.trial for each in exported if each] == [4, 3, 5]
    assert run.pick("0").name == "5"


def test_a_candidate_of_an_earlier_run_is_picked_by_a_number_that_no_trial_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named_64(experiment: Experiment) -> list[Candidate]:
        return [replace(each, name="64") for each in load_candidates(experiment)]

    monkeypatch.setattr("fake_runs.load_candidates", named_64)
    run = new_run(tmp_path, experiment(candidates=["log10"]))
    play(run, lambda number: (25.0 + number, 20))
    assert run.pick("64").number == 0
    with pytest.raises(InputError, match="run 'tiny' has no trial 64"):
        run.pick(64)


def test_more_references_than_can_differ_are_refused(compared: Run) -> None:
    request = Request(images=("skimage:coins",), fast="a", learning_rates=(0.01,), references=34)
    with pytest.raises(
        InputError, match=r"rates \[0.01\] give plain DIP only 33 .* 34: .*, or lower --references"
    ):
        new_plan(compared, request)
    plan = new_plan(compared, replace(request, references=33))
    assert plan.declared is not None
    assert len(set(map(recipe_words, plan.declared.references))) == 33


@pytest.mark.long
def test_a_raw_search_of_many_schedules_tunes_plain_dip_over_a_quarter_of_them(
    tmp_path: Path,
) -> None:
    """Five rates and three levels of input noise are 15 combinations."""
    run = play(new_run(tmp_path, experiment(search={"trials": 80})), lambda number: (25.0, 10))
    plans = [
        new_plan(run, Request(images=("skimage:coins",), fast="2", references=references))
        for references in (None, 21, 30)
    ]
    usual, asked, more = (plan.declared.references for plan in plans if plan.declared)
    assert (len(usual), len(more)) == (21, 30)
    assert usual == asked == more[:21]
    assert len(set(map(recipe_words, more))) == 30
    trainer = run.experiment.trainer
    first = {(recipe.learning_rate, recipe.input_noise_std) for recipe in usual[:15]}
    shares = [share * trainer.input_noise_std for share in INPUT_NOISE]
    assert first == set(product(LEARNING_RATES, shares))
    for name, tried in (("learning_rate", LEARNING_RATES), ("input_noise_std", shares)):
        assert all(min(tried) <= getattr(recipe, name) <= max(tried) for recipe in more)
    with pytest.raises(InputError, match="--references must be at least 21, a quarter of"):
        new_plan(run, Request(images=("skimage:coins",), fast="2", references=20))


def test_one_learning_rate_without_input_noise_is_too_little_to_tune(tmp_path: Path) -> None:
    trainer = {**CONTENT["trainer"], "input_noise_std": 0.0}
    run = play(new_run(tmp_path, experiment(trainer=trainer)), lambda number: (25.0, 10))
    request = Request(images=("skimage:coins",), fast="2", learning_rates=(0.01,))
    with pytest.raises(InputError, match=r"\[0.01\] give .* only 1 .* over 2: name more rates$"):
        new_plan(run, request)
    plan = new_plan(run, replace(request, learning_rates=(0.01, 0.02)))
    assert plan.declared is not None
    assert [recipe.learning_rate for recipe in plan.declared.references] == [0.01, 0.02]


def test_an_exported_candidate_says_how_it_was_rescaled(compared: Run, tmp_path: Path) -> None:
    schedule = compared.records()[1].schedule
    assert schedule is not None
    assert schedule.iterations == 40
    exported = read_schedule_file(compared.export("1", tmp_path / "again.yaml")).provenance
    assert exported is not None
    assert exported.run == "alone"
    assert exported.origin == (
        f"trial 2 of tiny; iterations 30 → 40, the ramp keeps its {schedule.ramp}; noise levels "
        "and sigma × 2, input noise 0.0333 → 0.0471"
    )


@pytest.mark.long
def test_claims_are_the_front_s_knee_and_end_by_default_and_never_plain_dip(
    tmp_path: Path,
) -> None:
    images = ("skimage:coins",)
    space = {**experiment().model_dump()["space"], "stages": {"low": 1, "high": 1}}
    run = searched(tmp_path / "plain", space=space, candidates=["baseline"])
    assert {len(t.schedule.stages) for t in run.front() if t.schedule} == {1}
    with pytest.raises(InputError, match="front of 'tiny' holds no staged schedule to verify"):
        new_plan(run, Request(images=images))
    with pytest.raises(InputError, match="--best 0: baseline is plain DIP, which has no stages"):
        new_plan(run, Request(images=images, best="0"))
    staged = searched(tmp_path / "staged")

    def claims(**asked: str) -> dict[int, str]:
        declared = new_plan(staged, Request(images=images, **asked)).declared  # type: ignore[arg-type]
        assert declared is not None
        return {claim.trial: claim.endpoint for claim in declared.claims}

    assert claims() == {2: "time", 5: "psnr"}
    assert claims(fast="log10") == {1: "time"}
    assert claims(best="steps") == {3: "psnr"}
    with pytest.raises(InputError, match=r"--fast: .* picked by knee, psnr, steps"):
        claims(fast="best")
    with pytest.raises(InputError, match="--fast and --best name the same schedule"):
        claims(fast="5", best="psnr")


@pytest.mark.long
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"claims": 1}, "--claims must count these 2, got 1"),
        ({"alpha": 0.1}, r"--alpha must be in \(0, 0.05\], got 0.1"),
        ({"smallest_db": 0.0}, "--smallest-db must be above 0"),
        ({"smallest_ratio": 1.0}, "--smallest-ratio in"),
        ({"references": 4}, "--references must be at least 5, a quarter of the search's schedules"),
    ],
)
def test_wrong_declarations_are_refused(
    tmp_path: Path, asked: dict[str, float], words: str
) -> None:
    run = searched(tmp_path)
    with pytest.raises(InputError, match=words):
        new_plan(run, Request(images=("skimage:coins",), **asked))  # type: ignore[arg-type]
