"""Stages, schedules, and the parametric family that generates schedules.

Iterations are counted from 0. A schedule of N iterations covers 0 … N - 1, each exactly once.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import (
    as_tuple,
    built_in,
    check_kind,
    check_number,
    check_whole,
    is_object_with,
)
from dipstage.documents.records import as_count
from dipstage.errors import InputError
from dipstage.schedules.noise import AnyNoiseLevels, NoiseLevels
from dipstage.schedules.recipe import TRAINERS, Recipe
from dipstage.schedules.splits import AnySplit, share_out
from dipstage.schedules.stopping import MAX_ITERATIONS

MAX_STAGES = 1000
"""The number of steps of DDPM."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One target, given by its noise level, and the iterations trained on it.

    Args:
        alpha_bar: Noise level: the remaining share of the observation's variance, from 1 (no added
            noise) down to 0 (noise only).
        iterations: At least 1.

    Raises:
        InputError: A value lies outside its range.
    """

    alpha_bar: float
    iterations: int

    def __post_init__(self) -> None:
        check_number("alpha_bar", self.alpha_bar)
        check_whole("iterations of a stage", self.iterations)
        if not 0 <= self.alpha_bar <= 1:
            raise InputError(f"alpha_bar must be in [0, 1], got {self.alpha_bar}")
        if self.iterations < 1:
            raise InputError(f"iterations of a stage must be at least 1, got {self.iterations}")
        object.__setattr__(self, "alpha_bar", built_in(self.alpha_bar))
        object.__setattr__(self, "iterations", built_in(self.iterations))


class Step(NamedTuple):
    """One iteration of a schedule; None where the schedule leaves a value to the trainer.

    Args:
        stage: Index of the stage, from 0.
        alpha_bar: Noise level of the target.
        learning_rate: Learning rate of Adam.
        input_noise_std: Standard deviation of the noise added to the network's input.
    """

    stage: int
    alpha_bar: float
    learning_rate: float | None
    input_noise_std: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Stages from the maximum noise level to the observation (alpha_bar 1).

    Args:
        stages: At least one stage and at most 1000, of at most 1,000,000 iterations together;
            alpha_bar rises, the last is 1.
        recipe: Targets, learning rates, input noise and averaging.
        any_order: Accept the noised stages in any order, for controls.

    Raises:
        InputError: The stages are not in this order, or the last is not the observation.
    """

    stages: tuple[Stage, ...]
    recipe: Recipe = TRAINERS
    any_order: bool = field(default=False, compare=False, repr=False)

    def __repr__(self) -> str:
        """Return one line: stages may be a thousand."""
        stages = f"{len(self.stages)} stage{'s' * (len(self.stages) > 1)}"
        return f"<Schedule of {stages}, ramp {self.ramp} of {self.iterations} iterations>"

    def __post_init__(self) -> None:
        check_kind("recipe", self.recipe, Recipe, "see dipstage.Recipe")
        object.__setattr__(self, "stages", as_tuple("stages", self.stages))
        for stage in self.stages:
            check_kind("each stage", stage, Stage, "write Stage(alpha_bar, iterations)")
        levels = [stage.alpha_bar for stage in self.stages]
        if len(levels) > MAX_STAGES:
            raise InputError(f"stages must be at most {MAX_STAGES}, got {len(levels)}")
        if not levels or levels[-1] != 1:
            raise InputError(
                "the last stage must be the observation, alpha_bar 1, "
                f"got {levels[-1] if levels else 'no stage'}"
            )
        if self.iterations > MAX_ITERATIONS:
            raise InputError(
                f"iterations of all stages must be at most {MAX_ITERATIONS:,}, got "
                f"{self.iterations:,}"
            )
        if self.recipe.target == "variance-exploding" and 0 in levels:
            raise InputError("variance-exploding targets need alpha_bar above 0, got 0")
        if self.any_order:
            if len(set(levels)) < len(levels):
                raise InputError(f"each noise level must be one stage, got alpha_bar {levels}")
            return
        for before, after in pairwise(levels):
            if before >= after:
                raise InputError(
                    "stages must go from the most noise to the least, alpha_bar rising: "
                    f"{after} follows {before}"
                )

    @classmethod
    def of(
        cls, alpha_bars: Iterable[float], iterations: Iterable[int], recipe: Recipe = TRAINERS
    ) -> Schedule:
        """Make a schedule and drop the stages that get no iteration.

        Args:
            alpha_bars: Noise level of each stage, rising to 1.
            iterations: Iterations of each stage, not negative; as many as there are levels.
            recipe: See the class.
        """
        levels, counts = as_tuple("alpha_bars", alpha_bars), as_tuple("iterations", iterations)
        if len(levels) != len(counts):
            raise InputError(
                f"alpha_bars and iterations must be equally many, got {len(levels)} and "
                f"{len(counts)}"
            )
        pairs = zip(levels, map(as_count, counts), strict=True)
        return cls(tuple(Stage(level, count) for level, count in pairs if count != 0), recipe)

    @classmethod
    def plain(cls, iterations: int, recipe: Recipe = TRAINERS) -> Schedule:
        """Return plain DIP: one stage, the observation."""
        return cls((Stage(1.0, iterations),), recipe)

    @classmethod
    def from_pairs(
        cls, pairs: Iterable[Sequence[float]], recipe: Recipe = TRAINERS, *, any_order: bool = False
    ) -> Schedule:
        """Make a schedule from what `pairs` returned.

        Args:
            pairs: alpha_bar and iterations of each stage.
            recipe: See the class.
            any_order: See the class.
        """
        # Some readers make all numbers floats.
        return cls(tuple(Stage(level, as_count(n)) for level, n in pairs), recipe, any_order)

    @property
    def is_plain(self) -> bool:
        """True for plain DIP: one stage, the observation."""
        return len(self.stages) == 1

    @property
    def is_in_order(self) -> bool:
        """True if the stages go from the most noise to the least, which only controls break."""
        return all(a.alpha_bar < b.alpha_bar for a, b in pairwise(self.stages))

    @property
    def pairs(self) -> list[list[float]]:
        """List of [alpha_bar, iterations], which JSON stores exactly."""
        return [[stage.alpha_bar, stage.iterations] for stage in self.stages]

    @property
    def iterations(self) -> int:
        """The budget, which is the iterations of all stages."""
        return sum(stage.iterations for stage in self.stages)

    @property
    def starts(self) -> tuple[int, ...]:
        """First iteration of each stage."""
        return tuple(accumulate((s.iterations for s in self.stages[:-1]), initial=0))

    @property
    def ramp(self) -> int:
        """Iterations before the last stage."""
        return self.starts[-1]

    def at(self, iteration: int) -> Step:
        """Return what an iteration trains with.

        Args:
            iteration: From 0 to `iterations` - 1.

        Raises:
            IndexError: The iteration is outside this range.
        """
        check_whole("iteration", iteration)
        starts, recipe = self.starts, self.recipe
        last = starts[-1] + self.stages[-1].iterations - 1
        if not 0 <= iteration <= last:
            raise IndexError(f"iteration must be from 0 to {last}, got {iteration}")
        stage, rate = bisect(starts, iteration) - 1, recipe.learning_rate
        if iteration < starts[-1] and recipe.ramp_learning_rate is not None:
            rate = recipe.ramp_learning_rate
        return Step(stage, self.stages[stage].alpha_bar, rate, recipe.input_noise_std)

    def extended(self, iterations: int) -> Schedule:
        """Return the schedule for another budget by changing the last stage alone.

        Args:
            iterations: The new budget.

        Raises:
            InputError: The budget leaves no iteration for the last stage.
        """
        refuse_short_budget(iterations, self.ramp)
        last = Stage(1.0, iterations - self.ramp)
        return replace(self, stages=(*self.stages[:-1], last))

    def scaled(self, iterations: int) -> Schedule:
        """Return the schedule for another budget with the same shares.

        Starts are rounded to whole iterations; stages that no longer get one are dropped.

        Args:
            iterations: The new budget, from 1 to 1,000,000.

        Raises:
            InputError: The budget is outside this range.
        """
        check_whole("iterations", iterations, least=1)
        share = iterations / self.iterations
        starts = [min(round(start * share), iterations - 1) for start in self.starts]
        counts = [after - before for before, after in pairwise([*starts, iterations])]
        pairs = zip(self.stages, counts, strict=True)
        stages = tuple(Stage(stage.alpha_bar, count) for stage, count in pairs if count)
        return replace(self, stages=stages)

    def rescaled(self, iterations: int, noise: float = 1.0) -> Schedule:
        """Return the schedule for another task, such as a larger picture or other noise.

        The iterations of the ramp and the learning rates are kept: they served 64 × 64 and
        128 × 128 alike. The last stage takes the rest of the budget; only a budget that the ramp
        does not fit is divided as by `scaled`. Added noise grows with the observation's noise, and
        input noise with its square root, close to the official 1/30 at sigma 25 and 1/20 at 50.

        Args:
            iterations: The new budget, at least 1.
            noise: Noise of the new observations over that of the old ones, from 1e-9 to 1e9.

        Raises:
            InputError: A value is outside its range, or stages would no longer differ.
        """
        check_number("noise", noise)
        if not 1e-9 <= noise <= 1e9:
            raise InputError(
                f"noise must be from 1e-9 to 1e9 times the schedule's (sigma), got {noise} times"
            )
        check_whole("iterations", iterations)
        fits = iterations > self.ramp
        schedule = self.extended(iterations) if fits else self.scaled(iterations)
        if noise == 1:
            return schedule
        old = [stage.alpha_bar for stage in schedule.stages]
        levels = [alpha_bar / (alpha_bar + noise**2 * (1 - alpha_bar)) for alpha_bar in old]
        if len(set(levels)) < len(levels):
            raise InputError(
                f"with {noise:g} times the schedule's noise (sigma), its stages no longer differ: "
                "choose a sigma nearer to the schedule's"
            )
        stages = tuple(
            replace(stage, alpha_bar=level)
            for stage, level in zip(schedule.stages, levels, strict=True)
        )
        std = self.recipe.input_noise_std
        recipe = replace(
            self.recipe, input_noise_std=None if std is None else std * math.sqrt(noise)
        )
        return replace(schedule, stages=stages, recipe=recipe)


