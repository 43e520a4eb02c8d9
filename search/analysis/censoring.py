"""A check whether a search's budget is so short that it cut off every maximum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dipstage.training.outcome import Stop
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from dipstage.schedules.settings import TrainerSettings

REMEDY = "raise trainer.iterations"
FEWEST = 4
"""Trainings, of at least two schedules, from which on a notice is given."""


def cut_off(run: RunRecord, trials: Iterable[Trial]) -> str | None:
    """Return a sentence if the budget cut off the maximum of every training so far.

    A few trainings, or those of one schedule, say nothing: their maxima may be late by themselves.

    Returns:
        The sentence without its full stop; None if some maximum is not censored.
    """
    trained = [list(trial.replicates.values()) for trial in trials if trial.replicates]
    replicates = [each for found in trained for each in found]
    output = run.objective.output
    if len(trained) < 2 or len(replicates) < FEWEST:
        return None
    ended_by_budget = all(each.stop is Stop.BUDGET for each in replicates)
    if not ended_by_budget or not all(r.scores(output).objective_censored for r in replicates):
        return None
    settings = run.experiment.trainer
    return (
        f"all {len(replicates)} maxima are censored: fewer than trainer.patience "
        f"({settings.patience}) iterations follow each, so they and their steps are lower bounds; "
        f"{REMEDY} ({settings.iterations})"
    )


def cuts_off(settings: TrainerSettings) -> str | None:
    """Return a sentence if the settings must censor every maximum; None if they need not."""
    if settings.patience < settings.iterations:
        return None
    return (
        f"every maximum will be censored: trainer.patience ({settings.patience}) is not below "
        f"trainer.iterations ({settings.iterations}); {REMEDY}"
    )
