"""Advice at the top of the report: the schedule to use and the certainty of that choice."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from dipstage.terminal.numbers import DB, RATIO, STEPS, db, fixed, interval_end, steps
from search.analysis.censoring import REMEDY, cut_off
from search.analysis.front import front_of, nothing_yet, pick
from search.analysis.status import Status, sentence
from search.presentation.front import front_words, names_on
from search.presentation.repeating import (
    Repeat,
    Repeater,
    file_name,
    first_picture,
    run_argument,
    unrepeatable,
)
from search.presentation.verdicts import NOT_VERIFIED, VerdictRow, standings
from search.presentation.words import capital
from search.store.records import Trial, plain_of
from search.store.run import RunRecord
from search.verification.export import choose
from search.verification.result import Verification
from search.verification.rules import Rule
from search.verification.statistics import Difference
from search.verification.verdicts import Comparison, Entry, Verdict, Word, compare_as_searched

HOLDS = (str(Word.BETTER), str(Word.NOT_WORSE))


@dataclass(frozen=True)
class Advice:
    """The first screen of the report.

    Args:
        headline: Advice in one line.
        word: Verdict on the schedule, or `not verified`; empty if there is no schedule.
        number: Number of the trial that the report shows first; None if there is no schedule.
        sure: Sentences that state the certainty of the advice.
        commands: Commands to run next, each with its effect.
        saved: Schedule file that the last command trains with; None if there is no schedule.
        standings: Rows of the table of verdicts.
    """

    headline: str
    word: str
    number: int | None
    sure: list[str]
    commands: list[tuple[str, str]]
    saved: Repeat | None = None
    standings: list[VerdictRow] = field(default_factory=list)


def advise(
    run: RunRecord,
    records: list[Trial],
    status: Status,
    verification: Verification | None,
    driver: bool,
) -> Advice:
    """Return the advice that the run's records support."""
    unfinished = status.done < status.wanted
    state = [_state(status, driver)] if unfinished or status.ended else []
    commands: list[tuple[str, str]] = []
    if unfinished and not driver:
        commands.append((f"dipsearch resume {run_argument(run)}", "continues the search"))
    if not status.front:
        headline = "There is no schedule to use yet"
        return Advice(headline, "", None, [*state, *_no_trial(run, records, status)], commands)
    choice = choose(run, "knee", records)
    trial = choice.trial
    rows = standings(run, records, verification)
    if verification is None:
        name = "Plain DIP" if trial.is_plain else _named(trial)
        headline = f"{name} looks best{' so far' * unfinished}, but that is not verified"
        sure = [*state, *_unverified(run, trial, records)]
        if (cut := cut_off(run, records)) is not None:
            headline = f"No maximum lies within the budget: {REMEDY}"
            sure.insert(0, f"{capital(cut)}.")
        tests = "tests it on pictures that the search has not seen"
        verify = f"dipsearch verify {run_argument(run)}", tests
        commands += [verify] * run.objective.is_standard
    else:
        headline, sure = _verified(trial, verification)
        sure = state + sure
    word = _word(trial, verification)
    rows.sort(key=lambda row: row.number != trial.number)
    plain = verification.plain if verification and word not in HOLDS else None
    if plain is not None and verification is not None:
        saved, what = Repeater(verification.held_out).of(plain), "trains plain DIP as it was tuned"
    else:
        saved = Repeater(run, verification).of(trial)
        what = f"trains with {trial.name}"
        if not unrepeatable(run):
            what += "; Repeat, below its curves, lists what repeats its scores"
        commands.append(_export(run, trial))
    if saved is not None:
        line = f"dipstage run {first_picture(run)} --schedule {shlex.quote(saved.name)}"
        commands.append((line, f"{what}: save {saved.name} first"))
    return Advice(headline, word, trial.number, sure, commands, saved, rows)


def _export(run: RunRecord, trial: Trial) -> tuple[str, str]:
    name = shlex.quote(file_name(run, trial))
    line = f"dipsearch export {run_argument(run)} --pick {trial.number} --output {name}"
    return line, f"writes {trial.name} to a schedule file, which can also be saved below"


