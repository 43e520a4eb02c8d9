"""Which trials a figure shows, and what they are called in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dipstage.errors import InputError
from search.analysis.front import pick
from search.store.records import Trial
from search.store.run import RunRecord

MOST = 8
"""Lines that a figure shows unless more are asked for by name."""
_PICKS = ("knee", "psnr", "steps")


def split_names(run: RunRecord, text: str) -> list[str]:
    """`12,baseline,sharp-linear:stages=50,x=10` in its parts: names may hold commas."""
    parts, names = text.split(","), {trial.name for trial in run.records()}
    found: list[str] = []
    while parts:
        most = next((n for n in range(len(parts), 1, -1) if ",".join(parts[:n]) in names), 1)
        found.append(",".join(parts[:most]).strip())
        del parts[:most]
    return found


def choose(
    run: RunRecord, which: Sequence[str | int], usable: Callable[[Trial], bool]
) -> list[Trial]:
    """Trials by number, by candidate's name, or by knee, psnr, steps; each once, in that order.

    By default the front's knee and the candidates, as far as `usable`; InputError for a trial
    that was asked for and is not, and where there is none at all.
    """
    trials = run.records()
    if not which:
        knee = [pick(run, "knee")] if any(t.values is not None for t in trials) else []
        candidates = [t for t in trials if t.candidate and usable(t) and t not in knee]
        found = [*knee, *candidates][:MOST]
    else:
        found = [_named(run, trials, str(name)) for name in which]
        for trial in found:
            if not usable(trial):
                raise InputError(f"{trial.name} has nothing to draw: it is {trial.state}")
    if not found:
        raise InputError(f"run {run.name!r} has no trial to draw yet")
    return list({trial.number: trial for trial in found}.values())


def _named(run: RunRecord, trials: list[Trial], name: str) -> Trial:
    if name in _PICKS:
        return pick(run, name)
    for trial in trials:
        if name in (str(trial.number), trial.name):
            return trial
    names = ", ".join(trial.name for trial in trials if trial.candidate)
    raise InputError(
        f"run {run.name!r} has no trial {name!r}: choose by number, by knee, psnr or steps"
        + (f", or by a candidate's name: {names}" if names else "")
    )


def labels_of(run: RunRecord, trials: Sequence[Trial]) -> list[str]:
    """The trials' names; the knee is marked where a search had a front to have one on."""
    knee = pick(run, "knee").number if any(t.values is not None for t in trials) else None
    return [trial.name + (" (knee)" if trial.number == knee else "") for trial in trials]
