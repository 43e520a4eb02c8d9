"""How many trials one GPU should hold: measured, for a few seconds, before a search begins."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from dipstage.errors import WorkError

if TYPE_CHECKING:
    from dipstage.images import Picture
    from dipstage.settings import TrainerSettings

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
        self._members = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            arguments = (theirs, picture, settings, device, threads)
            process = context.Process(target=_member, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))

    def speed(self, iterations: int) -> float:
        """Return the total iterations per second while each process trains for `iterations`."""
        self._ask(iterations)
        began = time.perf_counter()
        self._answers()
        return len(self._members) * iterations / (time.perf_counter() - began)

    def memory_mb(self) -> float:
        """The most that one of them holds: of its GPU what PyTorch has taken, which leaves out some
        hundred MB of CUDA's own; else of the machine.
        """
        self._ask(0)
        return max(self._answers())

    def _ask(self, iterations: int) -> None:
        try:
            for _, pipe in self._members:
                pipe.send(iterations)
        except OSError:
            raise WorkError("a training ended without a word") from None

    def _answers(self) -> list[float]:
        answers = []
        for _, pipe in self._members:
            if not pipe.poll(_PATIENCE_S):
                raise WorkError(f"a training gave no sign for {_PATIENCE_S:.0f} s")
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                raise WorkError("a training ended without a word") from None
            if isinstance(answer, str):
                raise WorkError(answer)
            answers.append(float(answer))
        return answers

    def end(self) -> None:
        """End the processes."""
        for process, pipe in self._members:
            pipe.close()
            process.terminate()
            process.join()


def _member(
    pipe: Connection, picture: Picture, settings: TrainerSettings, device: str, threads: int
) -> None:
    """Train on request: n iterations, answered by 0; or 0, answered by the memory in MB."""
    import torch

    from dipstage.presets import parse_preset
    from dipstage.randomness import Streams
    from dipstage.trainer import fit, observe

    torch.set_num_threads(threads)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    observation = observe(truth, 25, streams)
    while True:
        try:
            iterations = pipe.recv()
        except EOFError:
            return
        try:
            if iterations:
                schedule = parse_preset("baseline").schedule(iterations)
                fit(observation, truth, schedule, settings, streams, device=device)
                pipe.send(0)
            elif device == "cpu":
                import psutil

                pipe.send(psutil.Process().memory_info().rss / 1e6)
            else:
                pipe.send(torch.cuda.max_memory_reserved(device) / 1e6)
        except Exception as error:
            pipe.send(" ".join(f"{type(error).__name__}: {error}".split())[:200])
            return


def probe(device: str, picture: Picture, settings: TrainerSettings, most: int) -> tuple[int, str]:
    """`packing` of trainings of this picture on a device; WorkError if not even one can be done."""

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
    """The number of trials to put on one GPU, and what was seen on the way.

    speed_of: iterations a second of so many trials together; None where they do not fit.
    Doubles while that gets more done by `GAIN`.
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
