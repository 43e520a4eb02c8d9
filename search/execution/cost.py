"""The cost of a search in trainings and hours, printed before it starts."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from dipstage.terminal.numbers import duration
from search.execution.resources import measured_training_s

if TYPE_CHECKING:
    from search.execution.ledger import Ledger
    from search.execution.resources import Shares
    from search.execution.training import Setting
    from search.store.run import RunRecord


def cost_words(run: RunRecord, ledger: Ledger, setting: Setting, shares: Shares) -> str:
    """Return what is left to train, and the hours that it takes on this cluster."""
    experiment, trainings = run.experiment, ledger.trainings_left
    # Held-out trainings have a larger budget than the search that they belong to.
    budgets = [candidate.schedule.iterations for candidate in run.attributes.candidates]
    iterations = max([experiment.trainer.iterations, *budgets])
    words = f"{trainings:,} trainings of at most {iterations:,} iterations"
    recorded = [each.wall_s for trial in run.records() for each in trial.replicates.values()]
    at_most = "" if recorded else "at most "
    seconds = fmean(recorded) if recorded else measured_training_s(setting, shares, iterations)
    if seconds is not None:
        total_s = trainings * seconds / max(1, shares.concurrent)
        words += f": {at_most}about {duration(total_s)} with {shares.concurrent} at a time"
    replicates = len(run.attributes.pictures) * len(experiment.seeds)
    if at_most and experiment.search.trials and experiment.racing.can_stop(replicates):
        words += ", less what racing saves"
    hours = run.attributes.hours
    return words + (f"; no trial begins after {hours:g} h of search" if hours else "")
