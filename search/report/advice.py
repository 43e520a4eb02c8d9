"""The top of the report, in words: which schedule to use, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from search.export import choose
from search.report.gains import Standing, plain_of, standings
from search.run import Run, Trial
from search.statistics import Difference
from search.status import Status, sentence
from search.verdicts import Comparison, Word
from search.verified import Verification

NOT_VERIFIED = "not verified"


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
    standings: list[Standing] = field(default_factory=list)


def advise(run: Run, status: Status, verification: Verification | None, driver: bool) -> Advice:
    """From the run as it is now."""
    records = run.records()
    unfinished = status.done < status.wanted
    state = [_state(status, driver)] if unfinished else []
    commands: list[tuple[str, str]] = []
    if unfinished and not driver:
        commands.append((f"dipsearch resume {run.name}", "goes on with the search"))
    if not status.complete:
        headline = "There is no schedule to use yet"
        return Advice(headline, "", None, [*state, *_no_trial(status)], commands)
    choice = choose(run, "knee")
    trial = choice.trial
    rows = standings(run, records, verification)
    if verification is None:
        headline = f"{_capital(trial.name)} is the front's knee{', so far' * unfinished}"
        sure = [*state, *_unverified(run, trial, records)]
        commands.append((f"dipsearch verify {run.name}", "tells whether it holds on new pictures"))
    else:
        headline, sure = _verified(trial, verification)
        sure = state + sure
    word = _word(trial, verification)
    commands.append((f"dipsearch export {run.name}", "writes it to best.yaml"))
    commands.append(("dipstage run IMAGE --schedule best.yaml", "trains with it"))
    return Advice(headline, word, trial.number, sure, commands, rows)


def _state(status: Status, driver: bool) -> str:
    words = "is running" if driver else "is not finished, and no driver is at work"
    return f"The search {words}: {sentence(status)}."


def _no_trial(status: Status) -> Iterator[str]:
    if status.failed:
        yield f"All {status.failed} trials that ended have failed; the table says why."
    elif not status.done:
        yield "No trial has ended."


def _word(trial: Trial, verification: Verification | None) -> str:
    if is_plain(trial):
        return "plain DIP"
    verdict = verification.verdict(trial.number) if verification else None
    return str(verdict.word) if verdict else NOT_VERIFIED


def is_plain(trial: Trial) -> bool:
    """Whether a trial is plain DIP: one stage, the observation itself."""
    return trial.schedule is not None and len(trial.schedule.stages) == 1


def _unverified(run: Run, trial: Trial, records: list[Trial]) -> Iterator[str]:
    """What the search itself saw, and why that is not enough."""
    from search.verdicts import Entry, compare

    plain = plain_of(records)
    n = len(trial.outcomes)
    if is_plain(trial):
        yield "That is plain DIP itself: on the search's own numbers no staging is a better trade."
    elif plain is None:
        yield "The search has no plain DIP to compare with: what staging gains is not known."
    else:
        entries = [Entry(trial.name, trial.outcomes)]
        for each in compare(entries, Entry(plain.name, plain.outcomes), run.objective):
            if each.output == run.objective.output:
                yield (
                    f"On the search's own {_count(each.psnr_db.n, 'replicate')} its max PSNR_GT "
                    f"is {_psnr_words(each)} plain DIP's ({plain.name}), reached "
                    f"{_steps_words(each)}."
                )
    yield (
        "That is not verified. The front was picked by these very numbers"
        f"{', from a single replicate of each trial' if n == 1 else ''} and flatters itself: "
        "nothing counts until it is trained on pictures and seeds that the search has not seen."
    )


def _psnr_words(each: Comparison) -> str:
    mean = each.psnr_db.mean
    return f"{abs(mean):.2f} dB {'above' if mean >= 0 else 'below'}"


def _steps_words(each: Comparison) -> str:
    mean = each.steps.mean
    return f"{abs(mean):.0f} iterations {'sooner' if mean <= 0 else 'later'}"


def _verified(trial: Trial, verification: Verification) -> tuple[str, list[str]]:
    verdict = verification.verdict(trial.number)
    held = verification.measured(trial.number)
    name = _capital(trial.name)
    if is_plain(trial):
        headline = "Stay with plain DIP: no schedule is shown to be better"
    elif verdict is None:
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
            f"{_on(verification)}, {trial.name} gains {_interval(comparison.psnr_db, 2)} dB in "
            f"max PSNR_GT and takes {_interval(comparison.steps, 0)} iterations more to its "
            f"maximum than {verification.plain.name}, with 95 % intervals over pictures. "
            f"Verdict: {verdict}."
        )
    elif not is_plain(trial):
        sure.append(f"{name}, the front's knee, is itself not verified.")
    sure += _others_that_count(trial, verification)
    if verification.plan.seen:
        sure.append(f"The search had seen {'; '.join(verification.plan.seen)}.")
    return headline, sure


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
        yield f"Also better than plain DIP: {'; '.join(parts)}. The table says at what price."


def _on(verification: Verification) -> str:
    pictures, seeds = len(verification.plan.images), len(verification.plan.seeds)
    words = "pictures" if verification.plan.seen else "held-out pictures"
    return f"On {_count(pictures, words[:-1])} with {_count(seeds, 'seed')} each"


def _interval(difference: Difference, digits: int) -> str:
    from search.verified_tables import interval

    return interval(difference, digits)


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("trial ") else text
