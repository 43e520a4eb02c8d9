"""Stages, schedules, and the family of parameters that generates schedules.

Iterations are counted from 0. A schedule of N iterations covers 0 … N - 1, each exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.noise import NoiseLevels
from dipstage.settings import MAX_ITERATIONS

Edges: TypeAlias = NDArray[np.float64]
MAX_STAGES = 1000
"""As many as DDPM has steps."""
_MAX_WEIGHT = 1e100


@dataclass(frozen=True, slots=True)
class Stage:
    """One target, given by its noise level, and the iterations trained on it."""

    alpha_bar: float
    iterations: int

    def __post_init__(self) -> None:
        """Refuse levels outside [0, 1] and stages without an iteration."""
        if not 0 <= self.alpha_bar <= 1:
            raise InputError(f"alpha_bar must be in [0, 1], got {self.alpha_bar}")
        if self.iterations < 1:
            raise InputError(f"iterations of a stage must be at least 1, got {self.iterations}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Stages from the heaviest noise to the observation (alpha_bar 1).

    any_order: lets the noised stages come in any order, for controls.
    """

    stages: tuple[Stage, ...]
    any_order: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse an order that is not heaviest first, or that does not end on the observation."""
        levels = [stage.alpha_bar for stage in self.stages]
        if len(levels) > MAX_STAGES:
            raise InputError(f"stages must be at most {MAX_STAGES}, got {len(levels)}")
        if not levels or levels[-1] != 1:
            raise InputError(
                "the last stage must be the observation, alpha_bar 1, "
                f"got {levels[-1] if levels else 'no stage'}"
            )
        if self.any_order:
            if len(set(levels)) < len(levels):
                raise InputError(f"each noise level must be one stage, got alpha_bar {levels}")
            return
        for before, after in pairwise(levels):
            if before >= after:
                raise InputError(
                    "stages must go from the heaviest noise to the lightest, alpha_bar rising: "
                    f"{after} follows {before}"
                )

    @classmethod
    def of(cls, alpha_bars: Iterable[float], iterations: Iterable[int]) -> Schedule:
        """From noise levels and iteration counts, dropping the stages that get none."""
        pairs = zip(alpha_bars, iterations, strict=True)
        return cls(tuple(Stage(level, int(count)) for level, count in pairs if count))

    @classmethod
    def from_pairs(cls, pairs: Iterable[Sequence[float]], *, any_order: bool = False) -> Schedule:
        """The inverse of `pairs`."""
        return cls(tuple(Stage(alpha_bar, int(count)) for alpha_bar, count in pairs), any_order)

    @property
    def is_plain(self) -> bool:
        """Whether this is plain DIP: one stage, the observation."""
        return len(self.stages) == 1

    @property
    def pairs(self) -> list[list[float]]:
        """[[alpha_bar, iterations], …], which JSON keeps exactly."""
        return [[stage.alpha_bar, stage.iterations] for stage in self.stages]

    @property
    def iterations(self) -> int:
        """The budget: iterations of all stages."""
        return sum(stage.iterations for stage in self.stages)

    @property
    def starts(self) -> tuple[int, ...]:
        """First iteration of each stage."""
        return tuple(accumulate((s.iterations for s in self.stages[:-1]), initial=0))

    @property
    def ramp(self) -> int:
        """Iterations before the last stage."""
        return self.starts[-1]

    def extended(self, iterations: int) -> Schedule:
        """The same stages, the last one longer or shorter; InputError if none would be left."""
        refuse_short_budget(iterations, self.ramp)
        last = Stage(1.0, iterations - self.ramp)
        return Schedule((*self.stages[:-1], last), self.any_order)

    def scaled(self, iterations: int) -> Schedule:
        """The same shares of another budget; stages that no longer get an iteration are dropped."""
        if iterations < 1:
            raise InputError(f"iterations must be at least 1, got {iterations}")
        share = iterations / self.iterations
        starts = [min(round(start * share), iterations - 1) for start in self.starts]
        counts = [after - before for before, after in pairwise([*starts, iterations])]
        return Schedule.of((s.alpha_bar for s in self.stages), counts)


class Split(Protocol):
    """How the ramp is divided among the noised stages."""

    def edges(self, noised: int, ramp: int) -> Edges:
        """Where stages begin and end: (noised + 1,) rising from 0 to `ramp`, not yet rounded."""
        ...


@dataclass(frozen=True, slots=True)
class PowerSplit:
    """Edges at ramp · (k / noised) ** exponent: above 1, heavy stages are brief."""

    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Refuse exponents that give no rising edges."""
        if not (math.isfinite(self.exponent) and self.exponent > 0):
            raise InputError(f"exponent must be a finite number above 0, got {self.exponent}")

    def edges(self, noised: int, ramp: int) -> Edges:
        """See `Split.edges`."""
        return ramp * (np.arange(noised + 1) / noised) ** self.exponent


