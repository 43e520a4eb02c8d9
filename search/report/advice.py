"""The top of the report, in words: which schedule to use, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from search.analysis.front import pick
from search.analysis.status import Status, sentence
from search.presentation.verdicts import NOT_VERIFIED, VerdictRow, plain_of, standings
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.export import choose
from search.verification.result import Verification
from search.verification.statistics import Difference
from search.verification.verdicts import (
    PSNR_MARGIN_DB,
    SIGNIFICANCE,
    STEPS_MARGIN,
    Comparison,
    Entry,
    Verdict,
    Word,
    compare,
)

HOLDS = (str(Word.BETTER), str(Word.NOT_WORSE))


@dataclass(frozen=True)
class Advice:
    """What to say first.

    word: the verdict of the schedule, `not verified`, or nothing where there is no schedule.
    number: the trial that the report opens with. sure: how sure that is, a sentence each.
    commands: what to type next, each with what it does.
    """

    headline: str
    word: str
    number: int | None
    sure: list[str]
    commands: list[tuple[str, str]]
    standings: list[VerdictRow] = field(default_factory=list)


def advise(
    run: RunRecord,
    records: list[Trial],
    status: Status,
    verification: Verification | None,
    driver: bool,
) -> Advice:
    """From the run's records, as the rest of the report has them."""
    unfinished = status.done < status.wanted
    state = [_state(status, driver)] if unfinished else []
    commands: list[tuple[str, str]] = []
    if unfinished and not driver:
        commands.append((f"dipsearch resume {run.name}", "goes on with the search"))
    if not status.complete:
        headline = "There is no schedule to use yet"
        return Advice(headline, "", None, [*state, *_no_trial(status)], commands)
    choice = choose(run, "knee", records)
    trial = choice.trial
    rows = standings(run, records, verification)
    if verification is None:
        name = "Plain DIP" if trial.is_plain else _capital(trial.name)
        headline = f"{name} looks best{' so far' * unfinished}, but that is not verified"
        sure = [*state, *_unverified(run, trial, records)]
        commands.append((f"dipsearch verify {run.name}", "tells whether it holds on new pictures"))
    else:
        headline, sure = _verified(trial, verification)
        sure = state + sure
    word = _word(trial, verification)
    if word in HOLDS or verification is None:
        commands.append((f"dipsearch export {run.name}", f"writes {trial.name} to best.yaml"))
        commands.append(("dipstage run IMAGE --schedule best.yaml", "trains with it"))
    else:
        commands += _plain_commands(run, trial, verification)
    rows.sort(key=lambda row: row.number != trial.number)
    return Advice(headline, word, trial.number, sure, commands, rows)


def _plain_commands(
    run: RunRecord, trial: Trial, verification: Verification
) -> Iterator[tuple[str, str]]:
    plain = verification.plain
    rate = f" --learning-rate {plain.learning_rate:g}" if plain and plain.learning_rate else ""
    yield f"dipstage run IMAGE --schedule baseline{rate}", "trains plain DIP, as it was tuned"
    if not trial.is_plain:
        yield f"dipsearch export {run.name}", f"writes {trial.name} to best.yaml nevertheless"


def _state(status: Status, driver: bool) -> str:
    if driver:
        return f"The search is running: {sentence(status)}."
    return (
        f"The search is not finished, and no driver is at work: {status.done} of {status.wanted} "
        "trials have ended."
    )


def _no_trial(status: Status) -> Iterator[str]:
    if status.failed:
        yield f"All {status.failed} trials that ended have failed; the table says why."
    elif not status.done:
        yield "No trial has ended."


def _word(trial: Trial, verification: Verification | None) -> str:
    if trial.is_plain:
        return "plain DIP"
    verdict = verification.verdict(trial.number) if verification else None
    return str(verdict.word) if verdict else NOT_VERIFIED


def _unverified(run: RunRecord, trial: Trial, records: list[Trial]) -> Iterator[str]:
    """What the search itself saw, and why that is not enough."""
    plain = plain_of(records)
    n = len(trial.replicates)
    if trial.is_plain:
        yield (
            f"{_capital(trial.name)} is the front's knee: on the search's own numbers no staging "
            "is a better trade between PSNR_GT and steps."
        )
    elif plain is None:
        yield (
            f"{_capital(trial.name)} is the front's knee. The search has no plain DIP to compare "
            "with: what staging gains is not known."
        )
    else:
        entries = [Entry(trial.name, trial.replicates)]
        for each in compare(entries, Entry(plain.name, plain.replicates), run.objective):
            if each.output == run.objective.output:
                yield (
                    f"It is the front's knee. On the search's own "
                    f"{_count(each.psnr_db.n, 'replicate')} its max PSNR_GT is "
                    f"{_psnr_words(each)} ({plain.name}), reached {_steps_words(each)}."
                )
    yield (
        "That is not verified. The front was picked by these very numbers"
        f"{', from a single replicate of each trial' if n == 1 else ''} and flatters itself: "
        "nothing counts until it is trained on pictures and seeds that the search has not seen."
    )