def _state(status: Status, driver: bool) -> str:
    if driver:
        return f"The search is running: {sentence(status)}."
    if status.ended is not None:
        return f"The search ended early because {status.ended}."
    return (
        f"The search is not finished and is not running: {status.done} of {status.wanted} trials "
        "have ended."
    )


def _no_trial(run: RunRecord, records: list[Trial], status: Status) -> Iterator[str]:
    if status.complete:
        yield f"{capital(str(nothing_yet(run, records)))}."
    elif status.failed:
        yield f"All {status.failed} trials that ended have failed; the table says why."
    elif not status.done:
        yield "No trial has ended yet."


def _word(trial: Trial, verification: Verification | None) -> str:
    if trial.is_plain:
        return "plain DIP"
    verdict = verification.verdict(trial.number) if verification else None
    return str(verdict.word) if verdict else NOT_VERIFIED


def _unverified(run: RunRecord, trial: Trial, records: list[Trial]) -> Iterator[str]:
    """Yield sentences on the results of the search itself and on why they are insufficient."""
    plain, objective = plain_of(records), run.objective
    n = len(trial.replicates)
    both = f"{objective.quality.words} and {objective.cost.words}"
    if trial.is_plain:
        better = f"is a better compromise between {both}"
        if objective.single:
            better = f"has a higher {objective.quality.words}"
        yield (
            f"{_named(trial)} is {_place(trial, records)}: in the search itself, no staged "
            f"schedule {better}."
        )
    elif plain is None:
        yield (
            f"{_named(trial)} is {_place(trial, records)}. The search has no plain DIP to "
            "compare it with, so the gain from staging is not known."
        )
    elif not objective.is_standard:
        ours, plains = (
            objective.at(each.values, bool(each.censored(objective.output)))
            for each in (trial, plain)
            if each.values is not None
        )
        yield (
            f"It is {_place(trial, records)}. In the search itself, over {_count(n, 'replicate')}, "
            f"it has {ours}, and plain DIP ({plain.name}) has {plains}."
        )
    else:
        entries = [Entry(trial.name, trial.replicates)]
        against = Entry(plain.name, plain.replicates)
        for each in compare_as_searched(entries, against, objective):
            yield (
                f"It is {_place(trial, records)}. In the search itself, over "
                f"{_count(each.psnr_db.n, 'replicate')}, its max PSNR_GT is "
                f"{_psnr_words(each)} ({plain.name}), reached {_steps_words(each)}."
            )
    yield (
        f"This is not verified. The {front_words(objective)} was selected by these same numbers"
        f"{', from a single replicate of each trial' if n == 1 else ''}, so they are optimistic. "
        "Only training on pictures and seeds that the search has not seen shows a real gain."
    )


def _psnr_words(each: Comparison) -> str:
    mean = each.psnr_db.mean
    return f"{db(abs(mean))} dB {'above' if mean >= 0 else 'below'} plain DIP's"


def _steps_words(each: Comparison) -> str:
    mean = each.steps.mean
    return f"{_count(steps(abs(mean)), 'iteration')} {'sooner' if mean <= 0 else 'later'}"


def _time_words(each: Comparison) -> str:
    """Return how much sooner or later, by what is judged, with its interval."""
    if each.log_ratio is None:
        return f"reached {_steps_words(each)}{_range(each.steps, STEPS)}"
    ratio, *both = each.log_ratio.ratios
    ends = [interval_end(end, RATIO, none=1.0) for end in both if end is not None]
    words = f"and reaches the common target in {fixed(ratio, RATIO)} times the time"
    return f"{words} (95 % interval {' to '.join(ends)})" if ends else words


def _range(difference: Difference, digits: int) -> str:
    """Return the 95 % interval in words, or a remark that there is none."""
    if difference.low is None or difference.high is None:
        return " (one picture, so no interval)"
    low, high = (interval_end(end, digits, "+") for end in (difference.low, difference.high))
    return f" (95 % interval {low} to {high})"


