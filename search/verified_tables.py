"""A verification in words and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dipstage.console import table
from dipstage.stopping import OUTPUTS, Output
from search.tables import censored, spread

if TYPE_CHECKING:
    from rich.table import Table

    from search.run import Trial
    from search.statistics import Difference
    from search.verdicts import Comparison
    from search.verified import Verification


def print_verification(verification: Verification, print_: Callable[..., None]) -> None:
    """All tables, then the verdict."""
    for output in OUTPUTS:
        print_(plain_table(verification, output))
        print_()
    print_(budget_table(verification))
    print_()
    if verification.of_role("found") and verification.of_role("candidate"):
        print_(candidates_table(verification))
        print_()
    print_(verification.method, markup=False)
    for line in remarks(verification):
        print_(line, markup=False)
    for line in conclusion(verification):
        print_(line, markup=False)


def conclusion(verification: Verification) -> Iterator[str]:
    """The verdict of each schedule that was found, and of the search as a whole."""
    found = verification.of_role("found")
    for trial in found:
        comparison = verification.against_plain(trial.name)
        if comparison is not None:
            yield f"{trial.name}: {comparison.verdict}"
    if found:
        yield f"the search as a whole: {verification.verdict_of_search}"


def remarks(verification: Verification) -> Iterator[str]:
    """What a reader must know before believing the tables."""
    records = verification.held_out.records()
    for trial in records:
        if trial.failure:
            yield f"{trial.name} failed: {trial.failure}"
    for output in OUTPUTS:
        cut = [
            f"{trial.name} {n} of {len(trial.outcomes)}"
            for trial in records
            if (n := trial.censored(output))
        ]
        if cut:
            yield f"censored, the end may have cut off their {output} maxima: {'; '.join(cut)}"
    rates = verification.plan.learning_rates
    chosen = verification.plain.learning_rate
    if len(rates) > 1 and chosen in (min(rates), max(rates)):
        yield (
            f"plain DIP's learning rate, {chosen:g}, is at the end of those that were tried: a new "
            "verification with other --learning-rates may find a better one"
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
        "dB above plain DIP\n[95 % interval]",
        "higher\nin",
        "p\n(Holm)",
        "steps after plain DIP\n[95 % interval]",
        "sooner\nin",
        "p\n(Holm)",
        "verdict",
    ]
    name = verification.run.name
    title = f"{name}, verified: {output} output, mean ± standard deviation over replicates"
    return table(columns, rows, title, left=(0, 9))


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
        return [*row, "", "", "", "", "", "", ""]
    return [
        *row,
        interval(comparison.psnr_db, 2),
        f"{comparison.psnr_db.above:.0%}",
        p_value(comparison.p_holm_psnr),
        interval(comparison.steps, 0),
        f"{1 - comparison.steps.above:.0%}",
        p_value(comparison.p_holm_steps),
        str(comparison.verdict),
    ]


def budget_table(verification: Verification) -> Table:
    """What is reached by which iteration, and what became of the search's own gain."""
    output = verification.run.objective.output
    rows = []
    for trial in verification.held_out.records():
        if not trial.outcomes:
            continue
        comparison = verification.against_plain(trial.name)
        search = verification.search_gains.get(trial.name)
        shrunk = ["", "", ""]
        if search is not None and comparison is not None:
            seen, held = search.psnr_db.mean, comparison.psnr_db.mean
            shrunk = [f"{seen:+.2f}", f"{held:+.2f}", f"{seen - held:+.2f}"]
        rows.append(
            [
                trial.name,
                *(f"{value:.2f}" for value in verification.at_budgets(trial, output)),
                _arrival(comparison),
                *shrunk,
            ]
        )
    columns = [
        "schedule",
        *(f"PSNR_GT (dB)\nby {budget}" for budget in verification.budgets),
        "reaches plain DIP's\nmaximum at (in)",
        "dB above plain\nin the search",
        "dB above plain\nheld out",
        "shrinkage\n(dB)",
    ]
    title = f"{verification.run.name}, verified: {output} output at fixed budgets, and shrinkage"
    return table(columns, rows, title)


def _arrival(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    of = f"{comparison.reached} of {comparison.psnr_db.n}"
    if comparison.steps_to_reference is None:
        return f"never ({of})"
    return f"{comparison.steps_to_reference:.0f} ({of})"


def candidates_table(verification: Verification) -> Table:
    """What was found against each candidate, in the output that was optimised."""
    output = verification.run.objective.output
    found = {trial.name for trial in verification.of_role("found")}
    rows = [
        [
            each.schedule,
            each.reference,
            interval(each.psnr_db, 2),
            p_value(each.p_holm_psnr),
            interval(each.steps, 0),
            p_value(each.p_holm_steps),
            str(each.verdict),
        ]
        for each in verification.comparisons
        if each.schedule in found
        and each.output == output
        and each.reference != verification.plain.name
    ]
    columns = [
        "schedule",
        "against",
        "dB above\n[95 % interval]",
        "p\n(Holm)",
        "steps after\n[95 % interval]",
        "p\n(Holm)",
        "verdict",
    ]
    title = f"{verification.run.name}, verified: {output} output, against the candidates"
    return table(columns, rows, title, left=(0, 1, 6))


def interval(difference: Difference, digits: int) -> str:
    """`mean [low, high]`; the mean alone where there is one picture."""
    mean = f"{difference.mean:+.{digits}f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def p_value(p: float) -> str:
    """Three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