def _psnr_words(each: Comparison) -> str:
    mean = each.psnr_db.mean
    return f"{abs(mean):.2f} dB {'above' if mean >= 0 else 'below'} plain DIP's"


def _steps_words(each: Comparison) -> str:
    mean = round(each.steps.mean)
    return f"{_count(abs(mean), 'iteration')} {'sooner' if mean <= 0 else 'later'}"


def _range(difference: Difference, digits: int) -> str:
    """The 95 % interval in words; nothing where there is one picture."""
    if difference.low is None or difference.high is None:
        return " (one picture, so no interval)"
    return f" (95 % interval {difference.low:+.{digits}f} to {difference.high:+.{digits}f})"


def _verified(trial: Trial, verification: Verification) -> tuple[str, list[str]]:
    verdict = verification.verdict(trial.number)
    held = verification.measured(trial.number)
    name = _capital(trial.name)
    if trial.is_plain or verdict is None:
        headline = "Stay with plain DIP: no schedule is shown to be better"
    elif verdict.word is Word.BETTER:
        headline = f"Use {trial.name}: it is better than plain DIP"
    elif verdict.word is Word.NOT_WORSE:
        headline = f"{name} may be used: it is not worse than plain DIP"
    else:
        headline = "Stay with plain DIP: no schedule is shown to be better"
    sure = []
    comparison = verification.against_plain(held.name) if held else None
    if comparison is not None and verification.plain is not None:
        sure.append(
            f"{_on(verification)}, {trial.name}{_knee(trial, verification)} has a max PSNR_GT "
            f"{_psnr_words(comparison)}{_range(comparison.psnr_db, 2)}, reached "
            f"{_steps_words(comparison)}{_range(comparison.steps, 0)}."
        )
        said = str(verdict)
        sure.append(f"{said[:1].upper()}{said[1:]}: {_meaning(verdict)}.")
    elif not trial.is_plain:
        sure.append(f"{name}, the front's knee, is itself not verified.")
    sure += _others_that_count(trial, verification)
    if verification.best_p >= SIGNIFICANCE:
        sure.append(
            "So few replicates can show nothing to be better: verify with more seeds or pictures."
        )
    if verification.plan.seen:
        sure.append(f"The search had seen {'; '.join(verification.plan.seen)}.")
    return headline, sure


def _meaning(verdict: Verdict | None) -> str:
    """A verdict as a person would put it."""
    if verdict is None:
        return "it is what the others are judged by"
    if verdict.word is Word.BETTER:
        return "its gain is clear of chance, against plain DIP with a tuned learning rate"
    if verdict.word is Word.NOT_WORSE:
        return f"at most {PSNR_MARGIN_DB:g} dB or {STEPS_MARGIN:.0%} of the steps may be lost"
    if {verdict.psnr, verdict.steps} == {Word.BETTER, Word.WORSE}:
        return "one objective is bought with the other"
    if Word.WORSE in (verdict.psnr, verdict.steps):
        return "it loses in one objective, and what it gains in the other may be chance"
    return "differences like these may be chance on so few pictures"


def _others_that_count(trial: Trial, verification: Verification) -> Iterator[str]:
    """Schedules that hold up in an objective, where the one on top is not shown."""
    parts = []
    for other in verification.of_role("found"):
        verdict = verification.verdict_of(other.name)
        if verdict is None or verification.source(other) == trial.number:
            continue
        good = [
            words
            for word, words in ((verdict.psnr, "max PSNR_GT"), (verdict.steps, "steps to max"))
            if word is Word.BETTER
        ]
        if good:
            parts.append(f"{other.name} in {' and '.join(good)}")
    if parts:
        yield f"Better than plain DIP in part: {'; '.join(parts)}. The table says at what price."


def _on(verification: Verification) -> str:
    pictures, seeds = len(verification.plan.images), len(verification.plan.seeds)
    words = "pictures" if verification.plan.seen else "held-out pictures"
    return f"On {_count(pictures, words[:-1])} with {_count(seeds, 'seed')} each"


def _knee(trial: Trial, verification: Verification) -> str:
    return ", the front's knee," if pick(verification.run, "knee") == trial else ""


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("trial ") else text
