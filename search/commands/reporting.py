"""report: one HTML file about a run, also written at the end of a search or verification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dipstage.errors import brief
from search.commands.shared import echo_written, file_option, with_run

if TYPE_CHECKING:
    from search.store.run import RunRecord


@click.command()
@file_option(
    "--output", "File to write [default: report.html in the run's folder].", holds="an HTML page"
)
@click.option(
    "--images",
    multiple=True,
    metavar="IMAGE",
    help="A picture of the run that is not where its experiment says: a file or a quoted glob. Can "
    "be repeated.",
)
@with_run
def report(run: RunRecord, output_file: Path | None, images: tuple[str, ...]) -> None:
    """Write a report on RUN: one HTML file that works offline.

    It shows the present state of the run. launch, resume and verify write the same report when they
    end. A report that shows more, such as pictures that this machine lacks, is never overwritten.
    """
    from search.report import write_report

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    path = write_report(run, output_file, images, tell)
    echo_written(path, f"written: {path}")


def make_report(run: RunRecord) -> None:
    """Write the report at the end of a command and print its path; a failure is only reported."""
    from search.report import write_report

    try:
        click.echo(f"report: {write_report(run)}")
    except Exception as error:  # A missing report must not fail a finished search.
        reason = f"{type(error).__name__}: {brief(error)}"
        click.echo(f"dipsearch: the report could not be written ({reason})", err=True)
