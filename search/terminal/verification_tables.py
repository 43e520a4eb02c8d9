"""Tables of a verification, and its conclusion in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dipstage.stopping import OUTPUTS, Output
from dipstage.terminal.fitted import FittedTable, bound
from dipstage.terminal.numbers import DB, db, steps
from search.presentation.remarks import remarks
from search.presentation.verdicts import VerdictRow, rows_against_others, verified_rows
from search.presentation.words import interval, p_value, ratio_interval
from search.verification.verdicts import Word

if TYPE_CHECKING:
    from search.verification.confirmation import Confirmation
    from search.verification.result import Verification
    from search.verification.verdicts import Arrival


def print_verification(verification: Verification, print_: Callable[..., None]) -> None:
    """Print all tables, then the verdict."""
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


def print_confirmation(confirmation: Confirmation, print_: Callable[..., None]) -> None:
    """Print each schedule against plain DIP, how many hold up, and what is verified."""
    rows = [
        [
            each.schedule,
            interval(each.psnr_db, DB),
            f"{each.psnr_db.above:.0%}",
            ratio_interval(each.time),
            f"{1 - each.time.above:.0%}",
        ]
        for each in confirmation.comparisons
    ]
    columns = ["schedule", "dB above\n[95 % interval]", "higher\nin",
               "time ratio\n[95 % interval]", "sooner\nin"]  # fmt: skip
    print_(FittedTable(columns, rows, f"{confirmation.made.name}: against plain DIP"))
    print_(confirmation.success, markup=False)
    for words, picked in (
        ("faster", confirmation.pick("time")),
        ("higher", confirmation.pick("psnr")),
    ):
        name = picked.schedule if picked else "none is both as high and as fast as plain DIP"
        print_(f"to be verified as {words}: {name}", markup=False)


def conclusion(verification: Verification) -> Iterator[str]:
    """Yield the verdict of each schedule that was found, and of the search as a whole."""
    found = verification.of_role("found")
    for trial in found:
        claim = verification.claim(trial.name)
        claimed = {"time": ", claimed to be faster", "psnr": ", claimed to be higher"}
        words = claimed[claim.endpoint] if claim else ""
        yield f"{trial.name}{words}: {verification.verdict_of(trial.name)}"
    if found:
        yield f"the search as a whole: {verification.verdict_of_search}"


def plain_table(verification: Verification, output: Output) -> FittedTable:
    """Return every schedule against plain DIP, in one output."""
    rows = [_plain_row(row) for row in verified_rows(verification, output)]
    columns = [
        "schedule",
        verification.run.objective.steps_words,
        "max PSNR_GT\n(dB)",
        "dB above\n[95 % interval]",
        "higher\nin",
        "p\n(Holm)",
        f"{verification.rule.time_words}\n[95 % interval]",
        "sooner\nin",
        "p\n(Holm)",
        "PSNR",
        "time",
    ]
    plain = verification.plain.name if verification.plain else "plain DIP"
    title = (
        f"{verification.run.name}, verified: {output} output, mean ± standard deviation over "
        f"replicates; differences to {plain}"
    )
    return FittedTable(columns, rows, title, left=(0, 9, 10), flow=(0,), drop=(4, 7, 5, 8, 1, 2))


def _plain_row(row: VerdictRow) -> list[str]:
    first, comparison = [bound(row.name), row.cells.steps, row.cells.psnr_db], row.comparison
    if comparison is None:
        return [*first, *[""] * 8]
    return [
        *first,
        row.gain_db,
        f"{comparison.psnr_db.above:.0%}",
        p_value(comparison.p_psnr),
        row.time,
        f"{1 - comparison.time.above:.0%}",
        p_value(comparison.p_time),
        _short(comparison.verdict.psnr),
        _short(comparison.verdict.time),
    ]


def _short(word: Word) -> str:
    """Return the word, or nothing where nothing was shown."""
    return "" if word is Word.NOT_SHOWN else str(word)


def budget_table(verification: Verification) -> FittedTable:
    """Return PSNR_GT by fixed budgets, and how much of the search's own gain was lost."""
    output = verification.output
    rows = []
    for trial in verification.held_out.records():
        if not trial.replicates:
            continue
        attained = [db(value) for value in verification.at_budgets(trial, output)]
        search = verification.search_gains.get(trial.name)
        held_out, shrunk = (
            verification.held_out_gain_db(trial.name),
            verification.shrinkage_db(trial.name),
        )
        shrinkage = ["", "", ""]
        if search is not None and held_out is not None and shrunk is not None:
            shrinkage = [db(gain, "+") for gain in (search.psnr_db.mean, held_out, shrunk)]
        rows.append(
            [
                bound(trial.name),
                *(attained or [""] * len(verification.budgets)),
                _arrival(verification.arrival(trial.name, output)),
                *shrinkage,
            ]
        )
    whole, below_db = verification.budgets[-1], verification.below_db
    less = f" less {below_db:g} dB" if below_db else ""
    columns = [
        "schedule",
        *(f"PSNR_GT (dB)\nby {budget}" for budget in verification.budgets),
        f"reaches plain DIP's\nmaximum{less} at (in)",
        f"max by {whole} less\nplain's, searched",
        f"max by {whole} less\nplain's, held out",
        "shrinkage\n(dB)",
    ]
    title = f"{verification.run.name}, verified: {output} output at fixed budgets, and shrinkage"
    last = len(columns) - 1
    return FittedTable(
        columns, rows, title, flow=(0,), drop=(last - 2, last - 1, last, *range(1, last - 4))
    )


def _arrival(arrival: Arrival | None) -> str:
    if arrival is None or not arrival.n:
        return ""
    of = f"{arrival.reached} of {arrival.n}"
    return f"never ({of})" if arrival.steps is None else f"{steps(arrival.steps)} ({of})"


def others_table(verification: Verification) -> FittedTable:
    """Return what was found against each candidate, and against plain DIP at its other rates."""
    output = verification.output
    rows = [
        [
            bound(row.name),
            bound(row.reference),
            row.gain_db,
            p_value(comparison.p_psnr),
            row.time,
            p_value(comparison.p_time),
            _short(comparison.verdict.psnr),
            _short(comparison.verdict.time),
        ]
        for row in rows_against_others(verification)
        if (comparison := row.comparison)
    ]
    columns = [
        "schedule",
        "against",
        "dB above\n[95 % interval]",
        "p\n(Holm)",
        f"{verification.rule.time_words}\n[95 % interval]",
        "p\n(Holm)",
        "PSNR",
        "time",
    ]
    title = f"{verification.run.name}, verified: {output} output, against the candidates"
    return FittedTable(columns, rows, title, left=(0, 1, 6, 7), flow=(0, 1), drop=(3, 5, 4, 2))
