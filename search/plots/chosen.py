"""The trials that a figure shows, and their names in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dipstage.errors import InputError
from search.analysis.front import RULES, as_rule, front_of, knee_of, named, pick
from search.plots.style import legend_label
from search.store.records import Trial
from search.store.run import RunRecord

MAX_LINES = 8
"""Maximum number of lines in a figure, unless more are asked for by name."""


def split_names(run: RunRecord, text: str) -> list[str]:
    """Split a list such as `12,baseline,sharp-linear:stages=50,x=10`, whose names can have
    commas.
    """
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
    """Return the trials to draw, each once, in the order given.

    which: numbers, names of candidates, or knee, psnr, steps; by default the knee of the front and
    the usable candidates. InputError for a trial that is not usable, or if there is none at all.
    """
    trials = run.records()
    if not which:
        knee = [pick(run, "knee")] if front_of(trials) else []
        candidates = [t for t in trials if t.candidate and usable(t) and t not in knee]
        found = [*knee, *candidates][:MAX_LINES]
    else:
        found = [_named(run, trials, name) for name in which]
        for trial in found:
            if not usable(trial):
                raise InputError(f"{trial.name} has nothing to draw: it is {trial.state}")
    if not found:
        raise InputError(f"run {run.name!r} has no trial to draw yet")
    return list({trial.number: trial for trial in found}.values())


def _named(run: RunRecord, trials: list[Trial], name: str | int) -> Trial:
    if as_rule(str(name), run.objective) in RULES:
        return pick(run, name)
    if (trial := named(trials, name)) is not None:
        return trial
    names = ", ".join(trial.name for trial in trials if trial.candidate)
    raise InputError(
        f"run {run.name!r} has no trial {str(name)!r}: choose by number, by knee, psnr or steps"
        + (f", or by a candidate's name: {names}" if names else "")
    )


def legend_labels(run: RunRecord, trials: Sequence[Trial]) -> list[str]:
    """Return the labels of the trials: their names; the knee is marked if there is a front."""
    knee = knee_of(front_of(run.records()))
    return [legend_label(trial.name) + " (knee)" * (trial == knee) for trial in trials]
