"""Remarks on a verification: what limits its verdicts, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dipstage.schedules.stopping import OUTPUTS
from dipstage.terminal.numbers import db
from search.presentation.tuning import remarks_on_tuning
from search.store.records import Trial
from search.verification.declared import Declared
from search.verification.outlook import effect_words, of_interest
from search.verification.parts import failed_after
from search.verification.power import pictures_needed
from search.verification.result import Verification
from search.verification.rules import Endpoint, is_gain, too_censored
from search.verification.schedules import lacking
from search.verification.verdicts import Word


def remarks(verification: Verification) -> Iterator[str]:
    """Yield what a reader must know before relying on the tables."""
    records = verification.held_out.records()
    replicates = len(verification.plan.images) * len(verification.plan.seeds)
    for trial in records:
        if trial.failure:
            how = "against" if verification.role(trial) == "plain" else "for"
            yield (
                f"{failed_after(trial, replicates)}, so nothing can be shown {how} it: "
                f"{trial.failure}"
            )
    for output in OUTPUTS:
        cut = [
            f"{trial.name} {n} of {len(trial.replicates)}"
            for trial in records
            if (n := trial.censored(output))
        ]
        if cut:
            yield (
                f"the end of training may have cut off some {output} maxima (censored): "
                f"{'; '.join(cut)}"
            )
    yield from remarks_on_tuning(verification)
    kinds = Counter(each.device == "cpu" for trial in records for each in trial.replicates.values())
    if len(kinds) > 1:
        yield (
            f"{kinds[True]} of {kinds.total()} trainings ran on a CPU and the others on a GPU: "
            "a CPU and a GPU training of one replicate share picture, observation and initial "
            "weights, but not the noise of the network's input, and their times in seconds cannot "
            "be compared"
        )
    if verification.plain is None:
        yield "tuned plain DIP finished no replicate: there are no verdicts"
    elif verification.plan.declared is None:
        yield from _remarks_on_plain(verification, verification.plain)
    else:
        yield from _remarks_on_claims(verification)
    if verification.of_role("found") and verification.too_few:
        yield verification.too_few
    stale = verification.stale
    if stale:
        yield (
            f"this verdict is older than the front, which has changed since: {stale}; --restart "
            "verifies today's on other pictures"
        )


def _remarks_on_claims(verification: Verification) -> Iterator[str]:
    """Yield what the claims lack, and what their gains are not attributed to."""
    declared = verification.plan.declared
    assert declared is not None
    for trial in verification.of_role("found"):
        name, claim = trial.name, verification.claim(trial.name)
        verdict = verification.verdict_of(name)
        if claim is None or verdict is None:
            continue
        if verdict.word is not Word.BETTER:
            yield from _remarks_on_not_shown(verification, declared, claim.endpoint, name)
            continue
        unbroken = verification.unbroken(name)
        if unbroken is None:
            yield (
                f"no control of {name} was trained (--controls), so its gain is attributed neither "
                "to the order of the stages nor to the added noise"
            )
        for what in dict.fromkeys(lacking(each, name) for each in unbroken or ()):
            alike = [each for each in unbroken or () if lacking(each, name) == what]
            yield (
                f"the gain of {name} is not attributed to {what}: {', '.join(alike)} "
                f"{'is' if len(alike) == 1 else 'are'} not worse in PSNR and time"
            )
    if declared.earlier:
        yield (
            f"{declared.earlier} claims were verified before on this run; the correction counts "
            "them"
        )


def _remarks_on_not_shown(
    verification: Verification, declared: Declared, endpoint: Endpoint, name: str
) -> Iterator[str]:
    """Yield what would be needed to show that a schedule is better."""
    spread = verification.spread(name)
    if spread is None:
        return  # Another remark says what is missing: pictures, or trainings that failed.
    against = verification.against_references(name)
    cut = too_censored(against)
    if cut:
        yield (
            f"more than a tenth of the {declared.output} maxima of {' and '.join(cut)} are "
            f"censored, which alone keeps {name} from being shown to be better. Longer trainings "
            "are needed: --restart with more --baseline-iterations verifies on new pictures alone"
        )
        if all(is_gain(each, endpoint) for each in against if not too_censored([each])):
            return
    wanted = of_interest(declared, endpoint)
    needed = pictures_needed(wanted, spread, 1, declared.alpha / declared.family)
    yield (
        f"{name} is not shown to be better. {needed or 'More than 1000'} pictures would show the "
        f"smallest effect of interest, {effect_words(endpoint, wanted)}, with 80 % power, given "
        "the spread between these pictures. --restart verifies on new pictures alone"
    )


def _remarks_on_plain(verification: Verification, plain: Trial) -> Iterator[str]:
    """Yield remarks on the tuning of version 0.1, which varied the learning rate alone."""
    rates = verification.plan.learning_rates
    if len(rates) < 3:
        yield f"plain DIP's learning rate was chosen among {len(rates)}: too few to call it tuned"
    elif plain.learning_rate in (min(rates), max(rates)):
        yield (
            f"plain DIP's learning rate, {plain.learning_rate}, is the lowest or highest of those "
            "tried on the search's pictures: one beyond it may be better (--learning-rates)"
        )
    output = verification.output
    for other in verification.plains[1:]:
        comparison = verification.against_plain(other.name)
        if comparison is not None and comparison.psnr_db.mean > 0:
            yield (
                f"{other.name} (plain DIP, learning rate {other.learning_rate}) is "
                f"{db(comparison.psnr_db.mean)} dB above {plain.name} here ({output}): the rate "
                "that was best on the search's pictures is not best on these"
            )
