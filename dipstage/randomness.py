"""Random streams of a replicate: they depend on its picture and its seed, on nothing else.

Two schedules trained on the same picture with the same seed so start from the same weights and
see the same observation and the same noise: they are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What the numbers are for. The values are part of every result: never renumber them."""

    OBSERVATION = 0
    WEIGHTS = 1
    INPUT = 2
    INPUT_NOISE = 3
    STAGE_NOISE = 4


@dataclass(frozen=True, slots=True)
class Streams:
    """Generators for one replicate.

    picture_digest: hexadecimal SHA-256 of the ground truth (see `images.Picture`).
    seed: the replicate's seed, not negative.
    """

    picture_digest: str
    seed: int

    def generator(
        self, stream: Stream, index: int = 0, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        """A fresh generator at the start of the stream; `index` tells stages apart."""
        words = [int(self.picture_digest[i : i + 8], 16) for i in range(0, 32, 8)]
        sequence = np.random.SeedSequence(self.seed, spawn_key=(*words, int(stream), index))
        state = int(sequence.generate_state(1, np.uint64)[0])
        return torch.Generator(device=device).manual_seed(state & (2**63 - 1))
