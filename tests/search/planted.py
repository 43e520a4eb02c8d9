"""A trainer whose truth is known: means, how pictures change them, and the noise of seeds."""

from dataclasses import dataclass

import numpy as np
from fake_runs import outcome

from search.verification.verdicts import Entry


@dataclass(frozen=True)
class Truth:
    """A schedule's true means; what a picture adds for this schedule alone; the seeds' spread.

    The defaults for seeds are the middle of what 64 × 64 pictures showed.
    """

    psnr_db: float = 26.0
    steps: float = 400.0
    picture_psnr_db: float = 0.0
    picture_steps: float = 0.0
    seed_psnr_db: float = 0.15
    seed_steps: float = 40.0


class Trainer:
    """Draws outcomes. Pictures are easy or hard for all schedules alike, by 1.5 dB."""

    def __init__(self, generator: np.random.Generator, pictures: int, seeds: int) -> None:
        self._generator = generator
        self.keys = [f"p{i}-seed{s}" for s in range(seeds) for i in range(pictures)]
        self._ease = generator.normal(0, 1.5, pictures)

    def train(self, name: str, truth: Truth) -> Entry:
        """All replicates of one schedule."""
        pictures = len(self._ease)
        normal = self._generator.normal
        own_psnr = normal(0, truth.picture_psnr_db, pictures)
        own_steps = normal(0, truth.picture_steps, pictures)
        replicates = {}
        for key in self.keys:
            picture = int(key[1 : key.index("-")])
            psnr_db = truth.psnr_db + self._ease[picture] + own_psnr[picture]
            psnr_db += normal(0, truth.seed_psnr_db)
            steps = truth.steps + own_steps[picture] + normal(0, truth.seed_steps)
            replicates[key] = outcome(psnr_db, steps)
        return Entry(name, replicates)
