"""The front of a run, and how one of its members is picked."""

from __future__ import annotations

from dipstage.errors import InputError
from search.analysis import pareto
from search.experiment.objectives import Score
from search.store.records import Trial
from search.store.run import RunRecord


def pick_of(scores: list[Score], which: str) -> int:
    """Index of the front's knee, highest PSNR_GT or fewest steps; there is at least one score."""
    members = pareto.front(scores)
    match which:
        case "knee":
            return pareto.knee(scores)
        case "psnr":
            return members[-1]
        case "steps":
            return members[0]
    raise InputError(
        f"a schedule is picked by knee, psnr, steps or a trial's number, got {which!r}"
    )


def front_of(trials: list[Trial]) -> list[Trial]:
    """The complete trials that no other dominates, fewest steps first."""
    complete = [trial for trial in trials if trial.values is not None]
    return [complete[i] for i in pareto.front([trial.score for trial in complete])]


def pick(run: RunRecord, which: str, records: list[Trial] | None = None) -> Trial:
    """Return a trial by its number, or a member of the front by rule.

    Args:
        run: the run to pick from.
        which: a trial's number, or `knee`, `psnr` or `steps`: the front's knee, its highest
            PSNR_GT, its fewest steps.
        records: the run's trials, if they have just been read.

    Raises:
        InputError: if there is no such trial, or no complete one.
    """
    records = run.records() if records is None else records
    if which.isdecimal():
        for trial in records:
            if trial.number == int(which):
                if trial.state != "complete":
                    raise InputError(f"trial {which} is {trial.state}: pick a complete one")
                return trial
        raise InputError(f"run {run.name!r} has no trial {which}")
    members = front_of(records)
    if not members:
        raise InputError(f"run {run.name!r} has no complete trial yet")
    return members[pick_of([trial.score for trial in members], which)]
