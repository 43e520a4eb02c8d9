"""Tables of a verification, and its conclusion in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dipstage.schedules.stopping import OUTPUTS, Output
from dipstage.terminal.fitted import Column, FittedTable, bound
from dipstage.terminal.numbers import DB, db, steps
from search.presentation.remarks import remarks
from search.presentation.verdicts import VerdictRow, rows_against_others, verified_rows
from search.presentation.words import interval, p_value, ratio_interval
from search.verification.verdicts import Word

if TYPE_CHECKING:
    from search.verification.confirmation import Confirmation
    from search.verification.result import Verification
    from search.verification.verdicts import Arrival, Comparison


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
    """Print each schedule against plain DIP, how many hold up, failures, and what is verified."""
    columns: list[Column[Comparison]] = [
        Column("schedule", lambda each: each.schedule, left=True),
        Column("dB above\n[95 % interval]", lambda each: interval(each.psnr_db, DB)),
        Column("higher\nin", lambda each: f"{each.psnr_db.above:.0%}"),
        Column("time ratio\n[95 % interval]", lambda each: ratio_interval(each.time)),
        Column("sooner\nin", lambda each: f"{1 - each.time.above:.0%}"),
    ]
    if confirmation.comparisons:
        title = f"{confirmation.made.name}: against plain DIP"
        print_(FittedTable.of(columns, confirmation.comparisons, title))
        print_(confirmation.success, markup=False)
    for line in confirmation.failures:
        print_(line, markup=False)
    none = "none is both as high and as fast as plain DIP"
    if confirmation.obstacle:
        none = f"none, because {confirmation.obstacle}"
    for words, picked in (
        ("faster", confirmation.pick("time")),
        ("higher", confirmation.pick("psnr")),
    ):
        print_(f"to be verified as {words}: {picked.schedule if picked else none}", markup=False)


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
    time = f"{verification.rule.time_words}\n[95 % interval]"
    columns: list[Column[VerdictRow]] = [
        Column("schedule", lambda row: bound(row.name), left=True, flow=True),
        Column(verification.run.objective.cost.words, lambda row: row.cells.steps, drop=4),
        Column("max PSNR_GT\n(dB)", lambda row: row.cells.psnr_db, drop=5),
        Column("dB above\n[95 % interval]", lambda row: row.gain),
        Column("higher\nin", _of(lambda each: f"{each.psnr_db.above:.0%}"), drop=0),
        Column("p\n(Holm)", _of(lambda each: p_value(each.p_psnr)), drop=2),
        Column(time, lambda row: row.time),
        Column("sooner\nin", _of(lambda each: f"{1 - each.time.above:.0%}"), drop=1),
        Column("p\n(Holm)", _of(lambda each: p_value(each.p_time)), drop=3),
        Column("PSNR", _of(lambda each: _short(each.verdict.psnr)), left=True),
        Column("time", _of(lambda each: _short(each.verdict.time)), left=True),
    ]
    plain = verification.plain.name if verification.plain else "plain DIP"
    title = (
        f"{verification.run.name}, verified: {output} output, mean ± standard deviation over "
        f"replicates; differences to {plain}"
    )
    return FittedTable.of(columns, verified_rows(verification, output), title)


def _of(cell: Callable[[Comparison], str]) -> Callable[[VerdictRow], str]:
    """Return a cell of a row's comparison, which the reference itself has none of."""
    return lambda row: "" if row.comparison is None else cell(row.comparison)


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
        name = trial.name
        attained = [db(value) for value in verification.at_budgets(trial, output)]
        search, shrunk = verification.search_gains.get(name), verification.shrinkage_db(name)
        held_out = verification.held_out_gain_db(name)
        shrinkage = ["", "", ""]
        if search is not None and held_out is not None and shrunk is not None:
            shrinkage = [db(gain, "+") for gain in (search.psnr_db.mean, held_out, shrunk)]
        attained = attained or [""] * len(verification.budgets)
        arrival = _arrival(verification.arrival(name, output))
        rows.append([bound(name), *attained, arrival, *shrinkage])
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
    time = f"{verification.rule.time_words}\n[95 % interval]"
    columns: list[Column[VerdictRow]] = [
        Column("schedule", lambda row: bound(row.name), left=True, flow=True),
        Column("against", lambda row: bound(row.reference), left=True, flow=True),
        Column("dB above\n[95 % interval]", lambda row: row.gain, drop=3),
        Column("p\n(Holm)", _of(lambda each: p_value(each.p_psnr)), drop=0),
        Column(time, lambda row: row.time, drop=2),
        Column("p\n(Holm)", _of(lambda each: p_value(each.p_time)), drop=1),
        Column("PSNR", _of(lambda each: _short(each.verdict.psnr)), left=True),
        Column("time", _of(lambda each: _short(each.verdict.time)), left=True),
    ]
    words = f"{verification.output} output, against the candidates"
    title = f"{verification.run.name}, verified: {words}"
    return FittedTable.of(columns, rows_against_others(verification), title)
