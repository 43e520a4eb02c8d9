"""Measure for a few seconds, before a search begins, its speed and how many trials fit a GPU."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from dipstage.errors import WorkError

if TYPE_CHECKING:
    from dipstage.pictures.images import Picture
    from dipstage.schedules.settings import TrainerSettings
    from dipstage.training.trainer import Job

MOST = 8
"""Maximum number of trials on one GPU: a few already keep it busy."""
GAIN = 1.1
"""Factor by which doubling the trials must raise their total speed to be worth the memory."""
_ITERATIONS = 60
_PATIENCE_S = 180.0


class Crew:
    """Processes that train concurrently, each in the way that a trial does."""

    def __init__(
        self, size: int, picture: Picture, settings: TrainerSettings, device: str, *, threads: int
    ) -> None:
        """Start `size` processes of `threads` threads each; they wait for requests."""
        context = multiprocessing.get_context("spawn")
        self.processes, self._pipes = [], []
        for _ in range(size):
            ours, theirs = context.Pipe()
            arguments = (theirs, picture, settings, device, threads)
            process = context.Process(target=_member, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self._pipes.append(ours)

    def speed(self, iterations: int) -> float:
        """Return the total iterations per second while each process trains for `iterations`."""
        try:
            for pipe in self._pipes:
                pipe.send(iterations)
            began = time.perf_counter()
            for pipe in self._pipes:
                if not pipe.poll(_PATIENCE_S):
                    raise WorkError(f"a training gave no result for {_PATIENCE_S:.0f} s")
                if failure := pipe.recv():
                    raise WorkError(failure)
        except (EOFError, OSError):
            raise WorkError("a training ended without a result") from None
        return len(self._pipes) * iterations / (time.perf_counter() - began)

    def end(self) -> None:
        """End the processes."""
        for process, pipe in zip(self.processes, self._pipes, strict=True):
            pipe.close()
            process.terminate()
            process.join()


def _member(
    pipe: Connection, picture: Picture, settings: TrainerSettings, device: str, threads: int
) -> None:
    """Train for n iterations on request, and answer why that failed; empty if it did not."""
    import torch

    from dipstage.training.trainer import fit_together

    torch.set_num_threads(threads)
    while True:
        try:
            iterations = pipe.recv()
        except EOFError:
            return
        try:
            fit_together([_job(picture, settings, iterations)], device=device)
            pipe.send("")
        except Exception as error:
            pipe.send(" ".join(f"{type(error).__name__}: {error}".split())[:200])
            return


def _job(picture: Picture, settings: TrainerSettings, iterations: int) -> Job:
    from dipstage.randomness import Streams
    from dipstage.schedules.schedule import Schedule
    from dipstage.tasks.denoise import observe
    from dipstage.training.trainer import Job

    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    observation = observe(truth, 25, streams)
    return Job(observation, truth, Schedule.plain(iterations), settings, streams)


def probe(device: str, picture: Picture, settings: TrainerSettings, most: int) -> tuple[int, str]:
    """Measure `packing` on a device; WorkError if not even one trial can be trained there."""

    def speed_of(size: int) -> float | None:
        crew = Crew(size, picture, settings, device, threads=1)
        try:
            crew.speed(_ITERATIONS)  # Warms up.
            return crew.speed(_ITERATIONS)
        except WorkError:
            if size == 1:
                raise
            return None
        finally:
            crew.end()

    return packing(speed_of, min(most, MOST))


def packing(speed_of: Callable[[int], float | None], most: int) -> tuple[int, str]:
    """Double the number of trials on one GPU as long as their total speed rises by `GAIN`.

    Args:
        speed_of: Returns the total iterations per second of so many trials; None if they do not
            fit.
        most: Maximum number of trials.

    Returns:
        The number of trials, and the speeds that were measured, in words.
    """
    best, fastest = 1, speed_of(1)
    assert fastest is not None
    seen = [f"1: {fastest:.1f}"]
    while 2 * best <= most:
        faster = speed_of(2 * best)
        seen.append(f"{2 * best}: " + ("does not fit" if faster is None else f"{faster:.1f}"))
        if faster is None or faster < GAIN * fastest:
            break
        best, fastest = 2 * best, faster
    return best, ", ".join(seen)


def seconds_of_iteration(
    device: str, threads: int, picture: Picture, settings: TrainerSettings
) -> float:
    """Return the seconds of an iteration on a device, in a process with so many threads."""
    import torch

    from dipstage.training.timing import seconds_per_iteration

    torch.set_num_threads(threads)
    return seconds_per_iteration(_job(picture, settings, 1), device)
