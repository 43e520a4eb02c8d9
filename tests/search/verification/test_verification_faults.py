"""A verification that is killed or interrupted goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import dipsearch, finish, kill_tree
from verified_runs import copy, results

from search import Run
from search.verification.parts import part

pytestmark = pytest.mark.ray


@pytest.mark.slow
def test_kill_9_at_three_moments_costs_no_finished_replicate(searched: Run, tmp_path: Path) -> None:
    run = copy(searched, tmp_path)
    command: tuple[str, ...] = (
        "verify", "tiny", "--images", "skimage:coffee", "--images", "skimage:rocket",
        "--seeds", "2", "--learning-rates", "[0.01, 0.02]", "--baseline-iterations", "400",
    )  # fmt: skip
    kept: dict[str, tuple[int, bytes]] = {}
    for wanted in (1, 5, 12):
        process = dipsearch(*command, runs_dir=tmp_path)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if len(curves_of(run)) >= wanted:
                break
            time.sleep(0.02)
        assert process.poll() is None, "the verification ended before it was killed"
        kill_tree(process)
        kept |= {name: curve for name, curve in curves_of(run).items() if name in recorded(run)}
        command = ("verify", "tiny")
    assert len(kept) >= 10
    assert finish("verify", "tiny", runs_dir=tmp_path)[0] == 0
    now = curves_of(run)
    assert {name: now[name] for name in kept} == kept
    verification = results(run)
    for comparison in (verification.tuned, verification.held_out):
        records = comparison.records()
        names = [trial.name for trial in records]
        assert len(set(names)) == len(names) == comparison.candidates_wanted
        assert {trial.state for trial in records} == {"complete"}
    trained = 2 * len(verification.tuned.records()) + 4 * len(verification.held_out.records())
    assert len(now) == trained


def curves_of(run: Run) -> dict[str, tuple[int, bytes]]:
    """Time and content of the curves of both comparisons."""
    return {
        str(path.relative_to(run.folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for name in ("learning-rate", "verification")
        for path in (run.folder / name / "curves").glob("trial*.npz")
    }


def recorded(run: Run) -> set[str]:
    """Files of the replicates that the two studies know."""
    known = set()
    for name in ("learning-rate", "verification"):
        made = part(run, name)
        for trial in made.records() if made else []:
            for key in trial.replicates:
                known.add(f"{name}/curves/trial{trial.number:05d}-{key}.npz")
    return known


def test_an_interrupted_verification_says_how_to_go_on(searched: Run, tmp_path: Path) -> None:
    run = copy(searched, tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "search.cli", "verify", "tiny", "--runs-dir", str(tmp_path),
         "--images", "skimage:coffee", "--baseline-iterations", "3000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run.folder / "learning-rate" / "study.db").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == (
        f"interrupted; continue with: dipsearch verify tiny --runs-dir {tmp_path}"
    )
