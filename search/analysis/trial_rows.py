"""Conversion of trials to flat rows for CSV files and data frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dipstage.documents.records import to_plain
from dipstage.schedules.stopping import OUTPUTS
from search.experiment.objectives import Objective
from search.store.records import Trial
from search.store.replicate import ReplicateKey

_OF_REPLICATE = (
    "stop",
    "iterations",
    "resets",
    "wall_s",
    "device",
    "precision",
    "observation_psnr_gt_db",
)


def row(trial: Trial, objective: Objective) -> dict[str, Any]:
    """Return one trial as a flat row; steps are iterations.

    The objectives of a raced trial are the estimates for which it was stopped.
    """
    quality, cost = trial.values or trial.estimate or (None, None)
    cells: dict[str, Any] = {
        "trial": trial.number,
        "name": trial.name,
        "state": trial.state,
        objective.quality.key: quality,
        objective.cost.key: cost,
        "replicates": len(trial.replicates),
        "raced_p": trial.raced.chance if trial.raced else None,
        "same_as": trial.same_as,
        "stages": len(trial.schedule.stages) if trial.schedule else None,
        "ramp": trial.schedule.ramp if trial.schedule else None,
        "learning_rate": trial.learning_rate,
    }
    if objective.limits:
        cells["feasible"] = trial.feasible
    cells.update(_score_cells(trial))
    cells.update({f"param_{key}": value for key, value in trial.params.items()})
    cells.update(
        resets=sum(replicate.resets for replicate in trial.replicates.values()),
        wall_s=trial.wall_s,
        hosts=" ".join(sorted({replicate.host for replicate in trial.replicates.values()})),
        devices=" ".join(sorted({replicate.device for replicate in trial.replicates.values()})),
        failure=trial.failure,
    )
    return cells


def replicate_rows(trial: Trial) -> Iterator[dict[str, Any]]:
    """Yield a flat row for each finished replicate of a trial."""
    for key, replicate in trial.replicates.items():
        parsed = ReplicateKey.parse(key)
        cells: dict[str, Any] = {
            "trial": trial.number,
            "name": trial.name,
            "state": trial.state,
            "picture": parsed.picture,
            "seed": parsed.seed,
        }
        for output in OUTPUTS:
            scores = to_plain(replicate.scores(output), {})
            cells.update({f"{output}_{name}": value for name, value in scores.items()})
        cells.update({name: getattr(replicate, name) for name in _OF_REPLICATE})
        for name, value in to_plain(replicate.selected, {}).items() if replicate.selected else ():
            cells[f"selected_{name}"] = value
        yield cells | dict(replicate.objectives or {})


def _score_cells(trial: Trial) -> Iterator[tuple[str, Any]]:
    if not trial.replicates:
        return
    for output in OUTPUTS:
        for key in trial.measured:
            measure = trial.measure(output, key)
            yield f"{output}_{key}", measure.mean
            yield f"{output}_{key}_std", measure.std
        yield f"{output}_censored", trial.censored(output)
