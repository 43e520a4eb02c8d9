"""A run that version 0.1 made is opened, verified anew and resumed by today's code.

`tests/data/run-0.1.tar.gz` holds it: two candidates and six sampled trials on pictures of 16 × 16,
with a finished verification, without pictures and report.
"""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from verified_runs import results

from dipstage.renamed import FormerName
from dipstage.schedules.schedule_file import load_schedule
from search import Run
from search.cli import main
from search.verification.rows import verification_rows

ARCHIVE = Path(__file__).parents[2] / "data" / "run-0.1.tar.gz"


@pytest.fixture
def old(tmp_path: Path) -> Run:
    """A copy of the run."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Run.open("tiny-0.1", tmp_path)


def rows(path: Path) -> list[dict[str, str]]:
    """A table that version 0.1 wrote beside the study."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_trials_and_front_are_those_that_were_recorded(old: Run) -> None:
    recorded = rows(old.folder / "pareto.csv")
    frame = old.trials().set_index("trial")
    assert len(frame) == 8
    assert set(frame["state"]) == {"complete"}
    for row in recorded:
        number = int(row["trial"])
        for name in ("raw_max_psnr_gt_db", "raw_steps_to_max", "smoothed_max_ssim_gt", "wall_s"):
            assert frame[name][number] == pytest.approx(float(row[name]), rel=1e-12), (number, name)
    on_front = [int(row["trial"]) for row in recorded if row["on_front"] == "True"]
    assert [trial.number for trial in old.front()] == on_front
    assert on_front


def test_verdicts_are_those_that_were_recorded(old: Run) -> None:
    recorded = rows(old.folder / "verification.csv")
    today = verification_rows(results(old))
    names = (
        "schedule", "role", "reference", "output", "verdict", "verdict_psnr", "verdict_steps",
        "verdict_of_schedule",
    )  # fmt: skip
    assert [["" if row[name] is None else str(row[name]) for name in names] for row in today] == [
        [row[name] for name in names] for row in recorded
    ]
    for row, was in zip(today, recorded, strict=True):
        for name in ("max_psnr_gt_db_difference", "steps_to_max_difference", "max_psnr_gt_db_p"):
            assert row[name] == pytest.approx(float(was[name]), rel=1e-9)
        if was["shrinkage_db"]:
            assert row["shrinkage_db"] == pytest.approx(float(was["shrinkage_db"]), abs=1e-6)


def test_its_warm_ups_are_those_of_its_schedules(old: Run) -> None:
    held_out = results(old).held_out
    read = {c.name: c.schedule for c in held_out.attributes.candidates}
    trained = {trial.name: trial.schedule for trial in held_out.records()}
    for schedules in (read, trained):
        warmups = {name: each.recipe.warmup for name, each in schedules.items() if each}
        assert warmups.pop("plain warmed up as trial 3") == 14
        assert set(warmups.values()) == {None}


@pytest.mark.long
def test_it_has_a_report_and_exports_schedules(old: Run, tmp_path: Path) -> None:
    assert "tiny-0.1" in old.report(tmp_path / "report.html").read_text()
    best = old.pick("psnr")
    exported = load_schedule(old.export("psnr", tmp_path / "mine.yaml"))
    assert best.schedule is not None
    assert exported.stages == best.schedule.stages
    assert exported.recipe.learning_rate == best.learning_rate
    # What version 0.1 exported is read, too.
    with pytest.warns(FormerName, match="heaviest is now called"):
        assert load_schedule(old.folder / "best.yaml").iterations == 30


def finish(*arguments: str, runs_dir: Path) -> tuple[int, str]:
    """Exit code and output of a command."""
    done = CliRunner().invoke(main, [*arguments, "--runs-dir", str(runs_dir)])
    return done.exit_code, done.output


@pytest.mark.usefixtures("one_process")
def test_it_resumes_once_changes_are_accepted_and_is_verified_again(old: Run) -> None:
    folder = old.folder.parent
    before = old.trials()
    code, output = finish("resume", "tiny-0.1", "--trials", "8", runs_dir=folder)
    assert code == 2, output
    assert "dipstage" in output
    assert "--accept-changes" in output
    assert len(Run.open("tiny-0.1", folder).records()) == 8
    code, output = finish(
        "resume", "tiny-0.1", "--trials", "8", "--accept-changes", runs_dir=folder
    )
    assert code == 0, output
    resumed = Run.open("tiny-0.1", folder)
    states = [trial.state for trial in resumed.records()]
    assert states[:8] == ["complete"] * 8
    # The last two may be raced.
    assert len(states) == 10
    assert set(states[8:]) <= {"complete", "raced"}
    assert resumed.trials()["raw_max_psnr_gt_db"][:8].equals(before["raw_max_psnr_gt_db"])
    code, output = finish(
        "verify", "tiny-0.1", "--restart", "--images", "skimage:rocket", "--seeds", "1", "--fast",
        "knee", "--learning-rates", "[0.01]", runs_dir=folder,
    )  # fmt: skip
    assert code == 0, output
    held_out = results(resumed).held_out
    assert {key.split("-")[0] for t in held_out.records() for key in t.replicates} == {"rocket"}
