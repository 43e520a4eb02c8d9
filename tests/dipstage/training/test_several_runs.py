"""Several runs at the same time: each gives what it gives alone, and all end together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dipstage.errors import InputError
from dipstage.restoration.restoring import planned, restore
from dipstage.schedules.settings import TrainerSettings
from dipstage.training.measurements import Progress
from dipstage.training.outcome import Outcome, Stop
from dipstage.training.several_runs import estimated_s, runs_at_once, threads_of_run, train_all
from dipstage.training.trainer import Job, fit_together

NOISY = np.random.default_rng(0).random((16, 16, 3), np.float32)
SMALL: dict[str, Any] = {
    "settings": TrainerSettings(width=4, scales=2, input_depth=4),
    "iterations": 30,
    "schedule": "baseline",
    "sigma_255": 25,
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Two threads of PyTorch, as on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "the number is left as it was"
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("runs", "threads", "free", "expected"),
    [(1, 2, 0, 1), (2, 2, 20, 2), (5, 2, 100, 2), (5, 4, 39, 3), (2, 2, 19, 1), (2, 2, 0, 1)],
)
def test_as_many_runs_at_once_as_threads_and_memory(
    runs: int, threads: int, free: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run takes 10 bytes."""
    monkeypatch.setattr("dipstage.training.several_runs.free_bytes", lambda _: free)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert runs_at_once(runs, "cpu", 10) == expected
    assert runs_at_once(runs, "cuda", 10) == max(min(runs, free // 10), 1)
    assert runs_at_once(runs, "mps", 10) == 1


def test_every_run_is_the_same_bytes_alone_and_beside_others() -> None:
    """Each computes with one thread: sums depend on their number."""
    plan = planned(NOISY, **{**SMALL, "iterations": 11})
    both = plan.run(runs=3, at_once=2)
    torch.set_num_threads(1)
    alone = [plan.run(seed=seed) for seed in range(3)]
    torch.set_num_threads(2)
    assert len(both.outcomes) == 3
    for one, other in zip(both.outcomes, alone, strict=True):
        assert one.selected is not None
        assert other.outcomes[0].selected is not None
        assert np.array_equal(one.selected.smoothed, other.outcomes[0].selected.smoothed)
        assert np.array_equal(one.trace.loss, other.outcomes[0].trace.loss)
    assert both.iterations == 33
    assert both.why.endswith("(first of 3 averaged runs)")
    assert both.wall_s > 0


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_share_of_threads_does_not_depend_on_free_memory(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained: each run only looks at its number of threads."""
    shares: list[int] = []

    def looks(*_: Any, **__: Any) -> list[Outcome]:
        shares.append(torch.get_num_threads())
        return []

    monkeypatch.setattr("dipstage.training.several_runs.fit_together", looks)
    monkeypatch.setattr(
        "dipstage.training.several_runs.seconds_per_iteration", lambda *_: looks() or 1.0
    )
    job = planned(NOISY, **SMALL)._job(0)
    train_all([job] * 3, at_once, "cpu")
    estimated_s(job, 3, at_once, "cpu")
    assert set(shares) == {1}
    shares.clear()
    train_all([job], 1, "cpu")
    assert shares == [2]


@pytest.mark.parametrize(
    ("runs", "threads", "expected"), [(1, 8, 8), (3, 8, 2), (5, 8, 1), (8, 8, 1), (9, 8, 1)]
)
def test_runs_share_the_threads_equally(
    runs: int, threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    assert threads_of_run(runs, "cpu") == expected
    assert threads_of_run(runs, "cuda") == threads


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run waits until another begins, so that no run goes on unless two are in parallel."""
    barrier = threading.Barrier(2)

    def meets(jobs: list[Job], device: str) -> list[Outcome]:
        barrier.wait(timeout=60)
        return fit_together(jobs, device=device)

    monkeypatch.setattr("dipstage.training.several_runs.fit_together", meets)


@pytest.mark.usefixtures("together")
def test_runs_overlap_and_their_callbacks_do_not() -> None:
    seen: list[int] = []
    inside: list[int] = []

    def progress(run: int, _: Progress) -> None:
        inside.append(run)
        seen.append(run)
        assert inside == [run]
        inside.remove(run)

    assert len(restore(NOISY, **SMALL, runs=2, progress=progress).outcomes) == 2
    assert sorted(seen) == [0, 0, 0, 1, 1, 1]


@pytest.mark.usefixtures("together")
def test_an_interrupt_ends_all_runs_and_the_best_so_far_of_all_is_averaged() -> None:
    calls: list[int] = []

    def interrupted(iteration: int, _: torch.Tensor) -> bool:
        calls.append(iteration)
        return len(calls) >= 24

    restored = restore(NOISY, **SMALL, runs=4, each=interrupted)
    assert restored.stop is Stop.INTERRUPTED
    assert len(restored.outcomes) == 2, "runs 3 and 4 never begin"
    assert restored.iterations in (24, 25, 26)
    mean = np.mean([o.selected.smoothed for o in restored.outcomes if o.selected], axis=0)
    assert restored.picture == pytest.approx(np.moveaxis(mean, 0, -1), abs=1e-6)
    assert "interrupted after" in restored.why


def test_runs_share_a_gpu_in_groups_until_they_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained: each run only looks whether it is to end."""
    groups: list[int] = []
    seen: list[bool] = []

    def train(jobs: list[Job], device: str) -> list[Outcome]:
        groups.append(len(jobs))
        seen.extend(job.each(1, torch.zeros(0)) for job in jobs if job.each)
        return []

    monkeypatch.setattr("dipstage.training.several_runs.fit_together", train)
    job = planned(NOISY, **SMALL)._job(0)
    train_all([job] * 5, 2, "cuda")
    assert groups == [2, 2, 1]
    groups.clear()
    answers = iter((False, False, True))
    seen.clear()
    train_all([replace(job, each=lambda *_: next(answers))] * 6, 2, "cuda")
    assert groups == [2, 2], "the third group does not begin"
    assert seen == [False, False, True, True], "one that says so ends the others"


def test_a_run_that_fails_ends_the_others_and_is_the_error() -> None:
    iterations: list[int] = []

    def fails(run: int, now: Progress) -> None:
        iterations.append(now.iteration)
        if run == 1:
            raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        restore(NOISY, **{**SMALL, "iterations": 5000, "stop": "none"}, runs=2, progress=fails)
    assert max(iterations) < 4900


def test_a_keyboard_interrupt_waits_for_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the main thread, while the runs are in others."""
    from concurrent.futures import Future

    def interrupted(self: Future[Any], timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        restore(
            NOISY, **{**SMALL, "iterations": 5000, "stop": "none"}, runs=2,
            progress=lambda _, now: seen.append(now.iteration),
        )  # fmt: skip
    assert max(seen, default=0) < 4900


def test_the_estimate_is_of_runs_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.5, 2.0))
    monkeypatch.setattr(
        "dipstage.training.several_runs.seconds_per_iteration", lambda *_: next(seconds)
    )
    job = planned(NOISY, **SMALL)._job(0)
    assert estimated_s(job, 5, 2, "cpu") == 3 * 30 * 2.0, "three rounds at the slower one's speed"


def test_memory_is_that_of_all_runs_at_once_and_of_one_process() -> None:
    plan = planned(NOISY, **SMALL)
    one, two, three = (plan.estimated_bytes(n) for n in (1, 2, 3))
    assert two - one == three - two > 0
    assert two < 2 * one
    windowed = planned(NOISY, **SMALL, stop="wmv").estimated_bytes(2)
    assert windowed - two == 2 * 100 * 4 * NOISY.size
