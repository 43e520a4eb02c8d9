"""A run as an object: its rows, front, picks, exports, words and pictures."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import CONTENT, KEYS, completed, experiment, new_run, outcome, play

from dipstage.errors import InputError
from dipstage.schedules.schedule_file import (
    ScheduleFile,
    load_schedule,
    read_schedule_file,
    save_schedule,
)
from dipstage.terminal.plots import save_figure
from search import Run
from search.analysis.front import front_of
from search.analysis.status import sentence, status_of
from search.analysis.trial_rows import row
from search.cli import main
from search.execution.ledger import Ledger
from search.experiment.prepare import load_candidates
from search.plots.front import plot_front
from search.presentation.front import relation
from search.terminal.tables import comparison_table, front_table


def text(table: object) -> str:
    """A rich table as plain text."""
    from rich.console import Console

    console = Console(width=250)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_rows_hold_both_outputs_ssim_cost_and_failure(played: Run) -> None:
    frame = played.trials()
    assert frame["trial"].tolist() == list(range(6))
    assert frame["state"].tolist() == ["complete"] * 4 + ["failed", "complete"]
    assert frame["smoothed_max_psnr_gt_db"][0] == 26.0
    assert frame["raw_max_ssim_gt"][0] == 0.75
    assert frame["raw_steps_to_max_ssim_gt"][0] == 21
    assert frame["wall_s"][0] == 10.0
    assert frame["failure"][4] == "diverged"
    assert frame["hosts"][0] == "here"


def test_the_front_is_searched_trials_and_candidates_together(played: Run) -> None:
    assert [trial.number for trial in played.front()] == [3, 1, 2]
    assert played.front() == front_of(played.records())


@pytest.mark.parametrize(
    ("pick", "number"),
    [("psnr", 2), ("steps", 3), ("0", 0), ("knee", 1), ("baseline", 0), ("trial 3", 3)],
)
def test_picks_name_one_trial(played: Run, pick: str, number: int) -> None:
    assert played.pick(pick).number == number


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ("99", "has no trial 99"),
        ("4", "trial 4 is failed"),
        ("best", "knee, psnr, steps, a trial's number or"),
    ],
)
def test_picks_that_name_none_are_refused(played: Run, pick: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        played.pick(pick)


def test_an_empty_run_has_no_front_and_says_so(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    assert run.front() == []
    with pytest.raises(InputError, match="no complete trial yet"):
        run.pick("knee")
    with pytest.raises(InputError, match="no complete trial yet"):
        run.plot_attainment()
    assert "0/6 trials" in sentence(status_of(run))


def test_exported_schedules_say_what_they_are_and_were_measured_on(played: Run) -> None:
    path = played.export("psnr")
    assert path == played.folder / "best.yaml"
    file = read_schedule_file(path)
    trial = played.records()[2]
    assert file.schedule == completed(played, trial)
    assert file.family is not None
    assert file.family.schedule(30, file.schedule.recipe) == file.schedule
    assert file.measured is not None
    assert file.measured.raw.max_psnr_gt_db.mean == 27.0
    assert file.measured.raw.max_psnr_gt_db.n == len(KEYS)
    assert file.measured.smoothed.max_psnr_gt_db.mean == 28.0
    assert file.measured.images == ["skimage:chelsea", "skimage:camera"]
    assert file.provenance is not None
    assert (file.provenance.run, file.provenance.trial) == ("tiny", 2)
    preset = read_schedule_file(played.export("1", played.folder / "log10.yaml"))
    assert (preset.preset, preset.family) == ("log10", None)


def test_an_exported_schedule_is_a_candidate_of_another_search(played: Run, tmp_path: Path) -> None:
    path = played.export("2", tmp_path / "mine.yaml")
    other = new_run(tmp_path / "other", experiment(candidates=[str(path)]))
    play(other, lambda number: (25.0, 10))
    assert other.records()[0].name == "mine"
    assert other.records()[0].schedule == completed(played, played.records()[2])


def test_dominance_is_said_in_words(tmp_path: Path) -> None:
    scores = [(25.0, 20), (26.0, 15), (27.0, 14), (26.0, 14), (20.0, 5), (27.0, 14)]
    run = play(new_run(tmp_path, experiment()), scores.__getitem__)
    trials = run.records()
    members = run.front()
    words = [relation(trial, trials, members) for trial in trials]
    assert words[0] == "dominated by trial 2, trial 5"
    assert words[2] == "dominates baseline, log10"
    assert words[3] == "dominated by trial 2, trial 5"
    assert words[4] == ""


def test_tables_show_front_candidates_and_paired_differences(played: Run) -> None:
    front = text(front_table(played))
    assert front.index("trial 3") < front.index("log10") < front.index("trial 2")
    assert "dominated by log10, trial 2" in front
    comparison = text(comparison_table(played, "raw"))
    assert "+1.00 ± 0.00" in comparison
    assert "4 of 4" in comparison
    assert "0.75" in comparison


@pytest.mark.long
def test_censored_maxima_are_marked_in_every_table(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 0}))
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        for key in KEYS:
            ledger.record(work.number, key, outcome(25.0, 29, censored=key == KEYS[0]))
        ledger.finish(work.number, None)
    assert "≥ 29" in text(front_table(run))
    assert "≥ 29" in text(comparison_table(run, "raw"))
    assert row(run.records()[0], run.objective)["raw_censored"] == 1


def test_the_plot_names_axes_units_and_candidates(played: Run) -> None:
    axes = plot_front(played).axes[0]
    assert axes.get_xlabel() == "steps to max (iterations)"
    assert axes.get_ylabel() == "max PSNR$_{GT}$ (dB)"
    words = {label.get_text() for label in axes.texts}
    assert {"baseline", "log10", "2", "3"} <= words


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_plot_is_the_same_file_each_time(played: Run, tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        save_figure(plot_front(played), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / f"a{suffix}").stat().st_size > 5000


def test_an_empty_run_can_be_plotted(tmp_path: Path) -> None:
    save_figure(plot_front(new_run(tmp_path, experiment())), tmp_path / "a.png")


def test_status_counts_and_estimates(played: Run, tmp_path: Path) -> None:
    status = status_of(played)
    assert (status.complete, status.failed, status.running, status.wanted) == (5, 1, 0, 6)
    assert (status.best, status.best_max_psnr_gt_db) == ("trial 2", 27.0)
    assert status.seconds_left == 0
    line = sentence(status)
    assert "6/6 trials, 0 running, 1 failed, best 27.00 dB at 18 (trial 2), front of 3" in line


def test_time_left_is_by_training_time_and_not_by_the_clock(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    ledger = Ledger(run.study, run.experiment, KEYS)
    assert status_of(run).seconds_left is None
    for number in range(3):
        work = ledger.next()
        assert work is not None
        if number < 2:
            for key in KEYS:
                ledger.record(work.number, key, outcome(25.0, 10))
            ledger.finish(work.number, None)
    # Trials of 4 replicates of 2.5 s; 4 of 6 are left, two at a time.
    run.study.set_user_attr("concurrent", 2)
    assert status_of(run).seconds_left == pytest.approx(20)
    assert status_of(run).trials_per_hour == pytest.approx(720)


def test_searched_settings_are_exported_with_the_schedule(tmp_path: Path) -> None:
    """A trial's own network is in the file, and plain DIP keeps that of the experiment."""
    space = {**CONTENT["space"], "width": {"low": 5, "high": 9}, "scales": {"low": 2, "high": 3}}
    searched = experiment(space=space)
    assert searched.largest == replace(searched.trainer, width=9, scales=3)
    run = play(new_run(tmp_path, searched), lambda number: (25.0 + number, 20))
    trial = run.records()[3]
    path = run.export("3", tmp_path / "wide.yaml")
    measured, recipe = read_schedule_file(path).measured, load_schedule(path).recipe
    assert measured is not None
    assert (recipe.width, recipe.scales) == (trial.params["width"], trial.params["scales"])
    assert (measured.trainer.width, measured.trainer.scales) == (recipe.width, recipe.scales)
    assert recipe.learning_rate == trial.learning_rate == searched.trainer.learning_rate
    assert run.trials()["param_width"][3] == recipe.width
    baseline = read_schedule_file(run.export("0", tmp_path / "plain.yaml"))
    assert baseline.schedule.recipe.width is None
    assert baseline.measured is not None
    assert baseline.measured.trainer.width == searched.trainer.width
    with pytest.raises(InputError, match=r"wide was searched with \d scales, for pictures whose"):
        load_candidates(experiment(candidates=[str(path)], size=18))