@dataclass(frozen=True, slots=True)
class Family:
    """The parameters that generate a schedule.

    Args:
        stages: Number of targets, the observation included, from 1 to 1000. 1 is plain DIP and
            takes no other parameter.
        split: How the ramp is divided among the noised stages: `PowerSplit`, `LogSplit` or
            `FreeSplit`.
        ramp: Iterations before the last stage, from 1 to 1,000,000.
        noise: The levels of the noised stages: `NoiseLevels` or `TotalNoiseLevels`.

    Raises:
        InputError: A parameter is outside its range, missing, or has no effect.
    """

    stages: int
    split: AnySplit | None = None
    ramp: int = 0
    noise: AnyNoiseLevels | None = None

    def __post_init__(self) -> None:
        check_whole("stages", self.stages, least=1)
        check_whole("ramp", self.ramp)
        if self.stages > MAX_STAGES:
            raise InputError(f"stages must be at most {MAX_STAGES}, got {self.stages}")
        if self.stages == 1:
            if self.split is not None or self.noise is not None or self.ramp != 0:
                raise InputError("stages 1 is plain DIP: it takes no split, ramp or noise")
            return
        if self.split is None or self.noise is None:
            raise InputError(f"stages {self.stages} needs a split, a ramp and noise levels")
        if not (is_object_with(self.split, "edges") and is_object_with(self.noise, "alpha_bars")):
            raise InputError(
                "split and noise must be objects such as PowerSplit(2.0) and NoiseLevels(), got "
                f"{self.split!r:.80} and {self.noise!r:.80}"
            )
        if self.ramp < 1:
            raise InputError(f"ramp must be at least 1 iteration, got {self.ramp}")
        if self.ramp > MAX_ITERATIONS:
            raise InputError(f"ramp must be at most {MAX_ITERATIONS:,}, got {self.ramp:,}")
        self.split.edges(self.stages - 1, self.ramp)

    def schedule(self, iterations: int, recipe: Recipe = TRAINERS) -> Schedule:
        """Return the schedule for a budget.

        Each noised stage gets one iteration and its share of the rest: see `share_out`. If the
        ramp has fewer iterations than noised stages, some stages are dropped.

        Args:
            iterations: The budget, more than the ramp and at most 1,000,000.
            recipe: See `Schedule`.

        Raises:
            InputError: The budget is outside this range.
        """
        refuse_short_budget(iterations, self.ramp)
        if self.split is None or self.noise is None:
            return Schedule.plain(iterations, recipe)
        noised = self.stages - 1
        counts = share_out(self.split.edges(noised, self.ramp))
        levels = self.noise.alpha_bars(noised)
        return Schedule.of([*levels, 1.0], [*counts, iterations - self.ramp], recipe)


def refuse_short_budget(iterations: int, ramp: int) -> None:
    """Raise InputError if a budget leaves no iteration for the observation."""
    check_whole("iterations", iterations, least=1)
    if iterations > MAX_ITERATIONS:
        raise InputError(f"iterations must be at most {MAX_ITERATIONS:,}, got {iterations:,}")
    if iterations <= ramp:
        raise InputError(
            f"iterations must be more than the ramp of {ramp}, got {iterations}: "
            "raise the budget or shorten the ramp"
        )


def from_staircase(indices: NDArray[np.integer | np.floating], noise: NoiseLevels) -> Schedule:
    """Return the schedule of a staircase.

    Args:
        indices: (iterations,) stage index of every iteration, whole numbers rising from 1. The
            last is the observation's index, and so the number of stages.
        noise: The levels of the noised stages.
    """
    counts = np.bincount(indices.astype(np.int64))[1:]
    return Schedule.of([*noise.alpha_bars(len(counts) - 1), 1.0], counts.tolist())
