"""The files that a search leaves in its run's folder when it ends, by command or from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.store.run import RunRecord


def write_results(run: RunRecord) -> list[Path]:
    """Write best.yaml, pareto.csv and front.png of a run that has a front.

    Returns:
        The paths of the files.
    """
    from dipstage.terminal.plots import save_figure
    from search.commands.shared import front_and_candidates
    from search.plots.front import plot_front
    from search.presentation.rows import write_rows
    from search.verification.export import choose, export

    table, figure = run.folder / "pareto.csv", run.folder / "front.png"
    write_rows(front_and_candidates(run), table, own=True)
    # The figure comes last: if it fails, the schedule is written already.
    best = export(run, choose(run, "knee"))
    save_figure(plot_front(run), figure, own=True)
    return [best, table, figure]
