"""Remarks on a verification: what limits its verdicts, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from dipstage.stopping import OUTPUTS
from search.verification.result import Verification
from search.verification.rules import SIGNIFICANCE


def remarks(verification: Verification) -> Iterator[str]:
    """Yield what a reader must know before relying on the tables."""
    records = verification.held_out.records()
    replicates = len(verification.plan.images) * len(verification.plan.seeds)
    for trial in records:
        if trial.failure:
            yield (
                f"{trial.name} failed after {len(trial.replicates)} of {replicates} replicates, so "
                f"nothing can be shown for it: {trial.failure}"
            )
    for output in OUTPUTS:
        cut = [
            f"{trial.name} {n} of {len(trial.replicates)}"
            for trial in records
            if (n := trial.censored(output))
        ]
        if cut:
            yield f"censored: the end may have cut off these {output} maxima: {'; '.join(cut)}"
    yield from _remarks_on_plain(verification)
    if verification.of_role("found") and verification.best_p >= SIGNIFICANCE:
        yield (
            f"{replicates} replicates allow no p below {verification.best_p:.2g} after Holm's "
            "correction, so no schedule can be better: verify with more --seeds or --images, or a "
            "smaller --top"
        )
    stale = verification.stale
    if stale:
        yield f"the front has changed since: {stale}; --restart verifies today's"


def _remarks_on_plain(verification: Verification) -> Iterator[str]:
    plain, rates = verification.plain, verification.plan.learning_rates
    if plain is None:
        yield "plain DIP at its tuned learning rate finished no replicate: there are no verdicts"
        return
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
                f"{comparison.psnr_db.mean:.2f} dB above {plain.name} here ({output}): the rate "
                "that was best on the search's pictures is not best on these"
            )
