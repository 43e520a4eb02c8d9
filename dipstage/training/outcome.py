"""The outcome of a run: its scores, why it ended, and its curves."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.schedules.stopping import Curve, Output, check_output

_OF_SELECTED = ("iteration", "iteration_smoothed", "psnr_gt_raw_db", "psnr_gt_smoothed_db")


class Stop(StrEnum):
    """The reason why a run ended.

    `peak`: the oracle saw PSNR_GT fall. `minimum`: a rule without the ground truth ended it, such
    as `VarianceMinimum` once the variance of the outputs rose again.
    """

    BUDGET = "budget"
    PEAK = "peak"
    MINIMUM = "minimum"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Trace:
    """Per-iteration curves, all of shape (iterations run,). SSIM is NaN where it was not measured.

    Entry i belongs to the output after i updates. `psnr_*` compare with the observation, `*_gt_*`
    with the ground truth, and are NaN without one; `loss` is the mean squared error against the
    stage's target. `stage` is the index of the stage, from 0. `variance_emv` and `variance_wmv` are
    the variances of `dipstage.training.variance` since the stage began; the second is NaN unless
    the stopping rule reads it.
    """

    stage: NDArray[np.int32]
    loss: Curve
    psnr_raw_db: Curve
    psnr_smoothed_db: Curve
    psnr_gt_raw_db: Curve
    psnr_gt_smoothed_db: Curve
    ssim_gt_raw: Curve
    ssim_gt_smoothed: Curve
    variance_emv: Curve
    variance_wmv: Curve

    def psnr_gt_db(self, output: Output) -> Curve:
        """Return PSNR against the ground truth, in dB.

        Args:
            output: `raw` or `smoothed`.

        Returns:
            (iterations,) float32.

        Raises:
            InputError: The output is unknown.
        """
        check_output(output)
        return self.psnr_gt_raw_db if output == "raw" else self.psnr_gt_smoothed_db

    def ssim_gt(self, output: Output) -> Curve:
        """Return SSIM against the ground truth.

        Args:
            output: `raw` or `smoothed`.

        Returns:
            (iterations,) float32, NaN where it was not measured.

        Raises:
            InputError: The output is unknown.
        """
        check_output(output)
        return self.ssim_gt_raw if output == "raw" else self.ssim_gt_smoothed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the curves by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def csv(self) -> str:
        """Return one row for each iteration; numbers in their shortest exact form, NaN as empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        arrays = self.arrays()
        writer.writerow(["iteration", *arrays])
        for i, row in enumerate(zip(*arrays.values(), strict=True)):
            writer.writerow([i, *("" if np.isnan(value) else str(value) for value in row)])
        return text.getvalue()


@dataclass(frozen=True, slots=True)
class Scores:
    """Maxima of one output over a run, and its last values. Steps count iterations from 0.

    steps_to_max: updates before the output with the highest PSNR_GT; the first if there are ties.
    censored: fewer than `patience` iterations followed, so the maximum may lie beyond the run.
    max_ssim_gt: maximum over the iterations at which SSIM was measured: every tenth, and
    steps_to_max.
    """

    max_psnr_gt_db: float
    steps_to_max: int
    censored: bool
    ssim_gt_at_max_psnr_gt: float
    max_ssim_gt: float
    steps_to_max_ssim_gt: int
    final_psnr_gt_db: float
    final_ssim_gt: float


