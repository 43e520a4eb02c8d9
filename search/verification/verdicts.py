"""What a verification says: each schedule against a reference, replicate by replicate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.stopping import OUTPUTS, Output
from search.analysis.best_so_far import best_by
from search.experiment.objectives import Objective
from search.store.replicate import Replicate, ReplicateKey
from search.verification.statistics import Difference, difference, holm

PSNR_MARGIN_DB = 0.05
STEPS_MARGIN = 0.03
"""A schedule is not worse if it loses at most this: of max PSNR_GT, of the reference's steps."""
SIGNIFICANCE = 0.05
CENSORED_SHARE = 0.1
"""Of the replicates; above it, what the end of the budget may have cut off shows nothing."""
METHOD = (
    "paired differences with Student's 95 % intervals over pictures; better: clear of 0 and "
    f"Wilcoxon's p with Holm's correction below {SIGNIFICANCE:g}; not worse: within "
    f"{PSNR_MARGIN_DB:g} dB and {STEPS_MARGIN:.0%} of the steps"
)
"""How verdicts are reached, in words."""


class Word(StrEnum):
    """What was shown of a schedule; `WORSE` is said of one objective, never of a schedule."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    NOT_SHOWN = "not shown"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """In both objectives, and together."""

    psnr: Word
    steps: Word

    @property
    def word(self) -> Word:
        """Better: better in one objective and at least not worse in the other."""
        both = {self.psnr, self.steps}
        if not both <= {Word.BETTER, Word.NOT_WORSE}:
            return Word.NOT_SHOWN
        return Word.BETTER if Word.BETTER in both else Word.NOT_WORSE

    def __str__(self) -> str:
        """With the objectives, where they differ from the whole."""
        if self.psnr == self.steps == self.word:
            return str(self.word)
        return f"{self.word} (PSNR {self.psnr}, steps {self.steps})"


def best_word(verdicts: Iterable[Verdict]) -> Word:
    """The best that was shown of any of several schedules, and so of their search."""
    words = {verdict.word for verdict in verdicts}
    order = (Word.BETTER, Word.NOT_WORSE)
    return next((word for word in order if word in words), Word.NOT_SHOWN)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """What holds against every one of several references."""
    order = (Word.WORSE, Word.NOT_SHOWN, Word.NOT_WORSE, Word.BETTER)
    both = list(verdicts)
    return Verdict(
        min((v.psnr for v in both), key=order.index, default=Word.NOT_SHOWN),
        min((v.steps for v in both), key=order.index, default=Word.NOT_SHOWN),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """A schedule against a reference on the replicates that both finished.

    psnr_db, steps: paired differences of max PSNR_GT and of the steps that the objective counts,
    schedule less reference. p_holm_*: their p adjusted over the family of comparisons.
    missing: replicates that one of the two did not finish.
    censored, reference_censored: shares of the replicates whose maximum the end may have cut off.
    """

    schedule: str
    reference: str
    output: Output
    psnr_db: Difference
    steps: Difference
    reference_steps: float
    missing: int
    censored: float
    reference_censored: float
    p_holm_psnr: float = 1.0
    p_holm_steps: float = 1.0

    @property
    def verdict(self) -> Verdict:
        """By the 95 % interval, and for better by the adjusted test as well.

        Replicates that diverged leave nothing shown. Nor is anything good said of a number that
        the end of the budget cut off too often: of the schedule's steps, which could only be more,
        or of the reference's max PSNR_GT, which could only be higher.
        """
        if self.missing:
            return Verdict(Word.NOT_SHOWN, Word.NOT_SHOWN)
        margin = STEPS_MARGIN * self.reference_steps
        psnr, steps = self.psnr_db, self.steps
        words = Verdict(
            _word(psnr.low, psnr.high, PSNR_MARGIN_DB, self.p_holm_psnr),
            _word(_negative(steps.high), _negative(steps.low), margin, self.p_holm_steps),
        )
        unsure = Verdict(
            Word.NOT_SHOWN if self.reference_censored > CENSORED_SHARE else Word.BETTER,
            Word.NOT_SHOWN if self.censored > CENSORED_SHARE else Word.BETTER,
        )
        return worst([words, unsure])


def _word(low: float | None, high: float | None, margin: float, p: float) -> Word:
    """Of an objective that is better the higher."""
    if low is None or high is None:
        return Word.NOT_SHOWN
    if low > 0 and p < SIGNIFICANCE:
        return Word.BETTER
    if low >= -margin:
        return Word.NOT_WORSE
    return Word.WORSE if high < 0 else Word.NOT_SHOWN


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


Curves = Callable[[str, Output], NDArray[np.floating[Any]]]
"""PSNR_GT of one replicate (by its key) and output, (iterations,)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A schedule's replicates by their keys, and its curves where they can be read."""

    name: str
    replicates: Mapping[str, Replicate]
    curves: Curves | None = None


