"""What schedules gain over plain DIP and over the presets, verified or not, as rows of words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dipstage.stopping import Output
from search.analysis.front import front_of, pick_of
from search.presentation.words import censored, interval, spread
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.verdicts import Comparison, Entry, compare

if TYPE_CHECKING:
    from search.verification.result import Verification

NOT_VERIFIED = "not verified"


@dataclass(frozen=True, slots=True)
class Standing:
    """One schedule in words. trial: the search's number for it, if it has one.

    gain_db, later: the differences to the reference with their intervals where verified.
    low_db, mean_db, high_db: the gain again, to be drawn.
    """

    name: str
    trial: int | None
    what: str
    psnr: str
    steps: str
    gain_db: str
    later: str
    verdict: str
    mean_db: float | None = None
    low_db: float | None = None
    high_db: float | None = None


@dataclass(frozen=True, slots=True)
class Versus:
    """A schedule against a preset."""

    name: str
    trial: int | None
    against: str
    gain_db: str
    later: str
    verdict: str


def plain_of(records: list[Trial]) -> Trial | None:
    """The search's own plain DIP: a complete candidate of one stage."""
    for trial in records:
        if trial.candidate and trial.values and trial.is_plain:
            return trial
    return None


def standings(
    run: RunRecord, records: list[Trial], verification: Verification | None
) -> list[Standing]:
    """The schedules that matter: verified ones where there are any, else the front's ends and knee
    with the candidates.
    """
    if verification is not None and verification.plain is not None:
        return list(_verified(run, records, verification))
    output, plain = run.objective.output, plain_of(records)
    members = _notable(records)
    shown = [*members, *(t for t in records if t.candidate and t.values and t not in members)]
    against = _by_name(run, shown, plain)
    rows = []
    for trial in shown:
        row = _row(trial, output, run.objective.steps_key, trial.number, _what(trial, records))
        each = against.get(trial.name)
        if each is not None and trial is not plain:
            row = replace(
                row,
                gain_db=f"{each.psnr_db.mean:+.2f}",
                later=f"{each.steps.mean:+.0f}",
                verdict=NOT_VERIFIED,
                mean_db=each.psnr_db.mean,
            )
        rows.append(row)
    return rows


def _notable(records: list[Trial]) -> list[Trial]:
    """The front's knee, highest PSNR_GT and fewest steps, each once, in this order."""
    members = front_of(records)
    picked = [members[pick_of([t.score for t in members], w)] for w in ("knee", "psnr", "steps")]
    return list({trial.number: trial for trial in picked}.values())


def _what(trial: Trial, records: list[Trial]) -> str:
    """What a trial is on the front, and whether it is a candidate."""
    members = front_of(records)
    words = []
    for which, told in (("knee", "knee"), ("psnr", "highest PSNR"), ("steps", "fewest steps")):
        if members and members[pick_of([t.score for t in members], which)] is trial:
            words.append(f"front's {told}")
    if not words and trial in members:
        words.append("on the front")
    if trial.candidate:
        words.append("plain DIP" if trial.is_plain else "candidate")
    return ", ".join(words)


def _row(trial: Trial, output: Output, steps_key: str, number: int | None, what: str) -> Standing:
    return Standing(
        name=trial.name,
        trial=number,
        what=what,
        psnr=spread(trial.measure(output, "max_psnr_gt_db"), 2),
        steps=censored(trial, output) + spread(trial.measure(output, steps_key), 0),
        gain_db="",
        later="",
        verdict="",
    )


def _by_name(run: RunRecord, trials: list[Trial], reference: Trial | None) -> dict[str, Comparison]:
    """The search's own paired differences, in the output that was optimised."""
    if reference is None:
        return {}
    entries = [Entry(trial.name, trial.replicates) for trial in trials]
    compared = compare(entries, Entry(reference.name, reference.replicates), run.objective)
    return {c.schedule: c for c in compared if c.output == run.objective.output}


def _verified(
    run: RunRecord, records: list[Trial], verification: Verification
) -> Iterator[Standing]:
    by_number = {trial.number: trial for trial in records}
    order = {"found": 0, "plain": 1, "candidate": 2, "control": 3}
    held = [trial for trial in verification.held_out.records() if trial.replicates]
    for trial in sorted(held, key=lambda t: order[verification.role(t)]):
        role, number = verification.role(trial), verification.source(trial)
        own = by_number.get(number) if number is not None else None
        what = {"plain": "plain DIP", "control": "control"}.get(role, "")
        if own is not None and role != "control":
            what = _what(own, records)
        if verification.plain is not None and trial.name == verification.plain.name:
            what = "plain DIP, tuned"
        row = _row(trial, verification.output, run.objective.steps_key,
                   None if role == "control" else number, what)  # fmt: skip
        each = verification.against_plain(trial.name)
        verdict = verification.verdict_of(trial.name)
        if each is not None:
            row = replace(
                row,
                gain_db=interval(each.psnr_db, 2),
                later=interval(each.steps, 0),
                verdict=str(verdict) if verdict else "",
                mean_db=each.psnr_db.mean,
                low_db=each.psnr_db.low,
                high_db=each.psnr_db.high,
            )
        yield row


def over_presets(
    run: RunRecord, records: list[Trial], verification: Verification | None
) -> list[Versus]:
    """What was found against each candidate that is not plain DIP."""
    if verification is not None:
        found = {t.name: verification.source(t) for t in verification.of_role("found")}
        plains = {trial.name for trial in verification.plains}
        return [
            Versus(
                each.schedule,
                found[each.schedule],
                each.reference,
                interval(each.psnr_db, 2),
                interval(each.steps, 0),
                str(each.verdict),
            )
            for each in verification.comparisons
            if each.schedule in found
            and each.output == verification.output
            and each.reference not in plains
        ]
    plain = plain_of(records)
    found_trials = [t for t in _notable(records) if not t.candidate] if front_of(records) else []
    rows = []
    for preset in (t for t in records if t.candidate and t.values and t is not plain):
        for name, each in _by_name(run, found_trials, preset).items():
            number = next(t.number for t in found_trials if t.name == name)
            rows.append(
                Versus(name, number, preset.name, f"{each.psnr_db.mean:+.2f}",
                       f"{each.steps.mean:+.0f}", NOT_VERIFIED)
            )  # fmt: skip
    return rows
