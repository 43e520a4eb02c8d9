"""Workers that hang: which they are, by a clock of our own, and one that really hangs."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from counts import assert_exact
from fake_runs import experiment
from processes import wait_until

from dipstage.errors import InputError
from search import launch
from search.execution.heartbeats import BEAT_S, LEAST_S, LOOK_S, START_S, TIMES, Heartbeats, Pulse
from search.execution.view import Quiet


class Clock:
    """Time that tests move on."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the present time."""
        return self.now


class Workers:
    """Workers with a block every so often, and the driver that looks at them."""

    def __init__(self, timeout_s: float | None = None) -> None:
        self.clock = Clock()
        self.heartbeats = Heartbeats(timeout_s, self.clock)
        self.beats: dict[str, str] = {}
        self.pulses: dict[str, Pulse] = {}
        self.hung: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Begin a replicate."""
        self.pulses.setdefault(name, Pulse(self._take(name), self.clock)).rest()

    def _take(self, name: str) -> Callable[[str], None]:
        return lambda beat: self.beats.update({name: beat})

    def wait(self, seconds: float) -> None:
        """Let time pass, and let the driver look at the workers in the meantime."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + LOOK_S)
            self.hung |= self.heartbeats.look(self.beats)

    def work(self, name: str, blocks: int, block_s: float) -> None:
        """Train some blocks."""
        for _ in range(blocks):
            self.wait(block_s)
            self.pulses[name].block()
        self.wait(LOOK_S)


@pytest.mark.parametrize("block_s", [0.05, 1.0, 5.0, 40.0, 300.0])
def test_a_worker_hangs_after_twenty_times_its_slowest_block(block_s: float) -> None:
    workers = Workers()
    workers.start("a")
    workers.work("a", 5, block_s)
    assert not workers.hung
    limit_s = max(LEAST_S, TIMES * block_s)
    workers.wait(limit_s - 3 * LOOK_S)
    assert not workers.hung
    # Looks, and beats that are held back, make a block look longer than it is.
    workers.wait(TIMES * (LOOK_S + BEAT_S) + 4 * LOOK_S)
    assert workers.hung["a"] > limit_s


def test_a_slow_first_block_is_waited_for_and_does_not_count() -> None:
    workers = Workers()
    workers.start("a")
    workers.work("a", 1, START_S - 10)
    workers.work("a", 5, 1.0)
    assert not workers.hung
    workers.wait(TIMES * (1.0 + LOOK_S) + 4 * LOOK_S)
    assert workers.hung


def test_a_worker_that_never_begins_hangs_after_the_time_of_a_first_block() -> None:
    workers = Workers()
    workers.beats["a"] = ""
    workers.wait(START_S - LOOK_S)
    assert not workers.hung
    workers.wait(3 * LOOK_S)
    assert workers.hung


def test_results_on_their_way_and_slow_pictures_are_waited_for() -> None:
    workers = Workers()
    workers.start("a")
    workers.work("a", 20, 0.1)
    workers.pulses["a"].rest()
    workers.wait(10 * LEAST_S)
    workers.start("a")
    workers.work("a", 3, 10 * LEAST_S)  # Another picture, of a hundred times as many pixels.
    assert not workers.hung


def test_sleep_of_the_machine_does_not_count() -> None:
    workers = Workers()
    workers.start("a")
    workers.work("a", 10, 0.5)
    for _ in range(3):
        workers.clock.now += 8 * 3600
        workers.hung |= workers.heartbeats.look(workers.beats)
        workers.work("a", 10, 0.5)
    assert not workers.hung
    workers.wait(TIMES * 10)
    assert workers.hung, "nor does it make blocks seem slow"


def test_only_the_worker_that_hangs_is_named_and_others_tell_how_slow_blocks_are() -> None:
    workers = Workers()
    for name in ("fast", "slow"):
        workers.start(name)
        workers.work(name, 3, 0.1)
    workers.work("slow", 2, 30.0)
    for _ in range(10):
        workers.work("slow", 1, 50.0)
    assert not workers.hung
    for _ in range(10):
        workers.work("slow", 1, 50.0)
    assert set(workers.hung) == {"fast"}


@pytest.mark.parametrize("blocks", [0, 1, 5])
@pytest.mark.parametrize("timeout_s", [5.0, 4000.0])
def test_a_given_timeout_holds_for_every_block(timeout_s: float, blocks: int) -> None:
    workers = Workers(timeout_s)
    workers.start("a")
    workers.work("a", blocks, 1.0)
    workers.wait(timeout_s - 2 * LOOK_S)
    assert not workers.hung
    workers.wait(4 * LOOK_S)
    assert workers.hung


def test_a_worker_beats_at_most_once_a_second() -> None:
    clock, sent = Clock(), list[str]()
    pulse = Pulse(sent.append, clock)
    pulse.rest()
    for _ in range(1000):
        clock.now += 0.01
        pulse.block()
    assert sent[:3] == ["1.0", "1.1", "1.2"]
    assert 10 <= len(sent) <= 13
    pulse.rest()
    assert sent[-1] == "2.0"


@pytest.mark.parametrize("value", [0, 4.9, -1, True, "soon", None, 1e9, float("inf")])
def test_a_timeout_is_a_number_of_seconds(value: object) -> None:
    with pytest.raises(InputError, match="heartbeat_timeout"):
        experiment(resources={"heartbeat_timeout": value})


class Notes(Quiet):
    """What the driver says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, notice: str) -> None:
        """Keep a notice."""
        self.said.append(notice)


@pytest.mark.usefixtures("ray_session")
def test_a_worker_that_hangs_is_ended_and_its_trial_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For real: one worker stops with all its threads, once, in its second replicate."""
    from search.execution import tuning
    from search.execution.trainable import ScheduleTrial

    mark = tmp_path / "hung"

    def clock() -> float:
        """Real time, of which the first eight seconds after the worker hangs count for twenty."""
        hung_s = time.time() - mark.stat().st_mtime if mark.exists() else 0.0
        return time.monotonic() + 1.5 * min(hung_s, 8.0)

    class Hanging(ScheduleTrial):
        """Hangs once, in the middle of a training."""

        def _train(self, keys: list[str]) -> Any:
            outcomes = super()._train(keys)
            if len(self._left) == 0 and not mark.exists():
                mark.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)
            return outcomes

    monkeypatch.setattr(tuning, "ScheduleTrial", Hanging)
    monkeypatch.setattr(tuning, "Heartbeats", functools.partial(Heartbeats, clock=clock))
    notes = Notes()
    run = launch(
        experiment(
            images=["skimage:moon"], space=None, candidates=["baseline", "log10"],
            search={"trials": 0}, resources={"heartbeat_timeout": 20, "concurrent": 1},
        ),
        runs_dir=tmp_path / "runs", view=notes,
    )  # fmt: skip
    assert not [t.failure for t in run.records() if t.failure]
    assert_exact(run)
    [trial] = [t for t in run.study.get_trials() if "deaths" in t.user_attrs]
    assert trial.user_attrs["deaths"] == 1
    assert trial.user_attrs["death"].startswith("no heartbeat for ")
    [said] = [note for note in notes.said if "heartbeat" in note]
    assert said.startswith(f"trial {trial.number}: no heartbeat for ")
    wait_until(lambda: not psutil.pid_exists(int(mark.read_text())), 60)
