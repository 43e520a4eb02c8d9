"""report: one HTML file about a run, also written at the end of a search or verification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.commands.shared import echo_written, file_option, run_options

if TYPE_CHECKING:
    from search.store.run import RunRecord


@click.command()
@file_option("--output", "File to write [default: report.html in the run's folder].", "output")
@run_options
def report(name: str, output: Path | None, storage: str | None, runs_dir: Path) -> None:
    """Write a report on RUN in its present state: one HTML file that works offline.

    launch, resume and verify write the same report when they end.
    """
    from search.report import write_report
    from search.store.run import RunRecord

    path = write_report(RunRecord.open(name, runs_dir, storage), output)
    echo_written(path, f"written: {path}")


def make_report(run: RunRecord) -> None:
    """Write the report at the end of a command and print its path; a failure is only reported."""
    from search.report import write_report

    try:
        click.echo(f"report: {write_report(run)}")
    except Exception as error:  # A missing report must not fail a finished search.
        from search.store.paths import brief

        reason = f"{type(error).__name__}: {brief(error)}"
        click.echo(f"dipsearch: the report could not be written ({reason})", err=True)
