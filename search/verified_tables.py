"""A verification in words and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dipstage.console import table
from dipstage.stopping import OUTPUTS, Output
from search.tables import censored, spread
from search.verdicts import SIGNIFICANCE, Word

if TYPE_CHECKING:
    from rich.table import Table

    from search.records import Trial
    from search.statistics import Difference
    from search.verdicts import Arrival, Comparison
    from search.verified import Verification


def print_verification(verification: Verification, print_: Callable[..., None]) -> None:
    """All tables, then the verdict."""
    for output in OUTPUTS:
        print_(plain_table(verification, output))
        print_()
    print_(budget_table(verification))
    print_()
    if verification.of_role("found") and verification.plain:
        print_(others_table(verification))
        print_()
    print_(verification.method, markup=False)
    for line in [*remarks(verification), *conclusion(verification)]:
        print_(line, markup=False)


def conclusion(verification: Verification) -> Iterator[str]:
    """The verdict of each schedule that was found, and of the search as a whole."""
    found = verification.of_role("found")
    for trial in found:
        yield f"{trial.name}: {verification.verdict_of(trial.name)}"
    if found:
        yield f"the search as a whole: {verification.verdict_of_search}"


def remarks(verification: Verification) -> Iterator[str]:
    """What a reader must know before believing the tables."""
    records = verification.held_out.records()
    replicates = len(verification.plan.images) * len(verification.plan.seeds)
    for trial in records:
        if trial.failure:
            yield (
                f"{trial.name} failed after {len(trial.outcomes)} of {replicates} replicates, so "
                f"nothing is shown of it: {trial.failure}"
            )
    for output in OUTPUTS:
        cut = [
            f"{trial.name} {n} of {len(trial.outcomes)}"
            for trial in records
            if (n := trial.censored(output))
        ]
        if cut:
            yield f"censored, the end may have cut off their {output} maxima: {'; '.join(cut)}"
    yield from _remarks_on_plain(verification)
    if verification.of_role("found") and verification.best_p >= SIGNIFICANCE:
        yield (
            f"{replicates} replicates allow no p below {verification.best_p:.2g} after Holm's "
            "correction, so nothing can be better: verify with more --seeds or --images, or a "
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
        yield f"plain DIP's learning rate was chosen among {len(rates)}: that is hardly tuned"
    elif plain.learning_rate in (min(rates), max(rates)):
        yield (
            f"plain DIP's learning rate, {plain.learning_rate}, is at the end of those that were "
            "tried on the search's pictures: others may suit it better (--learning-rates)"
        )
    output = verification.output
    for other in verification.plains[1:]:
        comparison = verification.against_plain(other.name)
        if comparison is not None and comparison.psnr_db.mean > 0:
            yield (
                f"{other.name} (plain DIP, learning rate {other.learning_rate}) is "
                f"{comparison.psnr_db.mean:.2f} dB above {plain.name} here ({output}): the rate "
                "that suited the search's pictures does not suit these"
            )


def plain_table(verification: Verification, output: Output) -> Table:
    """Every schedule against plain DIP, in one output."""
    rows = []
    for trial in verification.held_out.records():
        if trial.outcomes:
            comparison = verification.against_plain(trial.name, output)
            rows.append(_plain_row(verification, trial, comparison, output))
    columns = [
        "schedule",
        verification.run.objective.steps_words,
        "max PSNR_GT\n(dB)",
        "dB above\n[95 % interval]",
        "higher\nin",
        "p\n(Holm)",
        "steps after\n[95 % interval]",
        "sooner\nin",
        "p\n(Holm)",
        "PSNR",
        "steps",
    ]
    plain = verification.plain.name if verification.plain else "plain DIP"
    title = (
        f"{verification.run.name}, verified: {output} output, mean ± standard deviation over "
        f"replicates; differences to {plain}"
    )
    return table(columns, rows, title, left=(0, 9, 10))


def _plain_row(
    verification: Verification, trial: Trial, comparison: Comparison | None, output: Output
) -> list[str]:
    steps_key = verification.run.objective.steps_key
    row = [
        trial.name,
        censored(trial, output) + spread(trial.measure(output, steps_key), 0),
        spread(trial.measure(output, "max_psnr_gt_db"), 2),
    ]
    if comparison is None:
        return [*row, *[""] * 8]
    return [
        *row,
        interval(comparison.psnr_db, 2),
        f"{comparison.psnr_db.above:.0%}",
        p_value(comparison.p_holm_psnr),
        interval(comparison.steps, 0),
        f"{1 - comparison.steps.above:.0%}",
        p_value(comparison.p_holm_steps),
        _short(comparison.verdict.psnr),
        _short(comparison.verdict.steps),
    ]


def _short(word: Word) -> str:
    """Nothing where nothing was shown."""
    return "" if word is Word.NOT_SHOWN else str(word)


def budget_table(verification: Verification) -> Table:
    """What is reached by which iteration, and what became of the search's own gain."""
    output = verification.output
    rows = []
    for trial in verification.held_out.records():
        if not trial.outcomes:
            continue
        attained = [f"{value:.2f}" for value in verification.at_budgets(trial, output)]
        search = verification.search_gains.get(trial.name)
        held_out, shrunk = (
            verification.held_out_gain_db(trial.name),
            verification.shrinkage_db(trial.name),
        )
        shrinkage = ["", "", ""]
        if search is not None and held_out is not None and shrunk is not None:
            shrinkage = [f"{search.psnr_db.mean:+.2f}", f"{held_out:+.2f}", f"{shrunk:+.2f}"]
        rows.append(
            [
                trial.name,
                *(attained or [""] * len(verification.budgets)),
                _arrival(verification.arrival(trial.name, output)),
                *shrinkage,
            ]
        )
    whole = verification.budgets[-1]
    columns = [
        "schedule",
        *(f"PSNR_GT (dB)\nby {budget}" for budget in verification.budgets),
        "reaches plain DIP's\nmaximum at (in)",
        f"max by {whole} less\nplain's, searched",
        f"max by {whole} less\nplain's, held out",
        "shrinkage\n(dB)",
    ]
    title = f"{verification.run.name}, verified: {output} output at fixed budgets, and shrinkage"
    return table(columns, rows, title)


