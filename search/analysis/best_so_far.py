"""Attainment: the best PSNR_GT that a schedule has reached by an iteration.

Every point of a curve is attainable, not its maximum alone. The mean is over a trial's replicates;
a run that ended keeps what it had reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.documents.schedule_file import Measure
from dipstage.errors import InputError
from dipstage.stopping import Output

Curve: TypeAlias = NDArray[np.floating[Any]]

if TYPE_CHECKING:
    from search.store.records import Trial
    from search.store.run import RunRecord


def attained(psnr_gt_db: Curve, budget: int) -> float:
    """The best of the first `budget` iterations of one replicate's curve, (iterations,)."""
    return float(np.max(psnr_gt_db[:budget]))


def attainment(curves: Sequence[Curve], budget: int) -> NDArray[np.float64]:
    """Mean over replicates of the best PSNR_GT by each iteration, (budget,); dB."""
    best = [np.maximum.accumulate(np.asarray(curve[:budget], np.float64)) for curve in curves]
    return np.asarray(
        np.mean([np.pad(each, (0, budget - len(each)), mode="edge") for each in best], axis=0)
    )


def envelope(trials: Sequence[Sequence[Curve]], budget: int) -> NDArray[np.float64]:
    """The highest attainment of any trial by each iteration, (budget,); dB."""
    return np.asarray(np.max([attainment(curves, budget) for curves in trials], axis=0))


def psnr_gt_curves(run: RunRecord, trial: Trial, output: Output) -> list[Curve]:
    """PSNR_GT of a trial's replicates; InputError if a file cannot be read."""
    return [run.curves(trial, key)[f"psnr_gt_{output}_db"] for key in trial.replicates]


def rank_by_budget(run: RunRecord, budget: int) -> list[tuple[Trial, Measure]]:
    """Complete trials by what they attain in `budget` iterations, best first.

    In the output that is optimised. InputError for a budget that was not trained.
    """
    whole = run.experiment.trainer.iterations
    if not 1 <= budget <= whole:
        raise InputError(f"--budget must be from 1 to the search's {whole}, got {budget}")
    ranked = []
    for trial in run.records():
        if trial.values is None:
            continue
        curves = psnr_gt_curves(run, trial, run.objective.output)
        values = [attained(curve, budget) for curve in curves]
        spread = stdev(values) if len(values) > 1 else None
        ranked.append((trial, Measure(fmean(values), len(values), spread)))
    return sorted(ranked, key=lambda pair: (-pair[1].mean, pair[0].number))
