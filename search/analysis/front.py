"""The front of a run and the selection of one of its members."""

from __future__ import annotations

from dipstage.errors import InputError
from search.analysis import pareto
from search.experiment.objectives import Objective, Score
from search.store.records import Trial, distinct
from search.store.run import RunRecord

RULES = ("knee", "psnr", "steps")
"""Rules that pick a member of the front: its knee, its highest PSNR_GT, its fewest steps."""


def as_rule(which: str, objective: Objective) -> str:
    """Return the rule that a name stands for, such as `ssim` where SSIM_GT is optimised."""
    return {objective.metric: "psnr", objective.against: "steps"}.get(which, which)


def pick_of(scores: list[Score], which: str) -> int:
    """Return the index of the score that a rule picks from the front.

    Args:
        scores: At least one score.
        which: Rule: `knee`, `psnr` (highest PSNR_GT) or `steps` (fewest steps).

    Raises:
        InputError: If the rule is unknown.
    """
    members = pareto.front(scores)
    match which:
        case "knee":
            return pareto.knee(scores)
        case "psnr":
            return members[-1]
        case "steps":
            return members[0]
    raise InputError(
        f"a schedule is picked by {', '.join(RULES)}, a trial's number or a candidate's name, "
        f"got {which!r}"
    )


def knee_of(members: list[Trial]) -> Trial | None:
    """Return the knee of a front, fewest steps first; None if it is an end: there is no bend."""
    if len(members) < 3:
        return None
    found = members[pareto.knee([trial.score for trial in members])]
    ends = (members[0].score, members[-1].score)
    return None if found.score in ends else found


def front_of(trials: list[Trial]) -> list[Trial]:
    """Return the complete trials that no other dominates, in order of increasing steps.

    Trials that violate a constraint are never among them, and dominate none. Of trials of equal
    schedules, only the first can be a member.
    """
    complete = [trial for trial in distinct(trials) if trial.feasible]
    return [complete[i] for i in pareto.front([trial.score for trial in complete])]


def nothing_yet(run: RunRecord, trials: list[Trial]) -> InputError:
    """Return the error that says why a run has no front."""
    complete = [trial.violations for trial in trials if trial.values is not None]
    if not complete:
        return InputError(f"run {run.name!r} has no complete trial yet")
    if all(excess <= 0 for violations in complete for excess in violations.values()):
        return InputError(
            f"run {run.name!r} has no complete trial whose objectives are finite numbers: is its "
            "study damaged?"
        )
    limits = []
    for name, limit in run.objective.limits.items():
        excesses = [violations.get(name, 0.0) for violations in complete]
        if any(excess > 0 for excess in excesses):
            least = min(excesses)
            limits.append(f"{name} {limit:g}" + (f" (by {least:.2g} or more)" if least > 0 else ""))
    return InputError(
        f"run {run.name!r} has no feasible trial yet: all that are complete violate "
        f"{' or '.join(limits)}"
    )


def named(records: list[Trial], which: str | int) -> Trial | None:
    """Return the trial of a number or name; None if there is none.

    A text that is a number means that trial: earlier versions took candidates with such names.
    """
    numbered = [trial for trial in records if str(trial.number) == str(which)]
    return next(iter(numbered + [trial for trial in records if trial.name == which]), None)


def is_number(which: str | int) -> bool:
    """Return whether a trial is asked for by its number."""
    words = str(which)
    return words.isascii() and words.isdecimal()


def pick(run: RunRecord, which: str | int, records: list[Trial] | None = None) -> Trial:
    """Return a trial by its number or name, or a member of the front by rule.

    Args:
        run: Run to pick from.
        which: Trial's number, a candidate's name, or a rule: `knee`, `psnr` (highest PSNR_GT) or
            `steps` (fewest steps). The run's own objectives, such as `ssim`, are rules, too.
        records: Trials of the run, if they have just been read.

    Raises:
        InputError: If the trial does not exist or is not complete, or if no trial is complete.
    """
    records = run.records() if records is None else records
    rule = as_rule(str(which), run.objective)
    if rule not in RULES and (trial := named(records, which)) is not None:
        if trial.state != "complete":
            raise InputError(f"{trial.name} is {trial.state}: pick a complete one")
        return trial
    if is_number(which):
        raise InputError(f"run {run.name!r} has no trial {which}")
    members = front_of(records)
    if not members:
        raise nothing_yet(run, records)
    return members[pick_of([trial.score for trial in members], rule)]
