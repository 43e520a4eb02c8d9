"""Power of a verification, the smallest effect that it can show, and the pictures needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from search.verification.statistics import Difference

POWER = 0.8
MOST_PICTURES = 1000
LARGEST = 100
"""Largest effect that is considered, in standard deviations of a picture's mean difference."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations, in dB for PSNR or in units of the log ratio for time.

    Args:
        picture: Spread of a schedule's true gain from picture to picture.
        seed: Spread of one run from seed to seed.
    """

    picture: float
    seed: float

    def of_mean(self, seeds: int) -> float:
        """Return the standard deviation of a picture's mean paired difference."""
        return math.sqrt(self.picture**2 + 2 * self.seed**2 / seeds)


PSNR_SPREAD = Spread(0.30, 0.20)
TIME_SPREAD = Spread(0.20, 0.10)
"""Spreads of schedules at 64 × 64 pixels, for searches that have not measured their own.

Those of PSNR are from a review of recorded runs. That of time is read off the intervals of scratch
runs on ten pictures with one seed; how it divides between pictures and seeds is an assumption."""


def power(effect: float, spread: Spread, pictures: int, seeds: int, alpha: float) -> float:
    """Return the probability that Student's test over pictures shows a true effect above 0.

    alpha: Two-sided significance level, after the correction for several claims.
    """
    from scipy.stats import nct, t

    if pictures < 2:
        return 0.0
    error = spread.of_mean(seeds) / math.sqrt(pictures)
    critical = float(t.ppf(1 - alpha / 2, pictures - 1))
    if effect >= 10 * critical * error:
        return 1.0  # SciPy's noncentral t gives no number for the largest shifts.
    return float(nct.sf(critical, pictures - 1, effect / error))


def smallest_effect(spread: Spread, pictures: int, seeds: int, alpha: float) -> float:
    """Return the smallest effect that is shown with 80 % power.

    It is infinite if `LARGEST` standard deviations do not suffice, as with a single picture, or
    with two and a small `alpha`.
    """
    from scipy.optimize import brentq

    high = LARGEST * spread.of_mean(seeds)
    if power(high, spread, pictures, seeds, alpha) < POWER:
        return math.inf
    if high == 0:
        return 0.0  # Nothing varies.
    return float(brentq(lambda e: power(e, spread, pictures, seeds, alpha) - POWER, 0, high))


def pictures_needed(effect: float, spread: Spread, seeds: int, alpha: float) -> int | None:
    """Return how many pictures show an effect with 80 % power; None if 1000 do not."""
    for pictures in range(2, MOST_PICTURES + 1):
        if power(effect, spread, pictures, seeds, alpha) >= POWER:
            return pictures
    return None


def measured_spread(differences: Sequence[Difference]) -> Spread | None:
    """Return the spread of paired differences on the same replicates, pooled over schedules.

    None without two pictures. Without a second seed, all of it is attributed to pictures.
    """
    usable = [each for each in differences if each.pictures > 1]
    if not usable:
        return None
    total = fmean(variance(each.means) for each in usable)
    within = [variance(p) for each in usable for p in each.by_picture if len(p) > 1]
    if not within:
        return Spread(math.sqrt(total), 0.0)
    seeds = fmean(len(picture) for each in usable for picture in each.by_picture)
    of_seeds = fmean(within)
    return Spread(math.sqrt(max(0.0, total - of_seeds / seeds)), math.sqrt(of_seeds / 2))
