"""Searches side by side, on runs whose scores are known."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from click.testing import CliRunner
from fake_runs import experiment, new_run, play
from PIL import Image

from dipstage.errors import InputError
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from search import Run
from search.analysis.comparison import (
    after_hours,
    after_trials,
    attained_by_share,
    attained_within,
    check_comparable,
    history,
    reference_point,
    repetitions,
)
from search.cli import main
from search.experiment.objectives import Score
from search.terminal.comparison_tables import print_comparison

SIGMA_255 = {"kind": "denoise", "sigma_255": 255.0}  # A reference at 0 dB, 30 iterations.


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that no test changes."""
    return tmp_path_factory.mktemp("runs")


def search(runs_dir: Path, name: str, seed: int = 0, **changes: Any) -> Run:
    """Trials 0 … 5 at (n + 1) dB and 20 - n steps: each dominates all before. Made once."""
    if (runs_dir / name).exists():
        return Run.open(name, runs_dir)
    settings = {"search": {"trials": 4, "seed": seed}, "task": SIGMA_255, **changes}
    tiny = experiment(name=name, **settings)
    return play(new_run(runs_dir, tiny), lambda number: (number + 1.0 + seed, 20 - number))


def test_the_reference_is_the_observation_at_the_end_of_the_budget() -> None:
    reference = reference_point(experiment(task={"sigma_255": 25.0}))
    assert reference.max_psnr_gt_db == pytest.approx(20.172, abs=1e-3)
    assert reference.steps_to_max == 30
    assert reference_point(experiment(task={"sigma_255": 0.0})) == Score(0.0, 30.0)


def test_hypervolume_grows_trial_by_trial_as_by_hand(runs_dir: Path) -> None:
    moments = history(search(runs_dir, "a"))
    assert [m.trials for m in moments] == [1, 2, 3, 4, 5, 6]
    # Trial n alone is the front: (n + 1) dB times 30 - (20 - n) iterations.
    assert [m.hypervolume for m in moments] == [(n + 1) * (10 + n) for n in range(6)]
    # Four replicates of 2.5 s each.
    assert moments[-1].training_hours == pytest.approx(6 * 10 / 3600)
    assert after_trials(moments, 3) == 36
    assert after_trials(moments, 0) == 0
    assert after_hours(moments, moments[1].training_hours) == 22
    assert after_hours(moments, 0) == 0


def test_a_failed_trial_costs_time_and_adds_no_area(tmp_path: Path) -> None:
    run = play(
        new_run(tmp_path, experiment(task=SIGMA_255)),
        lambda number: "diverged" if number == 2 else (5.0, 10),
    )
    moments = history(run)
    assert len(moments) == 6
    assert {m.hypervolume for m in moments} == {100.0}


@pytest.mark.long
def test_repetitions_differ_in_seed_alone(runs_dir: Path) -> None:
    runs = [search(runs_dir, name, seed) for name, seed in (("a", 0), ("b", 1), ("c", 2))]
    other = search(runs_dir, "d", candidates=["baseline", "uniform"])
    assert [[run.name for run in group] for group in repetitions([*runs, other])] == [
        ["a", "b", "c"],
        ["d"],
    ]


def uploaded(
    home: Path, name: str, seed: int, missing: int = 5, preset: str = "log10:stages=3"
) -> Run:
    """A run whose picture, mask and schedule file lie in a folder of its own."""
    (home / name).mkdir(parents=True)
    shutil.copy(Path(skimage.data.__file__).parent / "brick.png", home / name)
    mask = np.full((16, 16), 255, np.uint8)
    mask[:missing] = 0
    Image.fromarray(mask).save(home / name / "mask.png")
    schedule = ScheduleFile(parse_preset(preset).schedule(30))
    save_schedule(home / name / "mine.yaml", schedule)
    return new_run(
        home / "runs",
        experiment(
            name=name,
            images=[f"{home / name}/brick.png"],
            task={"kind": "inpaint", "mask": f"{home / name}/mask.png"},
            candidates=["baseline", f"{home / name}/mine.yaml"],
            search={"trials": 4, "seed": seed},
        ),
    )