def _arrival(arrival: Arrival | None) -> str:
    if arrival is None or not arrival.n:
        return ""
    of = f"{arrival.reached} of {arrival.n}"
    return f"never ({of})" if arrival.steps is None else f"{arrival.steps:.0f} ({of})"


def others_table(verification: Verification) -> Table:
    """What was found against each candidate, and plain DIP at its other rates."""
    output = verification.output
    found = {trial.name for trial in verification.of_role("found")}
    tuned = verification.plain.name if verification.plain else ""
    rows = [
        [
            each.schedule,
            each.reference,
            interval(each.psnr_db, 2),
            p_value(each.p_holm_psnr),
            interval(each.steps, 0),
            p_value(each.p_holm_steps),
            _short(each.verdict.psnr),
            _short(each.verdict.steps),
        ]
        for each in verification.comparisons
        if each.schedule in found and each.output == output and each.reference != tuned
    ]
    columns = [
        "schedule",
        "against",
        "dB above\n[95 % interval]",
        "p\n(Holm)",
        "steps after\n[95 % interval]",
        "p\n(Holm)",
        "PSNR",
        "steps",
    ]
    title = f"{verification.run.name}, verified: {output} output, against the candidates"
    return table(columns, rows, title, left=(0, 1, 6, 7))


def interval(difference: Difference, digits: int) -> str:
    """`mean [low, high]`; the mean alone where there is one picture."""
    mean = f"{difference.mean:+.{digits}f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def p_value(p: float) -> str:
    """Three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
