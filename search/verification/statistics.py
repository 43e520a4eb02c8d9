"""Paired differences between two schedules: confidence intervals and tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Paired differences, schedule less reference, on several pictures.

    Args:
        by_picture: The differences on each picture, one for each seed. At least one.
    """

    by_picture: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, by_picture: Mapping[str, Sequence[float]]) -> Difference:
        """Return the differences that a mapping from pictures holds; ValueError for none."""
        if not by_picture:
            raise ValueError("there are no differences")
        return cls(tuple(tuple(values) for values in by_picture.values()))

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean difference on each picture, (pictures,)."""
        return np.asarray([fmean(values) for values in self.by_picture])

    @property
    def mean(self) -> float:
        """Mean over pictures."""
        return fmean(self.means)

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval of the mean; None where there is one picture."""
        return self._interval[0]

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval of the mean; None where there is one picture."""
        return self._interval[1]

    @property
    def ends(self) -> tuple[float, float | None, float | None]:
        """Mean, and lower and upper end of its interval."""
        return self.mean, *self._interval

    @property
    def ratios(self) -> tuple[float, float | None, float | None]:
        """The same of ratios, if the differences are those of logarithms."""
        low, high = self._interval
        if low is None or high is None:
            return math.exp(self.mean), None, None
        return math.exp(self.mean), math.exp(low), math.exp(high)

    @cached_property
    def _interval(self) -> tuple[float, float] | tuple[None, None]:
        return _interval(self.means.tolist())

    @cached_property
    def signed_rank_p(self) -> float:
        """p of Wilcoxon's signed-rank test over replicates, which it takes as independent."""
        from scipy.stats import wilcoxon

        moved = [value for value in self._replicates if value != 0]
        return float(wilcoxon(moved).pvalue) if moved else 1.0

    @property
    def above(self) -> float:
        """Share of replicates in which the difference is above 0; ties count half.

        It estimates the probability that the difference is above 0 on a new replicate.
        """
        return fmean(0.5 if value == 0 else float(value > 0) for value in self._replicates)

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return len(self.by_picture)

    @property
    def n(self) -> int:
        """Number of replicates."""
        return len(self._replicates)

    @property
    def _replicates(self) -> list[float]:
        return [value for picture in self.by_picture for value in picture]


def student_p(means: NDArray[np.floating[Any]], null: float = 0.0) -> NDArray[np.float64]:
    """Return Student's p of the hypothesis that the true mean is at most `null`.

    It is twice the one-sided p and at most 1, so that p < 0.05 says the same as a 95 % interval
    that lies above `null`. A single picture gives 1.

    Args:
        means: Mean difference on each picture, (..., pictures).
        null: Difference to exceed.

    Returns:
        p, (...).
    """
    from scipy.stats import t

    pictures = means.shape[-1]
    if pictures < 2:
        return np.ones(means.shape[:-1])
    above = means.mean(axis=-1) - null
    error = means.std(axis=-1, ddof=1) / math.sqrt(pictures)
    # Equal differences on all pictures leave no doubt.
    certain = np.where(above > 0, np.inf, -np.inf)
    ratio = np.divide(above, error, out=certain, where=error > 0)
    return np.asarray(np.minimum(1.0, 2 * t.sf(ratio, pictures - 1)))


def _interval(means: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Student's interval over the pictures' means: replicates of one picture are no new pictures.

    It replaces the bootstrap clustered on pictures, whose variance falls short by (P - 1) / P with
    P pictures, and whose quantiles do not know that P is small (Cameron and Miller 2015, section
    VI): with four pictures its 95 % intervals hold the truth in 78 to 81 %;
    `benchmarks/verification.py`.
    """
    if len(means) < 2:
        return None, None
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, len(means) - 1)) * stdev(means) / math.sqrt(len(means))
    return fmean(means) - half, fmean(means) + half


def holm(p_values: Sequence[float], family: int = 0) -> list[float]:
    """Holm's step-down adjustment: Scandinavian Journal of Statistics 6, 65-70, 1979.

    Args:
        p_values: p of each hypothesis that is known.
        family: Number of all hypotheses, where more were declared than are known. Those that are
            not known count as if their p were 1, which never makes another p smaller.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    family = max(family, len(p_values))
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (family - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
