"""Searches side by side in tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dipstage.terminal.fitted import FittedTable
from dipstage.terminal.numbers import at, db, steps
from search.analysis.comparison import (
    QUARTILES,
    after_hours,
    after_trials,
    attained_by_share,
    attained_within,
    history,
    labels_of,
    reference_point,
    repetitions,
)
from search.analysis.front import front_of
from search.store.run import RunRecord

SHARES = (0.25, 0.5, 0.75, 1.0)


def print_comparison(runs: Sequence[RunRecord], print_: Callable[..., None]) -> None:
    """Print all tables."""
    reference = reference_point(runs[0].experiment)
    repeated = [group for group in repetitions(runs) if len(group) > 1]
    attained = [attainment_table(group, labels_of(runs)) for group in repeated]
    for table in (over_trials_table(runs), over_hours_table(runs), *attained):
        print_(table)
        print_()
    task = runs[0].experiment.task
    whose = "the observation's " * (task.kind == "denoise" and task.noise_255 > 0)
    print_(
        f"hypervolume in dB · iterations, measured from {whose}"
        f"{at(reference.max_psnr_gt_db, reference.steps_to_max)} iterations",
        markup=False,
    )


def over_trials_table(runs: Sequence[RunRecord]) -> FittedTable:
    """Return the hypervolume after equal numbers of trials, as far as the shortest search goes."""
    histories, labels = [history(run) for run in runs], labels_of(runs)
    common = min(len(moments) for moments in histories)
    marks = sorted({max(1, round(share * common)) for share in SHARES}) if common else []
    rows = [
        [
            labels[run.folder],
            str(len(moments)),
            str(sum(trial.state == "raced" for trial in run.records())),
            str(len(front_of(run.records()))),
            *(f"{after_trials(moments, mark):.0f}" for mark in marks),
            f"{after_trials(moments, len(moments)):.0f}",
        ]
        for run, moments in zip(runs, histories, strict=True)
    ]
    columns = ["search", "trials", "raced", "front", *(f"after {m}" for m in marks), "in the end"]
    return FittedTable(columns, rows, "hypervolume over trials", drop=range(2, len(columns) - 1))


def over_hours_table(runs: Sequence[RunRecord]) -> FittedTable:
    """Return the hypervolume after equal training times, as far as the shortest search goes."""
    histories, labels = [history(run) for run in runs], labels_of(runs)
    common = min((m[-1].training_hours if m else 0.0 for m in histories), default=0.0)
    marks = [share * common for share in SHARES]
    rows = [
        [
            labels[run.folder],
            f"{moments[-1].training_hours:.2f}" if moments else "0",
            *(f"{after_hours(moments, mark):.0f}" for mark in marks),
        ]
        for run, moments in zip(runs, histories, strict=True)
    ]
    columns = ["search", "training (h)", *(f"after {mark:.2g} h" for mark in marks)]
    return FittedTable(columns, rows, "hypervolume over hours of training, all workers together")


def attainment_table(group: Sequence[RunRecord], labels: Mapping[Path, str]) -> FittedTable:
    """Return the PSNR_GT that shares of a group of repeated searches attained within some steps."""
    budget, objective = group[0].experiment.trainer.iterations, group[0].objective
    fronts = [[trial.score for trial in front_of(run.records())] for run in group]
    rows = []
    for share in SHARES:
        values = [attained_within(scores, share * budget) for scores in fronts]
        reached = [attained_by_share(values, quartile) for quartile in QUARTILES]
        rows.append(
            [
                steps(share * budget),
                *("none" if math.isinf(value) else db(value) for value in reached),
            ]
        )
    columns = [
        f"{objective.cost.words}, at most",
        *(f"{objective.quality.label} in\n{quartile:.0%} of searches" for quartile in QUARTILES),
    ]
    names = ", ".join(labels[run.folder] for run in group)
    return FittedTable(columns, rows, f"attainment of {len(group)} repeated searches: {names}")


def comparison_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return one row for each trial that ended, search by search."""
    labels = labels_of(runs)
    return [
        {
            "search": labels[run.folder],
            "trials": moment.trials,
            "training_hours": moment.training_hours,
            "hypervolume_db_iterations": moment.hypervolume,
        }
        for run in runs
        for moment in history(run)
    ]