def compare(
    entries: Iterable[Entry],
    reference: Entry,
    objective: Objective,
    replicates: int | None = None,
) -> list[Comparison]:
    """All entries against one reference, in both outputs; they are one family for Holm.

    replicates: that each should have, by default as many as the reference has. Entries that share
    no finished replicate with the reference are left out.
    """
    wanted = len(reference.replicates) if replicates is None else replicates
    found = [
        _compare(entry, reference, output, objective, wanted)
        for output in OUTPUTS
        for entry in entries
        if set(entry.replicates) & set(reference.replicates)
    ]
    return _adjust(found)


def _adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Holm over both objectives of all schedules, for each output."""
    adjusted = []
    for output in OUTPUTS:
        family = [c for c in comparisons if c.output == output]
        p_values = holm([c.psnr_db.p for c in family] + [c.steps.p for c in family])
        pairs = zip(p_values[: len(family)], p_values[len(family) :], strict=True)
        adjusted += [
            replace(comparison, p_holm_psnr=psnr, p_holm_steps=steps)
            for comparison, (psnr, steps) in zip(family, pairs, strict=True)
        ]
    return adjusted


def _compare(
    entry: Entry, reference: Entry, output: Output, objective: Objective, wanted: int
) -> Comparison:
    keys = [key for key in reference.replicates if key in entry.replicates]
    psnr: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    by_output = replace(objective, output=output)
    for key in keys:
        ours, theirs = (e.replicates[key].score(by_output) for e in (entry, reference))
        picture = ReplicateKey.parse(key).picture
        psnr[picture].append(ours.max_psnr_gt_db - theirs.max_psnr_gt_db)
        steps[picture].append(ours.steps_to_max - theirs.steps_to_max)
    censored, reference_censored = (
        fmean(bool(e.replicates[key].scores(output).censored) for key in keys)
        for e in (entry, reference)
    )
    return Comparison(
        schedule=entry.name,
        reference=reference.name,
        output=output,
        psnr_db=difference(psnr),
        steps=difference(steps),
        reference_steps=fmean(
            reference.replicates[key].score(by_output).steps_to_max for key in keys
        ),
        missing=wanted - len(keys),
        censored=censored,
        reference_censored=reference_censored,
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """In how many of n replicates a schedule was as high as a reference's own maximum, and the
    mean of the iterations at which it was so first; None if it never was.
    """

    reached: int
    n: int
    steps: float | None


def arrival(entry: Entry, reference: Entry, output: Output) -> Arrival:
    """Read off the entry's curves, replicate by replicate."""
    keys = [key for key in reference.replicates if key in entry.replicates]
    first = [_first_at(entry, reference, key, output) for key in keys]
    reached = [step for step in first if step is not None]
    return Arrival(len(reached), len(keys), fmean(reached) if reached else None)


def _first_at(entry: Entry, reference: Entry, key: str, output: Output) -> int | None:
    assert entry.curves is not None
    goal = np.float32(reference.replicates[key].scores(output).max_psnr_gt_db)
    there = np.flatnonzero(entry.curves(key, output) >= goal)
    return int(there[0]) if len(there) else None


def at_budgets(
    entry: Entry, output: Output, budgets: Sequence[int], keys: Iterable[str]
) -> list[float]:
    """PSNR_GT attained by each budget, mean over these replicates, of which there is one."""
    assert entry.curves is not None
    curves = [entry.curves(key, output) for key in keys]
    return [fmean(best_by(curve, budget) for curve in curves) for budget in budgets]
