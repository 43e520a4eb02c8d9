"""The report of a run: one HTML file that works offline, even as a mail attachment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.store.run import RunRecord

NAME = "report.html"


def write_report(run: RunRecord, output: Path | None = None) -> Path:
    """Write the report of a run in its present state.

    Args:
        run: Run to report.
        output: Path of the file; by default `report.html` in the run's folder.

    Returns:
        The path of the written file.

    Raises:
        InputError: If the file cannot be written.
    """
    from dipstage.documents.whole_files import write_asked
    from search.report.page import render

    path = output or run.folder / NAME
    write_asked(path, render(run))
    return path
