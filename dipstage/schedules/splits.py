"""Divisions of a schedule's ramp among its noised stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import as_tuple, check_number
from dipstage.errors import InputError

Edges: TypeAlias = NDArray[np.float64]
_MAX_WEIGHT = 1e100


@dataclass(frozen=True, slots=True)
class PowerSplit:
    """Edges at ramp · (k / noised) ** exponent.

    Above 1, the noisiest stages are the shortest; below 1, they are the longest.

    Args:
        exponent: Finite, above 0.

    Raises:
        InputError: The exponent is not a finite number above 0.
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        check_number("exponent", self.exponent)
        if not (math.isfinite(self.exponent) and self.exponent > 0):
            raise InputError(f"exponent must be a finite number above 0, got {self.exponent}")

    def edges(self, noised: int, ramp: int) -> Edges:
        """Return where stages begin and end.

        Args:
            noised: The number of noised stages, at least 1.
            ramp: Iterations before the last stage.

        Returns:
            (noised + 1,) float64, rising from 0 to `ramp`, not yet rounded.
        """
        return ramp * (np.arange(noised + 1) / noised) ** self.exponent


@dataclass(frozen=True, slots=True)
class LogSplit:
    """Edges at ramp · (10 ** k - 1) / (10 ** noised - 1): each stage ten times the one before."""

    def edges(self, noised: int, ramp: int) -> Edges:
        """See `PowerSplit.edges`."""
        below = np.arange(noised + 1, dtype=np.float64) - noised
        floor = 10.0**-noised
        return np.asarray(ramp * (10.0**below - floor) / (1 - floor))


@dataclass(frozen=True, slots=True)
class FreeSplit:
    """A weight for each noised stage: its share of the sum is its share of the ramp.

    Args:
        weights: Finite and not negative, at most 1e100, not all 0; one for each noised stage.

    Raises:
        InputError: The weights are not of this kind.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", as_tuple("weights", self.weights))
        for weight in self.weights:
            check_number("weights", weight)
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"weights must be finite and not negative, got {weight}")
            if weight > _MAX_WEIGHT:  # Their sum must be finite.
                raise InputError(f"weights must be at most {_MAX_WEIGHT:g}, got {weight}")
        if not sum(self.weights) > 0:
            raise InputError(f"weights must not all be 0, got {list(self.weights)}")

    def edges(self, noised: int, ramp: int) -> Edges:
        """See `PowerSplit.edges`; `noised` must be the number of weights."""
        if len(self.weights) != noised:
            raise InputError(
                f"weights must be one for each noised stage: {noised}, got {len(self.weights)}"
            )
        shares = np.asarray(self.weights) / math.fsum(self.weights)
        return np.concatenate([[0.0], ramp * np.minimum(np.cumsum(shares)[:-1], 1), [ramp]])


AnySplit: TypeAlias = PowerSplit | LogSplit | FreeSplit


def share_out(edges: Edges) -> list[int]:
    """Return whole iterations for each stage between edges, at least one where they suffice.

    Each stage gets one iteration. The others are shared in proportion to the distances between the
    edges, and largest remainders get what rounding down leaves over.

    Args:
        edges: (stages + 1,) float64, rising from 0 to a whole number of iterations.

    Returns:
        Iterations of each stage; their sum is the last edge. If it is less than the number of
        stages, edges are rounded and some stages get none.
    """
    stages, ramp = len(edges) - 1, round(float(edges[-1]))
    if ramp < stages:
        return [int(n) for n in np.diff(np.rint(edges).astype(np.int64))]
    wanted = np.diff(edges) / ramp * (ramp - stages)
    counts = np.floor(wanted).astype(np.int64)
    left = ramp - stages - int(counts.sum())
    counts[np.argsort(counts - wanted, kind="stable")[:left]] += 1
    return [int(n) + 1 for n in counts]
