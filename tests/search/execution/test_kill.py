"""kill -9 of the driver at chosen moments, then resume: the counts are exact."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from counts import assert_exact, written
from fake_runs import experiment
from processes import dipsearch, finish, kill_tree

from search import Run

pytestmark = pytest.mark.ray

TRIALS = 4


def progress(run: Run | None) -> tuple[int, int, int]:
    """Trials dispatched, replicates recorded, trials complete."""
    trials = run.records() if run else []
    return (
        sum(trial.schedule is not None for trial in trials),
        sum(len(trial.replicates) for trial in trials),
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


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(["before the run is made", "in the middle"], id="two"),
        pytest.param(list(MOMENTS), id="six", marks=pytest.mark.slow),
    ],
)
def test_kill_9_of_the_driver_and_resume_gives_exact_counts(
    tmp_path: Path, moments: list[str]
) -> None:
    tiny = experiment(
        seeds=[0],
        search={"trials": TRIALS},
        trainer={"iterations": 80, "width": 8, "scales": 2},
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.yaml())
    runs_dir = tmp_path / "runs"
    command = ("launch", str(path))
    kept: dict[str, tuple[float, bytes]] = {}
    for moment in moments:
        wanted = MOMENTS[moment]
        process = dipsearch(*command, runs_dir=runs_dir)
        run = None
        deadline = time.monotonic() + 300
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
    assert len(kept) >= 4
    assert finish("resume", "tiny", runs_dir=runs_dir)[0] == 0

    finished = Run.open("tiny", runs_dir)
    assert_exact(finished)
    # What was finished before a kill was not trained again: its file is as it was.
    now_written = written(finished)
    assert {name: now_written[name] for name in kept} == kept
    schedules = [str(trial.params) for trial in finished.records() if not trial.candidate]
    assert len(set(schedules)) == TRIALS


def to_group(process: subprocess.Popen[str]) -> None:
    """SIGTERM to the driver and all that share its process group, as a batch system sends it."""
    os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda process: process.send_signal(signal.SIGINT), id="SIGINT"),
        # The next one covers it, and so does the test of an interrupted verification.
        pytest.param(
            lambda process: process.send_signal(signal.SIGTERM),
            id="SIGTERM",
            marks=pytest.mark.slow,
        ),
        pytest.param(to_group, id="SIGTERM to the group"),
    ],
)
def test_a_signal_ends_a_search_with_130_and_the_line_that_resumes_it(
    tmp_path: Path, send: Callable[[subprocess.Popen[str]], None]
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(experiment(seeds=[0], resources={"concurrent": 1}).yaml())
    process = subprocess.Popen(
        [sys.executable, "-m", "search.cli", "launch", str(path), "--runs-dir", str(tmp_path / "r"),
         "--set", "trainer.iterations=3000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    run = None
    while time.monotonic() < deadline:
        if run is None and (tmp_path / "r" / "tiny" / "study.db").exists():
            run = Run.open("tiny", tmp_path / "r")
        if progress(run)[0]:
            break
        time.sleep(0.05)
    send(process)
    _, errors = process.communicate(timeout=60)
    resume = f"dipsearch resume tiny --runs-dir {tmp_path / 'r'}"
    # No trial is complete, so there is nothing to end it with.
    assert (process.returncode, errors) == (130, f"interrupted; continue with: {resume}\n")