def _verified(trial: Trial, verification: Verification) -> tuple[str, list[str]]:
    verdict = verification.verdict(trial.number)
    held = verification.measured(trial.number)
    name = _named(trial)
    headline = "Stay with plain DIP: no schedule is shown to be better"
    if verdict is not None and verdict.word is Word.BETTER:
        headline = f"Use {trial.name}: it is better than plain DIP"
    elif verdict is not None and verdict.word is Word.NOT_WORSE:
        headline = f"{name} may be used: it is not worse than plain DIP"
    sure = []
    comparison = verification.hardest(held.name) if held else None
    if comparison is not None and verification.plain is not None:
        sure.append(
            f"{_on(verification)}, {trial.name}{_named_place(trial, verification)} has a max "
            f"PSNR_GT {_psnr_words(comparison)}{_range(comparison.psnr_db, DB)}, "
            f"{_time_words(comparison)}."
        )
        if comparison.reference != verification.plain.name:
            sure.append(f"This is against {comparison.reference}, over which it gains least.")
        if verdict is not None:
            sure.append(f"{capital(str(verdict))}: {_meaning(verdict, verification.rule)}.")
    elif verdict is not None:
        which = "a plain DIP that it must hold against"
        if held is not None and not held.replicates:
            which = "on the held-out pictures, it"
        sure.append(f"Nothing is shown of {trial.name}: {which} finished no training.")
    elif not trial.is_plain:
        sure.append(f"{name}{_named_place(trial, verification)} has not been verified itself.")
    sure += _others_that_count(trial, verification)
    if verification.too_few:
        sure.append(f"{capital(verification.too_few)}.")
    if verification.plan.seen:
        sure.append(f"The search had already seen {'; '.join(verification.plan.seen)}.")
    return headline, sure


def _meaning(verdict: Verdict, rule: Rule) -> str:
    """Explain a verdict."""
    if verdict.word is Word.BETTER:
        return "its gain over tuned plain DIP is significant"
    if verdict.word is Word.NOT_WORSE:
        return f"any loss is at most {rule.margins}"
    if {verdict.psnr, verdict.time} == {Word.BETTER, Word.WORSE}:
        return "it is better in one objective and worse in the other"
    if Word.WORSE in (verdict.psnr, verdict.time):
        return "it is worse in one objective, and no gain in the other is significant"
    return "differences of this size may be due to chance"


def _others_that_count(trial: Trial, verification: Verification) -> Iterator[str]:
    """Yield a sentence on other schedules that are better than plain DIP in an objective."""
    parts = []
    for other in verification.of_role("found"):
        verdict = verification.verdict_of(other.name)
        if verdict is None or verification.source(other) == trial.number:
            continue
        good = [
            words
            for word, words in ((verdict.psnr, "max PSNR_GT"), (verdict.time, "time"))
            if word is Word.BETTER
        ]
        if good:
            parts.append(f"{other.name} in {' and '.join(good)}")
    if parts:
        yield (
            f"Better than plain DIP in at least one objective: {'; '.join(parts)}. The table shows "
            "both objectives."
        )


def _on(verification: Verification) -> str:
    pictures, seeds = len(verification.plan.images), len(verification.plan.seeds)
    words = "pictures" if verification.plan.seen else "held-out pictures"
    return f"On {_count(pictures, words[:-1])} with {_count(seeds, 'seed')} each"


def _place(trial: Trial, records: list[Trial]) -> str:
    """Return what the trial is on the front: its knee, one of its ends, or a member."""
    if trial.single:
        return "the best trial"
    for name, members in names_on(front_of(records)):
        if trial in members:
            return "the front's knee" if name == "knee" else f"the trial with the front's {name}"
    return "on the front"


def _named_place(trial: Trial, verification: Verification) -> str:
    place = _place(trial, verification.run.records())
    return f", {place}," if pick(verification.run, "knee") == trial else ""


def _count(n: int | str, thing: str) -> str:
    return f"{n} {thing}{'' if str(n) == '1' else 's'}"


def _named(trial: Trial) -> str:
    """Return a trial's name for the beginning of a sentence; names of candidates stay."""
    return trial.name if trial.candidate else capital(trial.name)
