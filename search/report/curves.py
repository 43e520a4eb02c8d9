"""Curves for the report: means over replicates, their best so far, and the envelope."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.schedules.stopping import OUTPUTS, Output
from search.analysis.best_so_far import best_so_far
from search.report.thinning import kept
from search.store.folders import is_remote
from search.store.records import Trial
from search.store.run import RunRecord

Curve = NDArray[np.float64]
_READERS = 16
"""Number of files read in parallel from object storage, where each read is slow."""


@dataclass
class Curves:
    """Thinned curves of all trials by number, as plain data in hundredths of a dB.

    Args:
        by_trial: Curves of each trial by its number.
        missing: Names of trials with a file that could not be read.
        envelope: Highest best-so-far curve of the complete trials that violate no constraint; None
            if there are none.
    """

    by_trial: dict[int, dict[str, Any]]
    missing: list[str]
    envelope: dict[str, Any] | None


def gather(run: RunRecord, trials: list[Trial]) -> Curves:
    """Read, average and thin the curves of one trial after another to save memory."""
    output, budget = run.objective.output, run.experiment.trainer.iterations
    by_trial: dict[int, dict[str, Any]] = {}
    missing: list[str] = []
    best: Curve | None = None
    for trial, read in _read(run, trials):
        if read is None:
            missing.append(trial.name)
            continue
        attained = best_so_far(read[output], budget)
        by_trial[trial.number] = _thinned(trial, read, attained)
        if trial.values is not None and trial.feasible:
            best = attained if best is None else np.maximum(best, attained)
    envelope = None
    if best is not None:
        at = kept([best])
        envelope = {"x": at.tolist(), "attained": centi(best[at])}
    return Curves(by_trial, missing, envelope)


def _read(
    run: RunRecord, trials: list[Trial]
) -> Iterator[tuple[Trial, dict[Output, list[Any]] | None]]:
    """Yield PSNR_GT of each trial's replicates by output; None if a file cannot be read."""
    with ThreadPoolExecutor(_READERS) as pool:
        for trial in trials:
            if not trial.replicates:
                continue

            def one(key: str, trial: Trial = trial) -> list[Any]:
                curves = run.curves(trial, key)
                return [curves[f"psnr_gt_{output}_db"] for output in OUTPUTS]

            try:
                found = list((pool.map if is_remote(run.folder) else map)(one, trial.replicates))
            except InputError:
                yield trial, None
                continue
            yield trial, dict(zip(OUTPUTS, map(list, zip(*found, strict=True)), strict=True))


def _thinned(trial: Trial, read: dict[Output, list[Any]], attained: Curve) -> dict[str, Any]:
    """Return thinned means over the replicates, up to the end of the shortest replicate."""
    shortest = min(len(curve) for curve in read["raw"])
    means = {
        output: np.mean([np.asarray(c[:shortest], np.float64) for c in curves], axis=0)
        for output, curves in read.items()
    }
    switches = trial.schedule.starts[1:] if trial.schedule else ()
    at = kept([means["raw"], means["smoothed"]], switches)
    beyond = kept([attained], switches) if len(attained) > shortest else at
    return {
        "x": at.tolist(),
        "raw": centi(means["raw"][at]),
        "smoothed": centi(means["smoothed"][at]),
        **({} if beyond is at else {"xa": beyond.tolist()}),
        "attained": centi(attained[beyond]),
    }


def centi(curve: Curve) -> list[int | None]:
    """Return values in rounded hundredths; None for values that are not finite."""
    return [round(100 * value) if np.isfinite(value) else None for value in curve.tolist()]