def test_the_whole_front_is_exported_or_nothing(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = played.export_front()
    folder = played.folder / "front"
    assert paths == [folder / f"trial-{number}.yaml" for number in (3, 1, 2)]
    assert load_schedule(paths[0]) == completed(played, played.records()[3])
    result = CliRunner().invoke(
        main, ["export", "tiny", "--runs-dir", str(played.folder.parent), "--all", "--output",
               f"{tmp_path / 'mine'}/"]
    )  # fmt: skip
    assert result.output == f"front of 3 written to {tmp_path / 'mine'}/\n"
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {path.name for path in paths}
    monkeypatch.chdir(tmp_path)
    assert played.export_front("mine")[0] == Path("mine/trial-3.yaml"), "named as it was asked for"
    Path("link").symlink_to("mine")
    assert played.export_front("link")[0] == Path("link/trial-3.yaml")
    assert Path("link").is_symlink()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="mine contains something other than a front"):
        played.export_front(tmp_path / "mine")
    (by_hand := tmp_path / "by-hand" / "trial-3.yaml").parent.mkdir()
    content = ScheduleFile(load_schedule(paths[0]))
    for _ in range(2):
        save_schedule(by_hand, content)
    with pytest.raises(InputError, match=r"trial-3\.yaml exists and is a schedule file that this"):
        played.export_front(by_hand.parent)
    assert read_schedule_file(by_hand) == content
    before = [path.read_text() for path in paths]
    monkeypatch.setattr("search.verification.export.save_schedule", _full_disk)
    with pytest.raises(InputError, match="front cannot be written: No space left"):
        played.export_front()
    assert [path.read_text() for path in paths] == before
    assert sorted(path.name for path in played.folder.iterdir() if "front" in path.name) == [
        "front"
    ]


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
