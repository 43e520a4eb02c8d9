"""Best so far: the best PSNR_GT that a schedule has reached by each iteration.

Training can be stopped anywhere, so every point of such a curve counts, not the maximum alone. A
trial's curve is the mean over its replicates. A replicate that stopped early keeps its best value.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import check_whole
from dipstage.errors import InputError
from dipstage.schedules.schedule_file import Measure
from dipstage.schedules.stopping import Output
from search.analysis.common_target import Curve
from search.store.records import distinct

if TYPE_CHECKING:
    from search.store.records import Trial
    from search.store.run import RunRecord


def best_by(psnr_gt_db: Curve, budget: int) -> float:
    """Return the highest of the first `budget` values of one replicate's curve, (iterations,)."""
    return float(np.max(psnr_gt_db[:budget]))


def best_so_far(curves: Sequence[Curve], budget: int) -> NDArray[np.float64]:
    """Return the best PSNR_GT by each iteration, averaged over replicates: (budget,), dB."""
    best = [np.maximum.accumulate(np.asarray(curve[:budget], np.float64)) for curve in curves]
    return np.asarray(
        np.mean([np.pad(each, (0, budget - len(each)), mode="edge") for each in best], axis=0)
    )


def envelope(trials: Sequence[Sequence[Curve]], budget: int) -> NDArray[np.float64]:
    """Return the best PSNR_GT that any trial has reached by each iteration: (budget,), dB."""
    return np.asarray(np.max([best_so_far(curves, budget) for curves in trials], axis=0))


def psnr_gt_curves(run: RunRecord, trial: Trial, output: Output) -> list[Curve]:
    """Read PSNR_GT of a trial's replicates; InputError if a file cannot be read."""
    return [run.curves(trial, key)[f"psnr_gt_{output}_db"] for key in trial.replicates]


def rank_by_budget(run: RunRecord, budget: int) -> list[tuple[Trial, Measure]]:
    """Rank the complete trials by the best PSNR_GT that they reach within `budget` iterations.

    Trials that violate a constraint are left out. The output that the search optimises is judged.
    The best trial comes first; each comes with the mean and spread over its replicates.

    Raises:
        InputError: If the budget is longer than the search's, or below 1.
    """
    whole = run.experiment.trainer.iterations
    check_whole("--budget", budget)
    if not 1 <= budget <= whole:
        raise InputError(f"--budget must be from 1 to the search's {whole}, got {budget}")
    ranked = []
    for trial in distinct(run.records()):
        if not trial.feasible:
            continue
        curves = psnr_gt_curves(run, trial, run.objective.output)
        values = [best_by(curve, budget) for curve in curves]
        spread = stdev(values) if len(values) > 1 else None
        ranked.append((trial, Measure(fmean(values), len(values), spread)))
    return sorted(ranked, key=lambda pair: (-pair[1].mean, pair[0].number))
