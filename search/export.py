"""A trial of a run as a schedule file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError
from dipstage.files import Measured, Provenance, ScheduleFile, save_schedule
from dipstage.presets import is_preset

if TYPE_CHECKING:
    from search.run import Run, Trial


def export(run: Run, trial: Trial, path: Path) -> Path:
    """Write the schedule of a complete trial with what it was measured on; returns `path`."""
    if trial.schedule is None or trial.learning_rate is None or trial.values is None:
        raise InputError(f"{trial.name} is {trial.state}: only complete trials can be exported")
    experiment = run.experiment
    point = run.point(trial)
    content = ScheduleFile(
        schedule=trial.schedule,
        family=point.family if point else None,
        preset=trial.candidate if trial.candidate and is_preset(trial.candidate) else None,
        measured=Measured(
            # Names alone: a schedule file is passed on, and folders are nobody else's business.
            images=[n if n.startswith("skimage:") else Path(n).name for n in experiment.images],
            size=experiment.size,
            sigma_255=experiment.task.sigma_255,
            seeds=experiment.seeds,
            trainer=replace(experiment.trainer, learning_rate=trial.learning_rate),
            output=experiment.objective.output,
            tolerance_db=experiment.objective.tolerance_db,
            raw=trial.measures("raw"),
            smoothed=trial.measures("smoothed"),
        ),
        provenance=Provenance(
            run=run.name,
            trial=trial.number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=trial.versions,
        ),
    )
    try:
        save_schedule(path, content)
    except OSError as error:
        raise InputError(f"--output {path} cannot be written: {error.strerror}") from None
    return path
