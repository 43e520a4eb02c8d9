"""report: one HTML file about a run, which every search and verification ends with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.commands.shared import of_a_run

if TYPE_CHECKING:
    from search.store.run import RunRecord


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to [default: report.html in the run's folder].",
)
@of_a_run
def report(name: str, output: Path | None, storage: str | None, runs_dir: Path) -> None:
    """Write all about RUN, as it is now, into one HTML file that works offline.

    launch, resume and verify do so at their end.
    """
    from search.report import write_report
    from search.store.run import RunRecord

    click.echo(f"written: {write_report(RunRecord.open(name, runs_dir, storage), output)}")


def make_report(run: RunRecord) -> None:
    """Write the report at the end of a search and name it; a search without one is no less done."""
    from search.report import write_report

    try:
        click.echo(f"report: {write_report(run)}")
    except Exception as error:  # Whatever it is, it must not fail the search.
        from search.store.paths import brief

        reason = f"{type(error).__name__}: {brief(error)}"
        click.echo(f"dipsearch: the report could not be made ({reason})", err=True)
