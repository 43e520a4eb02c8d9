"""Comparison of each schedule with a reference, replicate by replicate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

import numpy as np

from dipstage.schedules.stopping import OUTPUTS, Output
from search.analysis.best_so_far import best_by
from search.analysis.common_target import Curve, first_at, judged_curve, log_time_ratio
from search.experiment.objectives import Objective
from search.store.records import Trial
from search.store.replicate import Replicate, ReplicateKey
from search.store.run import RunRecord
from search.verification.statistics import Difference


class Word(StrEnum):
    """A verdict on a schedule; `WORSE` is said of one objective, never of a schedule."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    NOT_SHOWN = "not shown"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict in max PSNR_GT and in time, and both together."""

    psnr: Word = Word.NOT_SHOWN
    time: Word = Word.NOT_SHOWN

    @property
    def word(self) -> Word:
        """Better: better in one of the two and at least not worse in the other."""
        both = {self.psnr, self.time}
        if not both <= {Word.BETTER, Word.NOT_WORSE}:
            return Word.NOT_SHOWN
        return Word.BETTER if Word.BETTER in both else Word.NOT_WORSE

    def __str__(self) -> str:
        """Return the word, followed by PSNR and time where they differ from it."""
        if self.psnr == self.time == self.word:
            return str(self.word)
        return f"{self.word} (PSNR {self.psnr}, time {self.time})"


def best_word(verdicts: Iterable[Verdict]) -> Word:
    """Return the best that was shown of any of several schedules, and so of their search."""
    words = {verdict.word for verdict in verdicts}
    order = (Word.BETTER, Word.NOT_WORSE)
    return next((word for word in order if word in words), Word.NOT_SHOWN)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what holds against every one of several references."""
    order = (Word.WORSE, Word.NOT_SHOWN, Word.NOT_WORSE, Word.BETTER)
    both = list(verdicts)
    return Verdict(
        min((v.psnr for v in both), key=order.index, default=Word.NOT_SHOWN),
        min((v.time for v in both), key=order.index, default=Word.NOT_SHOWN),
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """A schedule against a reference, on the replicates that both finished.

    Args:
        schedule: Name of the schedule.
        reference: Name of the reference.
        output: The output that is compared.
        psnr_db: Paired differences of max PSNR_GT, schedule less reference.
        steps: Paired differences of the steps that the objective counts. Both stand for the two
            objectives where a search optimised others, as the fields of `Score` do.
        log_ratio: Log ratios of the times to the common target; None where no curves were read.
        reference_steps: Mean steps of the reference.
        missing: Number of replicates that one of the two did not finish.
        censored: Share of the schedule's replicates with a censored maximum.
        reference_censored: The same for the reference.
        p_psnr: p of the verdict in PSNR after Holm's correction; None where nothing was tested.
        p_time: The same in time.
        verdict: What a rule says of it.
    """

    schedule: str
    reference: str
    output: Output
    psnr_db: Difference
    steps: Difference
    log_ratio: Difference | None
    reference_steps: float
    missing: int
    censored: float
    reference_censored: float
    p_psnr: float | None = None
    p_time: float | None = None
    verdict: Verdict = Verdict()

    @property
    def time(self) -> Difference:
        """Log ratios of times, or differences of steps where no curves were read."""
        return self.steps if self.log_ratio is None else self.log_ratio


def against_all(comparisons: Iterable[Comparison], references: Collection[str]) -> list[Comparison]:
    """Return the comparisons with these references; none unless there is one with each of them.

    A reference that finished no replicate is in no comparison, and leaves a verdict open.
    """
    found = [each for each in comparisons if each.reference in references]
    return found if {each.reference for each in found} >= set(references) else []


Curves = Callable[[str, Output], Curve]
"""PSNR_GT of a replicate, given its key, and output: (iterations,) in dB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A schedule's replicates by their keys, and its curves where they are to be read."""

    name: str
    replicates: Mapping[str, Replicate]
    curves: Curves | None = None


def entry_of(run: RunRecord, trial: Trial) -> Entry:
    """Return a trial of a run with its curves, which are read when they are first needed."""
    cache: dict[tuple[str, Output], Curve] = {}

    def curves(key: str, output: Output) -> Curve:
        if (key, output) not in cache:
            read = run.curves(trial, key)
            cache.update({(key, each): read[f"psnr_gt_{each}_db"] for each in OUTPUTS})
        return cache[key, output]

    return Entry(trial.name, trial.replicates, curves)


