"""A search whose driver is ended at 20 random moments, and one whose workers keep dying."""

import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from counts import assert_exact, finished, opened, written
from fake_runs import experiment
from processes import descendants, dipsearch, finish, kill, trainers

from search import Run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MOMENTS, TRIALS = 20, 30


@pytest.mark.timeout(1500)
def test_a_driver_that_is_ended_at_20_random_moments_loses_nothing(tmp_path: Path) -> None:
    path, runs_dir = tmp_path / "tiny.yaml", tmp_path / "runs"
    path.write_text(
        experiment(
            seeds=[0],
            search={"trials": TRIALS},
            racing={"enabled": False},
            trainer={"iterations": 150, "width": 8, "scales": 2},
        ).yaml()
    )
    chance = random.Random(4)
    kept: dict[str, tuple[float, bytes]] = {}
    done: set[int] = set()
    for moment in range(MOMENTS):
        command = ("resume", "tiny") if opened("tiny", runs_dir) else ("launch", str(path))
        driver = dipsearch(*command, runs_dir=runs_dir)
        if moment % 3 == 0:
            # Start-up; in its first moments Python itself does not answer signals well.
            begun_s = chance.uniform(0.0, 9.0)
            time.sleep(begun_s)
        else:
            begun_s = 9.0
            # At work: some replicates later, wherever the driver is then.
            more, before = chance.randint(1, 4), len(written(opened("tiny", runs_dir)))
            deadline = time.monotonic() + 180
            while len(written(opened("tiny", runs_dir))) < before + more and driver.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 0.5))
        signals = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
        number = signal.SIGKILL if begun_s < 2 else chance.choice(signals)
        children = descendants(driver)
        driver.send_signal(number)
        output, _ = driver.communicate(timeout=60)
        assert driver.returncode in (-9, 130, 0), output
        assert "Traceback" not in output
        for child in children:
            kill(child)
        run = opened("tiny", runs_dir)
        now = written(run)
        assert {name: now[name] for name in kept} == kept
        assert finished(run) >= done
        kept, done = now, finished(run)
    code, output = finish("resume", "tiny", runs_dir=runs_dir)
    assert code == 0, output
    run = Run.open("tiny", runs_dir)
    assert_exact(run)
    now = written(run)
    assert {name: now[name] for name in kept} == kept


@pytest.mark.timeout(1800)
def test_500_trials_whose_workers_keep_dying_are_counted_exactly(tmp_path: Path) -> None:
    """Prints the driver's memory, which docs/reliability.md quotes."""
    path, runs_dir = tmp_path / "tiny.yaml", tmp_path / "runs"
    path.write_text(
        experiment(
            images=["skimage:moon"], seeds=[0], candidates=[], racing={"enabled": False},
            search={"trials": 500, "sampler": "random"},
        ).yaml()
    )  # fmt: skip
    driver = dipsearch("launch", str(path), runs_dir=runs_dir)
    chance, killed = random.Random(5), 0
    memory: list[tuple[int, float]] = []
    next_kill = time.monotonic() + 20
    while driver.poll() is None:
        run = opened("tiny", runs_dir)
        if run is not None:
            used = psutil.Process(driver.pid).memory_info().rss / 2**20
            memory.append((len(finished(run)), used))
        if time.monotonic() > next_kill and (workers := trainers(driver)):
            kill(chance.choice(workers))
            killed += 1
            next_kill = time.monotonic() + chance.uniform(4, 12)
        time.sleep(0.5)
    output, _ = driver.communicate()
    assert driver.returncode == 0, output[-2000:]
    run = Run.open("tiny", runs_dir)
    assert len(run.records()) == 500
    assert_exact(run)
    deaths = sum(t.user_attrs.get("deaths", 0) for t in run.study.get_trials())
    at = {n: next(used for count, used in memory if count >= n) for n in (50, 250, 490)}
    print(f"{killed} workers killed, {deaths} trials run again, driver in MiB at trial: {at}")
    # A worker between two trials costs nothing when it dies.
    assert 0 < deaths <= killed
    assert at[490] < 1.15 * at[50]
