"""Stopping rules: when a run ends before its budget, and when its maximum counts as censored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import check_number, check_whole, is_object_with
from dipstage.errors import InputError

Output: TypeAlias = Literal["raw", "smoothed"]
OUTPUTS: tuple[Output, Output] = ("raw", "smoothed")
VarianceKind: TypeAlias = Literal["emv", "wmv"]
Curve: TypeAlias = NDArray[np.float32]
MAX_ITERATIONS = 1_000_000
"""Largest budget of a run: its curves are kept in memory."""


def check_output(output: Output) -> None:
    """Raise InputError unless it is `raw` or `smoothed`."""
    if output not in OUTPUTS:
        raise InputError(f"output must be raw or smoothed, got {output!r}")


@dataclass(frozen=True, slots=True)
class LastStage:
    """Curves that a rule sees, over the last stage so far, each (iterations,) float32.

    Args:
        psnr_gt_db: PSNR_GT in dB of each output.
        variance: Variances of the raw output (see `dipstage.training.variance`), NaN where not
            measured, or where the rule does not count them.
    """

    psnr_gt_db: dict[Output, Curve]
    variance: dict[VarianceKind, Curve]


class StoppingRule(Protocol):
    """Decides whether a run stops, after each block of iterations in the last stage."""

    @property
    def patience(self) -> int:
        """A maximum followed by fewer iterations than this counts as censored."""
        ...

    @property
    def windowed(self) -> bool:
        """True if the windowed variance is measured, which keeps 100 outputs in memory."""
        ...

    @property
    def reads_ground_truth(self) -> bool:
        """True for oracles, which cannot run without a ground truth."""
        ...

    def stops(self, seen: LastStage) -> bool:
        """Return whether the run stops.

        Args:
            seen: Curves over the last stage so far.
        """
        ...


def check_rule(name: str, rule: StoppingRule | None) -> None:
    """Raise InputError unless it is a stopping rule, or None for one that was not given."""
    members = ("patience", "windowed", "reads_ground_truth", "stops")
    if rule is not None and not is_object_with(rule, *members):
        lacking = next((member for member in members if not hasattr(rule, member)), None)
        hint = f", which lacks {lacking}" if lacking else ""
        raise InputError(
            f"{name} must be a stopping rule such as VarianceMinimum(), got {rule!r:.80}{hint}"
        )


@dataclass(frozen=True, slots=True)
class FullBudget:
    """Never stops early.

    Args:
        patience: A maximum followed by fewer iterations than this counts as censored.
        windowed: Measure the windowed variance as well.

    Raises:
        InputError: The patience is less than 1.
    """

    patience: int = 150
    windowed: bool = False
    reads_ground_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("patience", self.patience, least=1)

    def stops(self, seen: LastStage) -> bool:
        """See `StoppingRule.stops`."""
        return False


@dataclass(frozen=True, slots=True)
class OraclePeak:
    """Stops once PSNR_GT has not risen for `patience` iterations of the last stage.

    The rule reads the ground truth. It saves time in a search and cannot be used in practice.
    Rises are measured against the maximum of the last stage, so that a staged run that enters its
    last stage below an earlier maximum is not stopped while it climbs.

    Args:
        output: The output that is watched, `raw` or `smoothed`.
        patience: Iterations without a rise, at least 1.

    Raises:
        InputError: The output is unknown or the patience is less than 1.
    """

    output: Output = "raw"
    patience: int = 150
    windowed: ClassVar[bool] = False
    reads_ground_truth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_output(self.output)
        check_whole("patience", self.patience, least=1)

    def stops(self, seen: LastStage) -> bool:
        """See `StoppingRule.stops`."""
        scores = seen.psnr_gt_db[self.output]
        return len(scores) - 1 - int(np.argmax(scores)) >= self.patience


@dataclass(frozen=True, slots=True)
class _Oracle:
    patience: int = 150
    windowed: ClassVar[bool] = False
    reads_ground_truth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole("patience", self.patience, least=1)


BOTH_WAIT = 200
"""Waiting for 150 would have changed no maximum of 116 trainings on 20 pictures (see
docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class OracleBoth(_Oracle):
    """Stops once PSNR_GT of neither output has risen for a while in the last stage.

    The while is `BOTH_WAIT` iterations, or `patience` if that is more.

    The rule reads the ground truth. It saves time where both outputs are compared, and cannot be
    used in practice.

    Args:
        patience: A maximum followed by fewer iterations than this counts as censored.

    Raises:
        InputError: The patience is less than 1.
    """

    def stops(self, seen: LastStage) -> bool:
        """See `StoppingRule.stops`."""
        wait = max(BOTH_WAIT, self.patience)
        curves = seen.psnr_gt_db.values()
        return all(len(curve) - 1 - int(np.argmax(curve)) >= wait for curve in curves)


DECIDED_AFTER, DECIDED_FALL_DB = 30, 0.02
"""Fitted to 1,099 recorded trainings; in none of 278 on 27 other pictures would a maximum have
changed (see docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class OracleDecided(_Oracle):
    """Stops once the maximum of the smoothed output's PSNR_GT is decided.

    It is decided once PSNR_GT has not risen for `DECIDED_AFTER` iterations of the last stage and is
    at least `DECIDED_FALL_DB` below the maximum, or once it has not risen for `patience`
    iterations. This rule reads the ground truth. It saves time in a search and cannot be used in
    practice. The raw output is too noisy for it.

    Args:
        patience: Iterations without a rise, at least 1, after which no fall is needed. A maximum
            followed by fewer iterations than this counts as censored, unless it is decided before
            the last block of ten iterations, after which the budget ends the run.

    Raises:
        InputError: The patience is less than 1.
    """

    def stops(self, seen: LastStage) -> bool:
        """See `StoppingRule.stops`."""
        scores = seen.psnr_gt_db["smoothed"]
        peak = int(np.argmax(scores))
        waited = len(scores) - 1 - peak
        has_fallen = bool(scores[peak] - scores[-1] >= DECIDED_FALL_DB)
        return waited >= self.patience or (has_fallen and waited >= DECIDED_AFTER)


_LAG = 1.5
"""Lag of the smoothed output behind the raw one, in mean ages of its average."""


@dataclass(frozen=True, slots=True)
class VarianceMinimum:
    """Stops once the variance of the outputs has not fallen for `patience` iterations.

    The rule needs no ground truth (ES-EMV and ES-WMV of arXiv 2112.06074). The answer is the output
    at the smallest variance of the last stage; its cost includes the wait.

    Args:
        kind: `emv`, exponentially weighted, or `wmv`, over a window of 100 outputs.
        patience: Iterations without a new minimum, at least 1.
        warmup: Iterations of the last stage that are ignored, not negative. At first all variances
            are small, because there are few outputs.
        fitted_db: Iterations before the raw output has reached this PSNR against the observation
            are ignored as well. Where the noise is known, this is the discrepancy principle: a
            network that is further from the observation than the noise has not fitted the picture.
        fitted_by: Iterations of the last stage after which `fitted_db` no longer matters. By
            default it always does.

    Raises:
        InputError: A value is outside its range.
    """

    kind: VarianceKind = "emv"
    patience: int = 150
    warmup: int = 100
    fitted_db: float = -math.inf
    fitted_by: int = MAX_ITERATIONS
    reads_ground_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in ("emv", "wmv"):
            raise InputError(f"kind must be emv or wmv, got {self.kind!r}")
        check_whole("patience", self.patience, least=1)
        check_whole("warmup", self.warmup, least=0)
        check_number("fitted_db", self.fitted_db)
        if math.isnan(self.fitted_db):
            raise InputError("fitted_db must be a PSNR in dB, got nan")
        check_whole("fitted_by", self.fitted_by, least=0)

    @property
    def windowed(self) -> bool:
        """See `StoppingRule.windowed`."""
        return self.kind == "wmv"

    def lag(self, ema: float, gamma: float | None = None, averaged: int = 1) -> int:
        """Return how many iterations after the minimum the smoothed output is taken.

        Args:
            ema: Weight of the past in the moving average, whose mean age is 1 / (1 - ema).
            gamma: Exponent of a power-function average, whose mean age is averaged / (gamma + 2);
                `ema` is not read then.
            averaged: Outputs that the power-function average contains at the minimum.
        """
        inverse_age = 1 - ema if gamma is None else (gamma + 2) / averaged
        return min(round(_LAG / inverse_age), self.patience)

    def stops(self, seen: LastStage) -> bool:
        """See `StoppingRule.stops`."""
        return self.found(seen.variance[self.kind]) is not None

    def counted(self, variance: Curve, psnr_db: Curve) -> Curve:
        """Return the variance, NaN where the network has not yet fitted the picture.

        Args:
            variance: (iterations,) over the last stage.
            psnr_db: (iterations,) of the raw output against the observation.
        """
        fitted = np.logical_or.accumulate(psnr_db >= self.fitted_db)
        late = np.arange(len(variance)) >= self.fitted_by
        return np.where(fitted | late, variance, np.float32(np.nan))

    def found(self, variance: Curve) -> int | None:
        """Return the iteration of the last stage that the rule selects.

        Args:
            variance: (iterations,) over the last stage.

        Returns:
            The first minimum that has not been undercut for `patience` iterations; it is known
            `patience` iterations later. None if there is none.
        """
        selected = self.selected(variance)
        is_final = selected is not None and len(variance) - 1 - selected >= self.patience
        return selected if is_final else None

    def selected(self, variance: Curve) -> int | None:
        """Return the iteration of the last stage whose output is the answer if the run ends now.

        Args:
            variance: (iterations,) over the last stage.

        Returns:
            What `found` returns, or the minimum so far. None during the warm-up.
        """
        measured = self.warmup + np.flatnonzero(~np.isnan(variance[self.warmup :]))
        if not len(measured):
            return None
        begin = int(measured[0])
        rest = variance[begin:]
        is_new = np.concatenate([[True], rest[1:] < np.fmin.accumulate(rest)[:-1]])
        minima = np.flatnonzero(is_new)
        kept = np.diff(np.append(minima, len(rest) + self.patience)) > self.patience
        return begin + int(minima[int(np.argmax(kept))])
