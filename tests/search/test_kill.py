"""kill -9 of the driver at six moments, then resume: the counts are exact."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_runs import experiment
from processes import dipsearch, finish, kill_tree

from search.paths import curve_path
from search.run import Run

TRIALS, CANDIDATES, REPLICATES = 4, 2, 2


def progress(run: Run | None) -> tuple[int, int, int]:
    """Trials dispatched, replicates recorded, trials complete."""
    trials = run.records() if run else []
    return (
        sum(trial.schedule is not None for trial in trials),
        sum(len(trial.outcomes) for trial in trials),
        sum(trial.state == "complete" for trial in trials),
    )


MOMENTS = {
    "before the run is made": None,
    "the run is made": (0, 0, 0),
    "first trial dispatched": (1, 0, 0),
    "first replicate recorded": (1, 1, 0),
    "in the middle": (3, 4, 2),
    "at the last trial": (6, 10, 4),
}


def written(run: Run) -> dict[str, tuple[int, bytes]]:
    """Time and content of the curves of every replicate that the study knows."""
    paths = [
        curve_path(run.folder, trial.number, key)
        for trial in run.records()
        for key in trial.outcomes
    ]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_kill_9_of_the_driver_and_resume_gives_exact_counts(tmp_path: Path) -> None:
    tiny = experiment(
        seeds=[0],
        search={"trials": TRIALS},
        trainer={"iterations": 200, "width": 8, "scales": 2},
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.yaml())
    runs_dir = tmp_path / "runs"
    command = ("launch", str(path))
    kept: dict[str, tuple[int, bytes]] = {}
    for moment, wanted in MOMENTS.items():
        process = dipsearch(*command, runs_dir=runs_dir)
        run = None
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if wanted is None and len(psutil.Process(process.pid).children(recursive=True)) > 2:
                break  # Ray is starting.
            if run is None and (runs_dir / "tiny" / "study.db").exists():
                run = Run.open("tiny", runs_dir)
            now = progress(run)
            if run and wanted and all(n >= w for n, w in zip(now, wanted, strict=True)):
                break
            time.sleep(0.02)
        assert process.poll() is None, f"the search ended before the moment: {moment}"
        kill_tree(process)
        if wanted is None:
            assert not (runs_dir / "tiny").exists()
            continue
        kept |= written(Run.open("tiny", runs_dir))
        command = ("resume", "tiny")
    assert len(kept) >= 10
    assert finish("resume", "tiny", runs_dir=runs_dir)[0] == 0

    finished = Run.open("tiny", runs_dir)
    trials = finished.records()
    assert [trial.state for trial in trials] == ["complete"] * (TRIALS + CANDIDATES)
    assert [trial.candidate for trial in trials if trial.candidate] == ["baseline", "log10"]
    assert {t.state.name for t in finished.study.get_trials()} <= {"COMPLETE", "FAIL"}
    for trial in trials:
        assert len(trial.outcomes) == REPLICATES
        for key, outcome in trial.outcomes.items():
            psnr = finished.curves(trial, key)["psnr_gt_raw_db"]
            assert float(np.max(psnr)) == outcome["raw"]["max_psnr_gt_db"]
    names = {p.name for p in (finished.folder / "curves").iterdir() if p.suffix == ".npz"}
    assert len(names) == (TRIALS + CANDIDATES) * REPLICATES
    # What was finished before a kill was not trained again: its file is as it was.
    now_written = written(finished)
    assert {name: now_written[name] for name in kept} == kept
    schedules = [str(trial.params) for trial in trials if not trial.candidate]
    assert len(set(schedules)) == TRIALS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_search_with_130_and_the_line_that_resumes_it(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(experiment(seeds=[0]).yaml())
    process = subprocess.Popen(
        [sys.executable, "-m", "search.cli", "launch", str(path), "--runs-dir", str(tmp_path / "r"),
         "--set", "trainer.iterations=3000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    run = None
    while time.monotonic() < deadline:
        if run is None and (tmp_path / "r" / "tiny" / "study.db").exists():
            run = Run.open("tiny", tmp_path / "r")
        if progress(run)[0]:
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == (
        f"interrupted; go on with: dipsearch resume tiny --runs-dir {tmp_path / 'r'}"
    )