def test_repetitions_may_have_their_files_in_different_folders(tmp_path: Path) -> None:
    runs = [uploaded(tmp_path, name, seed) for seed, name in enumerate("abc")]
    check_comparable(runs)
    other_schedule = uploaded(tmp_path, "d", 0, preset="log10:stages=4")
    other_mask = uploaded(tmp_path, "e", 0, missing=6)
    groups = repetitions([*runs, other_schedule, other_mask])
    assert [[run.name for run in group] for group in groups] == [["a", "b", "c"], ["d"], ["e"]]
    with pytest.raises(InputError, match=r"cannot be compared: task is .*'mask': 'SHA-256 "):
        check_comparable([runs[0], other_mask])
    # Without digests, as in a study of an early version, paths are compared.
    for run in runs[:2]:
        for attribute in ("pictures", "files", "candidates"):
            run.study.set_user_attr(attribute, [] if attribute == "candidates" else {})
    assert [len(group) for group in repetitions(runs)] == [1, 1, 1]
    assert len(repetitions([runs[0], runs[0]])) == 1


def test_attainment_over_repetitions_is_what_a_share_of_them_reached() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert [attained_by_share(values, s) for s in (0.25, 0.5, 0.75, 1.0)] == [4, 3, 2, 1]
    assert attained_by_share([7.0], 0.25) == 7.0
    scores = [Score(25, 10), Score(27, 20)]
    assert [attained_within(scores, steps) for steps in (9, 10, 25)] == [-float("inf"), 25, 27]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 32}, "size is 16 in one and 32 in the other"),
        ({"seeds": [5]}, r"seeds is \[0, 1\] in one and \[5\]"),
        ({"objective": {"output": "smoothed"}}, "objective.output is raw in one and smoothed in"),
        ({"task": {"sigma_255": 50.0}}, "task is"),
    ],
)
def test_searches_of_other_tasks_are_refused(
    runs_dir: Path, changes: dict[str, Any], words: str
) -> None:
    one, other = search(runs_dir, "a"), search(runs_dir, f"other-{next(iter(changes))}", **changes)
    with pytest.raises(InputError, match=words):
        check_comparable([one, other])


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"sigma_255": 25.0}, "measured from the observation's 20.17 dB at 30 iterations"),
        ({"kind": "inpaint", "missing": 0.4}, "measured from 0.00 dB at 30 iterations"),
        ({"sigma_255": 0.0}, "measured from 0.00 dB at 30 iterations"),
    ],
)
def test_the_reference_is_called_the_observation_s_only_where_it_is(
    tmp_path: Path, task: dict[str, Any], words: str
) -> None:
    printed: list[str] = []
    print_comparison([search(tmp_path, "a", task=task)], lambda *said, **_: printed.extend(said))
    assert printed[-1].endswith(words)


@pytest.mark.long
def test_the_command_shows_writes_and_draws(runs_dir: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        search(runs_dir, name, seed)

    def compare(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["compare", *arguments, "--runs-dir", str(runs_dir)])

    shown = compare("a", "b", "c").stdout
    assert "hypervolume over trials" in shown
    assert "attainment of 3 repeated searches: a, b, c" in shown
    assert "measured from the observation's 0.00 dB at 30 iterations" in shown
    path, plot = tmp_path / "areas.csv", tmp_path / "areas.png"
    assert compare("a", "b", "--csv", str(path), "--plot", str(plot)).exit_code == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["search"] for row in rows] == ["a"] * 6 + ["b"] * 6
    assert float(rows[5]["hypervolume_db_iterations"]) == 90.0
    assert plot.read_bytes().startswith(b"\x89PNG")
    for arguments in (("a",), ("a", "a"), ()):
        refused = compare(*arguments)
        assert refused.exit_code == 2
        assert "name at least two runs, each once" in refused.stderr
    refused = compare("a", "b", "--plot", "areas.gif")
    assert "--plot must end in .png, .svg or .pdf" in refused.stderr


def test_runs_of_one_name_in_two_folders_are_told_apart_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, seed in (("one", 0), ("two", 1)):
        search(tmp_path / folder, "a", seed)

    def compare(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["compare", *arguments])

    shown = compare("one/a", "two/a")
    assert shown.exit_code == 0, shown.output
    assert "attainment of 2 repeated searches: one/a, two/a" in shown.stdout
    rows = json.loads(compare("one/a", "two/a", "--json").stdout)
    assert {row["search"] for row in rows} == {"one/a", "two/a"}
    assert "each once" in compare("one/a", f"{tmp_path}/one/../one/a").stderr


def test_a_search_that_has_not_begun_compares_as_nothing(runs_dir: Path) -> None:
    search(runs_dir, "a")
    new_run(runs_dir, experiment(name="empty", task=SIGMA_255))
    done = CliRunner().invoke(main, ["compare", "a", "empty", "--runs-dir", str(runs_dir)])
    assert done.exit_code == 0, done.output
