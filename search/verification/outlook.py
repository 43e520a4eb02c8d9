"""The cost of a verification and what it can show, before it begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from dipstage.terminal.numbers import RATIO, db, duration, fixed
from search.store.records import Trial, plain_of
from search.store.run import RunRecord
from search.verification.confirmation import TOP, best_schedules
from search.verification.declared import Declared, Plan
from search.verification.power import (
    PSNR_SPREAD,
    TIME_SPREAD,
    Spread,
    measured_spread,
    pictures_needed,
    smallest_effect,
)
from search.verification.rules import Endpoint
from search.verification.verdicts import Comparison, compare, entry_of

FEW = 4
"""Minimum number of pictures for a spread to be taken from the search."""


def outlook(run: RunRecord, plan: Plan) -> Iterator[str]:
    """Yield sentences on the effect that is shown with 80 % power, and on the time it takes."""
    declared = plan.declared
    if declared is None:
        return
    pictures, seeds = len(plan.images), len(plan.seeds)
    alpha = declared.alpha / declared.family
    measured = _measured(run, declared)
    for claim in declared.claims:
        spread = measured.get(claim.endpoint)
        source = "the variation measured in the search" if spread else "typical variation"
        spread = spread or (TIME_SPREAD if claim.endpoint == "time" else PSNR_SPREAD)
        effect = effect_words(claim.endpoint, smallest_effect(spread, pictures, seeds, alpha))
        yield (
            f"trial {claim.trial}: {pictures} pictures with {seeds} seeds show {effect} with 80 % "
            f"power, at level {alpha:.2g} and with {source} (standard deviation over pictures "
            f"{spread.picture:.2f}, over seeds {spread.seed:.2f})"
        )
        wanted = of_interest(declared, claim.endpoint)
        needed = pictures_needed(wanted, spread, seeds, alpha)
        if needed is None or needed > pictures:
            yield (
                f"the smallest effect of interest, {effect_words(claim.endpoint, wanted)}, needs "
                f"{needed or 'more than 1000'} pictures"
            )
    yield _time(run, plan, declared)


def effect_words(endpoint: Endpoint, effect: float) -> str:
    """Return an effect in words: dB, or a time ratio from its log."""
    if not math.isfinite(effect):
        return "no effect of any size"
    if endpoint == "psnr":
        return f"{db(effect, '+')} dB"
    return f"a time ratio of {fixed(math.exp(-effect), RATIO)}"


def of_interest(declared: Declared, endpoint: Endpoint) -> float:
    """Return the smallest effect of interest, in dB or as a log ratio, above 0."""
    return declared.smallest_db if endpoint == "psnr" else -math.log(declared.smallest_ratio)


def _measured(run: RunRecord, declared: Declared) -> dict[Endpoint, Spread]:
    """Return the spreads that the search's best schedules show against its plain DIP.

    Where nothing was sampled, they are those of the claimed candidates.
    """
    records = run.records()
    plain = plain_of(records)
    if plain is None or len(run.attributes.pictures) < FEW:
        return {}
    claimed = {claim.trial for claim in declared.claims}
    best = best_schedules(records, TOP) or [t for t in records if t.number in claimed]
    entries = [entry_of(run, trial) for trial in best]
    compared = compare(entries, entry_of(run, plain), run.objective, with_times=True)
    judged: list[Comparison] = [c for c in compared if c.output == declared.output]
    psnr = measured_spread([c.psnr_db for c in judged])
    time = measured_spread([c.log_ratio for c in judged if c.log_ratio is not None])
    return {k: v for k, v in (("psnr", psnr), ("time", time)) if v is not None}  # type: ignore[misc]


def _time(run: RunRecord, plan: Plan, declared: Declared) -> str:
    """Return how long the trainings take, at the pace of the search."""
    replicates = [r for trial in run.records() for r in trial.replicates.values()]
    pace = fmean(r.wall_s / max(r.iterations, 1) for r in replicates)
    tuning = len(declared.references) * len(run.attributes.pictures) * len(run.experiment.seeds)
    lineup = _schedules(run.records(), declared)
    held_out = lineup * len(plan.images) * len(plan.seeds)
    budget = run.experiment.trainer.iterations
    seconds = pace * (tuning * budget + held_out * plan.baseline_iterations)
    beside = run.attributes.concurrent or 1
    return (
        f"{tuning} trainings tune plain DIP, and about {held_out} are held out: about "
        f"{duration(seconds / beside)}, {beside} at a time as in the search"
    )


def _schedules(records: list[Trial], declared: Declared) -> int:
    """Return about how many schedules are trained on the held-out pictures."""
    claimed = {claim.trial for claim in declared.claims}
    beside = sum(t.candidate is not None and t.number not in claimed for t in records)
    return 3 + len(claimed) * (3 + 3 * declared.controls) + beside