def compare(
    entries: Iterable[Entry],
    reference: Entry,
    objective: Objective,
    replicates: int | None = None,
    *,
    with_times: bool = False,
) -> list[Comparison]:
    """Compare all entries with one reference, in both outputs; a rule adds the verdicts.

    Args:
        entries: Schedules. Those that share no finished replicate with the reference are left out.
        reference: What they are compared with.
        objective: Defines the steps.
        replicates: Number that each should have; by default as many as the reference has.
        with_times: Whether to read the curves for the times to the common target.
    """
    wanted = len(reference.replicates) if replicates is None else replicates
    return [
        _compare(entry, reference, Objective(output, objective.tolerance_db), wanted, with_times)
        for output in OUTPUTS
        for entry in _comparable(entries, reference)
    ]


def compare_as_searched(
    entries: Iterable[Entry], reference: Entry, objective: Objective
) -> list[Comparison]:
    """Compare all entries with one reference in what a search optimised, whatever that is.

    Entries that share no finished replicate with the reference are left out.
    """
    wanted = len(reference.replicates)
    return [
        _compare(entry, reference, objective, wanted, timed=False)
        for entry in _comparable(entries, reference)
    ]


def _comparable(entries: Iterable[Entry], reference: Entry) -> list[Entry]:
    return [entry for entry in entries if set(entry.replicates) & set(reference.replicates)]


def _compare(
    entry: Entry, reference: Entry, objective: Objective, wanted: int, timed: bool
) -> Comparison:
    output = objective.output
    keys = [key for key in reference.replicates if key in entry.replicates]
    psnr: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    for key in keys:
        ours, theirs = (e.replicates[key].score(objective) for e in (entry, reference))
        picture = ReplicateKey.parse(key).picture
        psnr[picture].append(ours.max_psnr_gt_db - theirs.max_psnr_gt_db)
        steps[picture].append(ours.steps_to_max - theirs.steps_to_max)
        if timed:
            ratio = log_time_ratio(_judged(entry, key, output), _judged(reference, key, output))
            ratios[picture].append(ratio)
    censored, reference_censored = (
        fmean(bool(e.replicates[key].scores(output).censored) for key in keys)
        for e in (entry, reference)
    )
    return Comparison(
        schedule=entry.name,
        reference=reference.name,
        output=output,
        psnr_db=Difference.of(psnr),
        steps=Difference.of(steps),
        log_ratio=Difference.of(ratios) if timed else None,
        reference_steps=fmean(
            reference.replicates[key].score(objective).steps_to_max for key in keys
        ),
        missing=wanted - len(keys),
        censored=censored,
        reference_censored=reference_censored,
    )


def _judged(entry: Entry, key: str, output: Output) -> Curve:
    assert entry.curves is not None
    return judged_curve(entry.curves(key, output), output)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Times at which a schedule reached the maximum of a reference.

    Args:
        reached: Number of replicates in which it did.
        n: Number of replicates.
        steps: Mean of the iterations at which it did; None if it never did.
    """

    reached: int
    n: int
    steps: float | None


def arrival(
    entry: Entry, reference: Entry, output: Output, below_db: float | None = None
) -> Arrival:
    """Read when a schedule came as high as a reference's own maxima.

    Args:
        entry: The schedule.
        reference: The reference.
        output: The output that is compared.
        below_db: Judge both curves as for the common target, and this far below the maxima; None
            for the curves as they are and the maxima as they were recorded.
    """
    assert entry.curves is not None
    keys = [key for key in reference.replicates if key in entry.replicates]
    first = []
    for key in keys:
        if below_db is None:
            goal = float(np.float32(reference.replicates[key].scores(output).max_psnr_gt_db))
            first.append(first_at(entry.curves(key, output), goal))
        else:
            goal = float(_judged(reference, key, output).max()) - below_db
            first.append(first_at(_judged(entry, key, output), goal))
    reached = [step for step in first if step is not None]
    return Arrival(len(reached), len(keys), fmean(reached) if reached else None)


def at_budgets(
    entry: Entry, output: Output, budgets: Sequence[int], keys: Iterable[str]
) -> list[float]:
    """Return the PSNR_GT attained by each budget, mean over these replicates (at least one)."""
    assert entry.curves is not None
    curves = [entry.curves(key, output) for key in keys]
    return [fmean(best_by(curve, budget) for curve in curves) for budget in budgets]
