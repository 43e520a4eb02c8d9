"""Heartbeats: a worker says after its blocks of iterations that it lives, and who hangs is known.

A worker that hangs keeps its machine for ever, and Ray does not notice, because the process lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BEAT_S = 1.0
"""Least time between two heartbeats of a worker, but for those of the first two blocks."""
LOOK_S = 2.0
"""Time between two looks of the driver."""
TIMES = 20
"""A worker hangs after so many times the slowest block that any worker has shown."""
LEAST_S = 60.0
"""Never sooner than this: a busy machine or network delays heartbeats."""
START_S = 1800.0
"""The same before a replicate's second block: networks are made and GPUs prepared there."""
_GAP_S = 5.0
"""Maximum time counted between two looks: a machine or a driver may have slept."""


class Pulse:
    """Heartbeats of a worker."""

    def __init__(
        self, send: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`send` takes what `Heartbeats.look` gets."""
        self._send, self._clock = send, clock
        self._turns = self._blocks = 0
        self._sent = 0.0

    def rest(self) -> None:
        """Say that blocks end here: a replicate begins, or a result is on its way."""
        self._turns, self._blocks = self._turns + 1, 0
        self._beat()

    def block(self) -> None:
        """Say that a block has ended."""
        self._blocks += 1
        if self._blocks <= 2 or self._clock() - self._sent >= BEAT_S:
            self._beat()

    def _beat(self) -> None:
        self._sent = self._clock()
        self._send(f"{self._turns}.{self._blocks}")


@dataclass(frozen=True, slots=True)
class _Seen:
    beat: str
    at: float

    @property
    def blocks(self) -> int:
        return int(self.beat.partition(".")[2] or 0)


class Heartbeats:
    """Last heartbeats of all workers, by a clock that stands still while this process does."""

    def __init__(
        self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`timeout_s` replaces all that is known of blocks; None for `TIMES` the slowest block."""
        self._timeout_s, self._clock = timeout_s, clock
        self._last, self._awake, self._slowest_s = clock(), 0.0, 0.0
        self._seen: dict[str, _Seen] = {}

    def look(self, beats: Mapping[str, str]) -> dict[str, float]:
        """Return how long those workers have been silent that hang, in seconds.

        Args:
            beats: The last heartbeat of each trial that runs; empty before the first.
        """
        now = self._clock()
        self._awake += min(now - self._last, _GAP_S)
        self._last = now
        self._seen = {trial: self._now(trial, beat) for trial, beat in beats.items()}
        silent = {trial: self._awake - seen.at for trial, seen in self._seen.items()}
        return {t: s for t, s in silent.items() if s > self._limit_s(self._seen[t].blocks)}

    def _now(self, trial: str, beat: str) -> _Seen:
        before, seen = self._seen.get(trial), _Seen(beat, self._awake)
        if before is None:
            return seen
        if before.beat == beat:
            return before
        if before.blocks and seen.blocks > before.blocks:
            self._slowest_s = max(self._slowest_s, seen.at - before.at)
        return seen

    def _limit_s(self, blocks: int) -> float:
        if self._timeout_s is not None:
            return self._timeout_s
        return START_S if blocks < 2 else max(LEAST_S, TIMES * self._slowest_s)
