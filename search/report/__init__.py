"""The report of a run: one HTML file that works offline, even as a mail attachment."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.store.run import RunRecord

NAME = "report.html"


def write_report(
    run: RunRecord,
    output: Path | str | None = None,
    images: Sequence[str | Path] = (),
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write the report of a run in its present state.

    Args:
        run: Run to report.
        output: Path of the file; by default `report.html` in the run's folder.
        images: Pictures of the run that are not where its experiment says.
        tell: Takes a sentence on each thing that cannot be shown.

    Returns:
        The path of the written file.

    Raises:
        InputError: If the file cannot be written, if it is a report that shows more than this one
            would, or if one of `images` cannot be read.
    """
    from dipstage.documents.whole_files import write_asked
    from dipstage.errors import InputError
    from search.report import page
    from search.store.folders import is_remote, path_exists

    path = run.folder / NAME if output is None else Path(output)
    made = page.make(run, [str(image) for image in images])
    before = None
    # A pipe or a device is written to, never read.
    if made.lacks and (path_exists(path) if is_remote(path) else os.path.isfile(path)):
        before = page.lacks(path.read_text("utf-8", "replace"))
    if before is not None and before < made.lacks:
        raise InputError(
            f"{path} shows more than a report could now, so it is kept; --output writes another "
            f"file. Missing are: {'. '.join(made.missing)}"
        )
    write_asked(path, made.text, own=output is None)
    if tell is not None:
        for sentence in [*made.missing, *made.left_out]:
            tell(f"not shown: {sentence}")
    return path
