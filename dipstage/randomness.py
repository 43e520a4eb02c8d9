"""Random streams of a replicate, which depend on its picture and its seed alone.

Two schedules trained on the same picture with the same seed therefore start from the same weights
and see the same observation and the same noise: they are paired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from dipstage.arguments import check_whole
from dipstage.errors import InputError


class Stream(IntEnum):
    """Purpose of a stream. The values are part of every result: never renumber them."""

    OBSERVATION = 0
    WEIGHTS = 1
    INPUT = 2
    INPUT_NOISE = 3
    STAGE_NOISE = 4
    FRESH_STAGE_NOISE = 5
    MASK = 6


@dataclass(frozen=True, slots=True)
class Streams:
    """Random generators of one replicate.

    Args:
        picture_digest: Hexadecimal SHA-256 of the ground truth (see `Picture.digest`).
        seed: The replicate's seed, not negative.

    Raises:
        InputError: A value is none of these.
    """

    picture_digest: str
    seed: int

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, least=0)
        digest = self.picture_digest
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{32,}", digest):
            raise InputError(
                f"picture_digest must be a hexadecimal SHA-256 (see Picture.digest), got {digest!r}"
            )

    def generator(
        self, stream: Stream, index: int = 0, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        """Return a new generator at the start of a stream.

        Args:
            stream: What the numbers are for.
            index: Distinguishes streams of one purpose, such as those of stages.
            device: Where the generator draws.

        Returns:
            A generator of its own; no global generator is touched.
        """
        words = [int(self.picture_digest[i : i + 8], 16) for i in range(0, 32, 8)]
        sequence = np.random.SeedSequence(self.seed, spawn_key=(*words, int(stream), index))
        state = int(sequence.generate_state(1, np.uint64)[0])
        return torch.Generator(device=device).manual_seed(state & (2**63 - 1))