@dataclass(frozen=True, slots=True)
class LogSplit:
    """Edges at ramp · (10 ** k - 1) / (10 ** noised - 1): each stage ten times the one before."""

    def edges(self, noised: int, ramp: int) -> Edges:
        """See `Split.edges`."""
        below = np.arange(noised + 1, dtype=np.float64) - noised
        floor = 10.0**-noised
        return np.asarray(ramp * (10.0**below - floor) / (1 - floor))


@dataclass(frozen=True, slots=True)
class FreeSplit:
    """A weight for each noised stage; its share of the ramp is its share of the sum."""

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse weights that are no shares."""
        for weight in self.weights:
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"weights must be finite and not negative, got {weight}")
            if weight > _MAX_WEIGHT:  # Their sum must be a number.
                raise InputError(f"weights must be at most {_MAX_WEIGHT:g}, got {weight}")
        if not sum(self.weights) > 0:
            raise InputError(f"weights must not all be 0, got {list(self.weights)}")

    def edges(self, noised: int, ramp: int) -> Edges:
        """See `Split.edges`; `noised` must be the number of weights."""
        if len(self.weights) != noised:
            raise InputError(
                f"weights must be one for each noised stage: {noised}, got {len(self.weights)}"
            )
        shares = np.asarray(self.weights) / math.fsum(self.weights)
        return np.concatenate([[0.0], ramp * np.minimum(np.cumsum(shares)[:-1], 1), [ramp]])


AnySplit: TypeAlias = PowerSplit | LogSplit | FreeSplit


@dataclass(frozen=True, slots=True)
class Family:
    """The parameters that generate a schedule.

    stages: targets, the observation included; 1 is plain DIP and takes no other parameter.
    split: how the ramp is divided among the noised stages.
    ramp: iterations before the last stage.
    noise: the levels of the noised stages.
    """

    stages: int
    split: AnySplit | None = None
    ramp: int = 0
    noise: NoiseLevels | None = None

    def __post_init__(self) -> None:
        """Refuse parameters that do not act, and the lack of those that do."""
        if self.stages < 1:
            raise InputError(f"stages must be at least 1, got {self.stages}")
        if self.stages > MAX_STAGES:
            raise InputError(f"stages must be at most {MAX_STAGES}, got {self.stages}")
        if self.stages == 1:
            if self.split is not None or self.noise is not None or self.ramp != 0:
                raise InputError("stages 1 is plain DIP: it takes no split, ramp or noise")
            return
        if self.split is None or self.noise is None:
            raise InputError(f"stages {self.stages} needs a split, a ramp and noise levels")
        if self.ramp < 1:
            raise InputError(f"ramp must be at least 1 iteration, got {self.ramp}")
        if self.ramp > MAX_ITERATIONS:
            raise InputError(f"ramp must be at most {MAX_ITERATIONS:,}, got {self.ramp:,}")
        self.split.edges(self.stages - 1, self.ramp)

    def schedule(self, iterations: int) -> Schedule:
        """The schedule of this family for a budget of `iterations`, which must exceed the ramp."""
        refuse_short_budget(iterations, self.ramp)
        if self.split is None or self.noise is None:
            return Schedule((Stage(1.0, iterations),))
        noised = self.stages - 1
        counts = counts_between(self.split.edges(noised, self.ramp))
        levels = self.noise.alpha_bars(noised)
        return Schedule.of([*levels, 1.0], [*counts, iterations - self.ramp])


def refuse_short_budget(iterations: int, ramp: int) -> None:
    """The observation must get at least one iteration."""
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, got {iterations}")
    if iterations > MAX_ITERATIONS:
        raise InputError(f"iterations must be at most {MAX_ITERATIONS:,}, got {iterations:,}")
    if iterations <= ramp:
        raise InputError(
            f"iterations must be more than the ramp of {ramp}, got {iterations}: "
            "raise the budget or shorten the ramp"
        )


def counts_between(edges: Edges) -> list[int]:
    """Iterations between rounded edges: monotone rounding loses none and doubles none."""
    return [int(n) for n in np.diff(np.rint(edges).astype(np.int64))]


def from_staircase(indices: NDArray[np.integer | np.floating], noise: NoiseLevels) -> Schedule:
    """From the stage index of every iteration: (iterations,) whole numbers, rising from 1.

    The last entry is the observation's index, and so the number of stages.
    """
    counts = np.bincount(indices.astype(np.int64))[1:]
    return Schedule.of([*noise.alpha_bars(len(counts) - 1), 1.0], counts.tolist())
