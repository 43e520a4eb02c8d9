"""Several runs of a restoration, trained at the same time where cores and memory allow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from dipstage.training.measurements import Progress
from dipstage.training.memory import free_bytes
from dipstage.training.outcome import Outcome
from dipstage.training.timing import seconds_per_iteration
from dipstage.training.trainer import Job, fit_together


def runs_at_once(runs: int, device: torch.device | str, bytes_of_run: int) -> int:
    """Return how many of several runs are trained at the same time.

    As many as free memory holds: on a GPU up to all of them, on a CPU up to the number of PyTorch's
    threads, which is by default the number of cores that this process may use.
    """
    most = {"cuda": runs, "cpu": torch.get_num_threads()}.get(torch.device(device).type, 1)
    most = min(runs, most)
    if most > 1:
        most = min(most, free_bytes(str(device)) // bytes_of_run)
    return max(most, 1)


def threads_of_run(runs: int, device: torch.device | str) -> int:
    """Return how many of PyTorch's threads each of several runs computes with.

    On a CPU they are shared equally, also if memory lets fewer runs be trained at the same time:
    sums depend on the number of threads, and the result must not depend on free memory.
    """
    threads = torch.get_num_threads()
    return threads // min(runs, threads) if torch.device(device).type == "cpu" else threads


def train_all(jobs: Sequence[Job], at_once: int, device: torch.device | str) -> list[Outcome]:
    """Train runs, so many at the same time, each of which gives what it gives alone.

    Their callbacks are never called at the same time. Once `each` has returned true in one run, or
    a run has failed, the others end as well, and no more begin.

    Returns:
        The outcomes of the runs that began, in their order.
    """
    ended, lock = threading.Event(), threading.Lock()

    def watched(job: Job) -> Job:
        def progress(now: Progress) -> None:
            if job.progress is not None:
                with lock:
                    job.progress(now)

        def each(iteration: int, pictures: torch.Tensor) -> bool:
            if job.each is not None and not ended.is_set():
                with lock:
                    if job.each(iteration, pictures):
                        ended.set()
            return ended.is_set()

        return replace(job, progress=progress, each=each)

    def train(group: list[Job]) -> list[Outcome]:
        if ended.is_set():
            return []
        try:
            return fit_together(group, device=device)
        except BaseException:
            ended.set()
            raise

    watching = [watched(job) for job in jobs]
    # The runs of a group share a GPU by streams.
    size = at_once if torch.device(device).type == "cuda" else 1
    groups = [watching[i : i + size] for i in range(0, len(jobs), size)]
    with _threads(at_once // size, threads_of_run(len(jobs), device)) as mapped:
        try:
            return [outcome for outcomes in mapped(train, groups) for outcome in outcomes]
        except BaseException:
            ended.set()  # Before the threads are waited for.
            raise


def estimated_s(job: Job, runs: int, at_once: int, device: torch.device | str) -> float:
    """Return how long runs like this one take over their whole budgets, by a short measurement."""
    iterations = job.schedule.iterations
    if torch.device(device).type == "cuda":
        # Side by side they take less, which is not measured.
        return seconds_per_iteration(job, device) * iterations * runs
    with _threads(at_once, threads_of_run(runs, device)) as mapped:
        slowest = max(mapped(lambda one: seconds_per_iteration(one, device), [job] * at_once))
    return float(slowest) * iterations * -(-runs // at_once)


@contextmanager
def _threads(number: int, share: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield `map`, or one that works in so many threads, each with its share of PyTorch's threads.

    Threads suffice because PyTorch computes without holding Python's lock.
    """
    before = torch.get_num_threads()
    if number == 1 and share == before:
        yield map
        return
    try:
        if number == 1:
            torch.set_num_threads(share)
            yield map
            return
        # Each thread has a number of its own, which it does not inherit.
        with ThreadPoolExecutor(number, "run", torch.set_num_threads, (share,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)
