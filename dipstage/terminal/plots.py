"""The plot of one run's curves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.documents.whole_files import SIGNATURE, write_asked
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.stopping import OUTPUTS
from dipstage.terminal.numbers import at
from dipstage.terminal.palette import BLUE, FAINT, VERMILLION
from dipstage.training.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAVING: Any = {"svg.hashsalt": "dipstage", "pdf.fonttype": 42}
"""Settings of matplotlib for files: reproducible names in SVG, embedded fonts in PDF."""
SIGNED = f"{SIGNATURE}figure"
METADATA: Any = {
    "png": {"Software": SIGNED},
    "svg": {"Creator": SIGNED, "Date": None},
    "pdf": {"Creator": SIGNED, "CreationDate": None},
}
"""Metadata of files by their kind: nothing that changes from run to run."""
_STYLES = {"raw": (BLUE, "-"), "smoothed": (VERMILLION, "--")}


def plot_curves(outcome: Outcome, schedule: Schedule, title: str) -> Figure:
    """Plot PSNR_GT of both outputs over iterations, and mark stage switches and maxima."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, start in enumerate(schedule.starts[1:]):
        axes.axvline(start, color=FAINT, linewidth=0.8, label="stage switch" if i == 0 else None)
    for output in OUTPUTS:
        colour, line = _STYLES[output]
        scores = outcome.scores(output)
        axes.plot(outcome.trace.psnr_gt_db(output), line, color=colour, linewidth=1.2, label=output)
        axes.plot(
            scores.steps_to_max,
            scores.max_psnr_gt_db,
            "o" if output == "raw" else "s",
            color=colour,
            label=at(scores.max_psnr_gt_db, scores.steps_to_max, censored=bool(scores.censored)),
        )
    axes.set_xlabel("iterations")
    axes.set_ylabel("PSNR against ground truth (dB)")
    axes.set_title(title, parse_math=False)  # Names of files may hold dollars.
    axes.grid(alpha=0.25, axis="y")
    axes.legend(loc="lower right", frameon=False)
    return figure


def save_figure(figure: Figure, path: Path, *, own: bool = False) -> None:
    """Write PNG, SVG or PDF by the path's ending; the same figure gives the same bytes.

    own: as in `write_asked`.
    """
    import matplotlib as mpl

    kind = path.suffix.removeprefix(".").lower()
    buffer = io.BytesIO()
    with mpl.rc_context({"savefig.dpi": 150, **SAVING}):
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    write_asked(path, buffer.getvalue(), own=own)
