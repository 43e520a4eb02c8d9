"""list, remove: what there is in a folder of runs, and its end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dipstage.errors import InputError
from dipstage.terminal.console import confirmed, echo_json, json_option, make_console, wide_option
from dipstage.terminal.fitted import Column, FittedTable
from search.commands.shared import runs_dir_option, storage_option

if TYPE_CHECKING:
    from search.presentation.runs import RunRow
    from search.store.removal import Remains


@click.command("list")
@json_option
@wide_option
@storage_option
@runs_dir_option
def list_runs(as_json: bool, storage: str | None, runs_dir: Path) -> None:
    """List all runs: state, best PSNR_GT, front, verdict, size.

    With a database (--storage or DIPSEARCH_STORAGE), its studies are listed too, also those whose
    folder is elsewhere.
    """
    from search.presentation.runs import run_rows
    from search.store.database_address import storage_address
    from search.store.folders import is_remote
    from search.store.paths import named

    if not is_remote(runs_dir) and runs_dir.exists() and not runs_dir.is_dir():
        raise InputError(f"{named(runs_dir)} is not a folder: name the folder that holds runs")
    rows = list(run_rows(runs_dir, storage_address(storage)))
    if as_json:
        echo_json([asdict(row) for row in rows])
    elif not rows:
        click.echo(f"no runs in {runs_dir}: start one with dipsearch launch quickstart")
    else:
        make_console().print(FittedTable.of(_columns(), rows, str(runs_dir)))
        for row in rows:
            if row.problem is not None:
                click.echo(f"{row.name}: {row.problem}")


def _columns() -> list[Column[RunRow]]:
    return [
        Column("run", lambda row: row.name, left=True),
        Column("state", lambda row: row.state, left=True),
        Column("trials", lambda row: "" if row.trials is None else f"{row.trials}/{row.wanted}"),
        Column("best", lambda row: row.best_words or ""),
        Column("front", lambda row: "" if row.front is None else str(row.front), drop=2),
        Column("verdict", lambda row: row.verdict or "", left=True, drop=3),
        Column("changed", lambda row: (row.changed or "")[:16].replace("T", " "), drop=1),
        Column("size", lambda row: "not here" if row.folder is None else _size(row.bytes), drop=0),
    ]


def _size(count: int | None) -> str:
    from rich.filesize import decimal

    return "" if count is None else decimal(count)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN…")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@storage_option
@runs_dir_option
def remove(names: tuple[str, ...], yes: bool, storage: str | None, runs_dir: Path) -> None:
    """Remove runs, with their studies in a database.

    A run is refused while a search, confirmation or verification of it is running. Links in the
    folder are not followed. A removal that was interrupted is completed by the same command.
    """
    from search.store.database_address import storage_address
    from search.store.removal import remains_of
    from search.store.removal import remove as remove_run

    each = (remains_of(name, runs_dir, storage_address(storage)) for name in names)
    found = {
        (remains.folder and remains.folder.resolve()) or remains.name: remains for remains in each
    }
    for remains in found.values():
        is_elsewhere = remains.folder is None and remains.in_database and bool(remains.studies)
        if is_elsewhere and yes:
            raise InputError(
                f"run {remains.name!r} has a study in the database but no folder in {runs_dir}, "
                "and may be somebody else's: remove it without --yes"
            )
        if not yes and not _confirmed(remains):
            click.echo(f"kept: {remains.name}")
            continue
        remove_run(remains)
        click.echo(f"removed: {remains.name}")


def _confirmed(remains: Remains) -> bool:
    answer = confirmed(f"remove {_words(remains)}?", err=True)
    if answer is None:
        raise InputError(f"nobody answers whether to remove {remains.name}: confirm it by --yes")
    return answer


def _words(remains: Remains) -> str:
    """Say what a removal would remove."""
    parts = []
    if remains.folder is not None:
        parts.append(f"{remains.folder} ({_size(remains.bytes)})")
    elif remains.leftovers:
        parts.append(f"what is left of {remains.name} ({_size(remains.bytes)})")
    if remains.in_database and remains.studies:
        count = len(remains.studies)
        parts.append(f"its {'study' if count == 1 else f'{count} studies'} in the database")
    if remains.folder is None and remains.in_database and remains.studies:
        parts.append("which a run elsewhere may need")
    return " and ".join(parts[:2]) + "".join(f", {each}" for each in parts[2:])