@dataclass(frozen=True, slots=True)
class Selected:
    """The output that the stopping rule selects, without reading the ground truth.

    `VarianceMinimum` selects the raw output at the minimum of the variance, and the smoothed one
    1.5 mean ages of its average later, within the patience, because it lags behind: see
    `VarianceMinimum.lag`. Other rules select the last outputs. The run went on until the rule was
    certain: its cost is `Outcome.iterations`.

    Args:
        iteration: Updates before the raw output.
        iteration_smoothed: Updates before the smoothed output.
        psnr_gt_raw_db: PSNR of the raw output against the ground truth; NaN without one.
        psnr_gt_smoothed_db: PSNR of the smoothed output against the ground truth; NaN without one.
        raw: (C, H, W) float32, the raw output.
        smoothed: (C, H, W) float32, the smoothed output.
    """

    iteration: int
    iteration_smoothed: int
    psnr_gt_raw_db: float
    psnr_gt_smoothed_db: float
    raw: Curve
    smoothed: Curve


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run.

    Args:
        stop: Why the run ended.
        observation_psnr_gt_db: PSNR of the observation itself against the ground truth; infinite
            if they are equal, NaN without a ground truth.
        raw: Scores of the raw output; None without a ground truth, and if the loss of the first
            iteration was not finite.
        smoothed: Scores of the smoothed output; None likewise.
        iterations: Iterations that were run.
        resets: How often the weights returned to those of the iteration before.
        wall_s: Duration in seconds, scoring included.
        device: Name of the device.
        precision: Number format of the network's body: what `auto` chose.
        trace: Curves over the iterations.
        best_raw: (C, H, W) float32, the raw output of the highest PSNR_GT; NaN without a ground
            truth.
        best_smoothed: (C, H, W) float32, the smoothed output of the highest PSNR_GT; NaN likewise.
        selected: What the stopping rule selects; None if the run diverged before it could.
    """

    stop: Stop
    observation_psnr_gt_db: float
    raw: Scores | None
    smoothed: Scores | None
    iterations: int
    resets: int
    wall_s: float
    device: str
    precision: str
    trace: Trace
    best_raw: Curve
    best_smoothed: Curve
    selected: Selected | None = None

    def __repr__(self) -> str:
        """Return one line without the curves and pictures."""
        scores = self.raw or self.smoothed
        best = f", {scores.max_psnr_gt_db:.2f} dB at {scores.steps_to_max}" if scores else ""
        return f"<Outcome: {self.stop.value} after {self.iterations} iterations{best}>"

    def scores(self, output: Output) -> Scores:
        """Return the scores of one output.

        Args:
            output: `raw` or `smoothed`.

        Raises:
            InputError: The output is unknown.
            ValueError: The run has no scores: it had no ground truth, or diverged in its first
                iteration.
        """
        check_output(output)
        scores = self.raw if output == "raw" else self.smoothed
        if scores is None:
            raise ValueError(
                "the run has no scores: it had no ground truth, or diverged in its first iteration"
            )
        return scores

    @property
    def iterations_per_s(self) -> float:
        """Mean speed of the run, scoring included."""
        return self.iterations / self.wall_s

    def summary(self) -> dict[str, Any]:
        """Return everything but curves and pictures, as plain data for JSON."""
        return {
            "stop": self.stop.value,
            "iterations": self.iterations,
            "resets": self.resets,
            "wall_s": self.wall_s,
            "iterations_per_s": self.iterations_per_s,
            "device": self.device,
            "precision": self.precision,
            "observation_psnr_gt_db": _finite(self.observation_psnr_gt_db),
            "raw": asdict(self.raw) if self.raw else None,
            "smoothed": asdict(self.smoothed) if self.smoothed else None,
            "selected": self.selected
            and {name: _finite(getattr(self.selected, name)) for name in _OF_SELECTED},
        }


def _finite(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return value if math.isfinite(value) else None


def trailing_mean(curve: NDArray[np.floating[Any]], window: int) -> NDArray[np.floating[Any]]:
    """Return the mean of each value and those before it.

    Args:
        curve: (iterations,) float32 or float64.
        window: Number of values in a mean, at least 1; the first means have fewer.

    Returns:
        (iterations,) of the same type.
    """
    if window == 1:
        return curve
    sums = np.concatenate([[0.0], np.cumsum(curve, dtype=np.float64)])
    ends = np.arange(1, len(curve) + 1)
    begins = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins), curve.dtype)


def steps_within(psnr_gt_db: NDArray[np.floating[Any]], tolerance_db: float) -> int:
    """Return the first iteration whose PSNR_GT is within a tolerance of the maximum.

    Args:
        psnr_gt_db: (iterations,) float32, in dB.
        tolerance_db: Not negative.
    """
    return int(np.argmax(psnr_gt_db >= psnr_gt_db.max() - np.float32(tolerance_db)))


def score(trace: Trace, output: Output, patience: int) -> Scores:
    """Return the scores of a trace.

    Args:
        trace: At least one iteration, with SSIM measured at the maximum of PSNR_GT.
        output: `raw` or `smoothed`.
        patience: A maximum followed by fewer iterations than this is censored.
    """
    psnr, ssim = trace.psnr_gt_db(output), trace.ssim_gt(output)
    peak = int(np.argmax(psnr))
    ssim_peak = int(np.nanargmax(ssim))
    measured = np.flatnonzero(~np.isnan(ssim))
    return Scores(
        max_psnr_gt_db=float(psnr[peak]),
        steps_to_max=peak,
        censored=len(psnr) - 1 - peak < patience,
        ssim_gt_at_max_psnr_gt=float(ssim[peak]),
        max_ssim_gt=float(ssim[ssim_peak]),
        steps_to_max_ssim_gt=ssim_peak,
        final_psnr_gt_db=float(psnr[-1]),
        final_ssim_gt=float(ssim[measured[-1]]),
    )
