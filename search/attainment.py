"""Attainment: the best PSNR_GT that a schedule has reached by an iteration.

Every point of a curve is attainable, not its maximum alone. The mean is over a trial's replicates;
a run that ended keeps what it had reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipstage.stopping import Output

if TYPE_CHECKING:
    from search.run import Run, Trial


def attained(psnr_gt_db: NDArray[np.floating[Any]], budget: int) -> float:
    """The best of the first `budget` iterations of one replicate's curve, (iterations,)."""
    return float(np.max(psnr_gt_db[:budget]))


def attainment(run: Run, trial: Trial, output: Output, budget: int) -> list[float]:
    """By replicate, in the order of `trial.outcomes`; reads the curves."""
    return [
        attained(run.curves(trial, key)[f"psnr_gt_{output}_db"], budget) for key in trial.outcomes
    ]


def envelope(curves: list[list[NDArray[np.floating[Any]]]], budget: int) -> NDArray[np.float64]:
    """The best mean attainment of any trial by each iteration, (budget,).

    curves: of each trial, one PSNR_GT curve for each replicate.
    """
    best = np.full(budget, -np.inf)
    for trial in curves:
        runs = [np.maximum.accumulate(np.asarray(c[:budget], np.float64)) for c in trial]
        padded = [np.pad(c, (0, budget - len(c)), mode="edge") for c in runs]
        best = np.maximum(best, np.mean(padded, axis=0))
    return best
