"""Schedules against plain DIP and against the presets, verified or not, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dipstage.schedules.stopping import Output
from dipstage.terminal.numbers import fixed
from search.analysis.front import front_of, pick_of
from search.experiment.objectives import Objective
from search.presentation.front import Cells, names_on
from search.presentation.words import interval, ratio_interval
from search.store.records import Trial, plain_of
from search.store.run import RunRecord
from search.verification.verdicts import Comparison, Entry, compare_as_searched

if TYPE_CHECKING:
    from search.verification.result import Verification

NOT_VERIFIED = "not verified"
_ORDER = {"found": 0, "plain": 1, "candidate": 2, "control": 3}


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A schedule against a reference.

    number: the search's number for the schedule, if it has one. role: what the schedule is, in
    words. comparison: None for the reference itself. verdict: the whole verdict in words,
    `NOT_VERIFIED` where only the search has compared the two. objective: what is compared.
    """

    name: str
    number: int | None
    role: str
    reference: str
    cells: Cells
    comparison: Comparison | None
    verdict: str
    objective: Objective

    @property
    def gain(self) -> str:
        """The difference in the first objective, with its interval where it is verified."""
        if self.comparison is None:
            return ""
        gain, digits = self.comparison.psnr_db, self.objective.quality.digits
        if self.verdict == NOT_VERIFIED:
            return fixed(gain.mean, digits, "+")
        return interval(gain, digits)

    @property
    def time(self) -> str:
        """The ratio of times where it is verified, else the difference in the second objective,
        with its interval where it is verified.
        """
        if self.comparison is None:
            return ""
        digits = self.objective.cost.digits
        if self.verdict == NOT_VERIFIED:
            return fixed(self.comparison.steps.mean, digits, "+")
        if self.comparison.log_ratio is not None:
            return ratio_interval(self.comparison.log_ratio)
        return interval(self.comparison.steps, digits)

    @property
    def bounds_db(self) -> tuple[float, float] | None:
        """The interval of the difference of max PSNR_GT; None where there is none to show."""
        if self.comparison is None or self.verdict == NOT_VERIFIED:
            return None
        low, high = self.comparison.psnr_db.low, self.comparison.psnr_db.high
        return None if low is None or high is None else (low, high)


def verified_rows(verification: Verification, output: Output | None = None) -> list[VerdictRow]:
    """Return every held-out schedule that finished a replicate, against tuned plain DIP."""
    output = output or verification.output
    plain = verification.plain.name if verification.plain else ""
    rows = []
    for trial in verification.held_out.records():
        if trial.replicates:
            verdict = verification.verdict_of(trial.name, output)
            compared = verification.against_plain(trial.name, output)
            words = str(verdict) if verdict and compared else ""
            rows.append(_verified_row(verification, trial, plain, output, compared, words))
    return rows


def rows_against_others(verification: Verification) -> list[VerdictRow]:
    """Return what was found against each candidate, and against plain DIP at its other rates."""
    found = {trial.name: trial for trial in verification.of_role("found")}
    tuned, output = verification.plain, verification.output
    return [
        _verified_row(
            verification, found[each.schedule], each.reference, output, each, str(each.verdict)
        )
        for each in verification.comparisons
        if each.schedule in found
        and each.output == output
        and each.reference != (tuned.name if tuned else "")
    ]


def _verified_row(
    verification: Verification, trial: Trial, reference: str, output: Output,
    comparison: Comparison | None, verdict: str,
) -> VerdictRow:  # fmt: skip
    objective = replace(verification.run.objective.standard, output=output)
    role = verification.role(trial)
    number = verification.source(trial) if role in ("found", "candidate") else None
    cells = Cells.of(trial, objective)
    return VerdictRow(trial.name, number, role, reference, cells, comparison, verdict, objective)


def standings(
    run: RunRecord, records: list[Trial], verification: Verification | None
) -> list[VerdictRow]:
    """Return the schedules that matter, against plain DIP.

    They are the verified ones where there are any, else the front's ends and knee with the
    candidates.
    """
    if verification is not None and verification.plain is not None:
        tuned = verification.plain.name
        rows = sorted(verified_rows(verification), key=lambda row: _ORDER[row.role])
        words = {"plain": "plain DIP", "control": "control"}
        roles = _roles(records)
        named = [roles.get(row.number) or words.get(row.role, "") for row in rows]
        return [
            replace(row, role="plain DIP, tuned" if row.name == tuned else role)
            for row, role in zip(rows, named, strict=True)
        ]
    members, plain = _notable(records), plain_of(records)
    shown = [*members, *(t for t in records if t.candidate and t.values and t not in members)]
    return list(_searched_rows(run, records, shown, plain))


def rows_against_presets(
    run: RunRecord, records: list[Trial], verification: Verification | None
) -> list[VerdictRow]:
    """Return what was found against each candidate that is not plain DIP."""
    if verification is not None:
        plains = {trial.name for trial in verification.plains}
        return [r for r in rows_against_others(verification) if r.reference not in plains]
    plain = plain_of(records)
    found = [trial for trial in _notable(records) if not trial.candidate]
    presets = [t for t in records if t.candidate and t.values and t is not plain]
    return [r for p in presets for r in _searched_rows(run, records, found, p) if r.comparison]


def _searched_rows(
    run: RunRecord, records: list[Trial], trials: list[Trial], reference: Trial | None
) -> Iterator[VerdictRow]:
    """Yield the search's own paired differences, in what it optimised."""
    objective, compared, roles = run.objective, {}, _roles(records)
    if reference is not None:
        entries = [Entry(trial.name, trial.replicates) for trial in trials]
        against = Entry(reference.name, reference.replicates)
        found = compare_as_searched(entries, against, objective)
        compared = {each.schedule: each for each in found}
    for trial in trials:
        each = None if trial is reference else compared.get(trial.name)
        yield VerdictRow(
            trial.name,
            trial.number,
            roles[trial.number],
            reference.name if reference else "",
            Cells.of(trial, objective),
            each,
            NOT_VERIFIED if each else "",
            objective,
        )


def _notable(records: list[Trial]) -> list[Trial]:
    """Return the front's knee, highest PSNR_GT and fewest steps, each once, in this order."""
    members = front_of(records)
    if not members:
        return []
    picked = [members[pick_of([t.score for t in members], w)] for w in ("knee", "psnr", "steps")]
    return list({trial.number: trial for trial in picked}.values())


def _roles(records: list[Trial]) -> dict[int | None, str]:
    """Return what each trial is on the front, and whether it is a candidate, by its number."""
    members = front_of(records)
    ends: dict[int, list[str]] = {}
    for name, trials in names_on(members):
        for trial in trials:
            ends.setdefault(trial.number, []).append(f"front's {name}")
    on_front, other = {trial.number for trial in members}, "on the front"
    if members and members[0].single:
        ends, other = {members[0].number: ["the best"]}, "as good as the best"
    roles: dict[int | None, str] = {}
    for trial in records:
        words = ends.get(trial.number, [other] * (trial.number in on_front))
        if trial.candidate:
            words = [*words, "plain DIP" if trial.is_plain else "candidate"]
        roles[trial.number] = ", ".join(words)
    return roles
