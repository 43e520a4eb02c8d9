"""The plot of one trial: PSNR_GT of its replicates over iterations."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from dipstage.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from search.store.records import Trial
    from search.store.run import RunRecord

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")
_NAMED = 12
"""Replicates that a legend has room for."""


def plot_trial(run: RunRecord, trial: Trial) -> Figure:
    """The output that the search optimises: a line for each replicate, its maximum marked."""
    from matplotlib.figure import Figure

    output = run.objective.output
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for start in trial.schedule.starts[1:] if trial.schedule else ():
        axes.axvline(start, color="0.85", linewidth=0.8)
    for i, key in enumerate(trial.replicates):
        try:
            curve = run.curves(trial, key)[f"psnr_gt_{output}_db"]
        except (InputError, KeyError):
            continue
        colour = _COLOURS[i % len(_COLOURS)]
        line = _LINES[i // len(_COLOURS) % len(_LINES)]
        peak = int(np.argmax(curve))
        label = f"{key}: {curve[peak]:.2f} dB at {peak}" if i < _NAMED else None
        axes.plot(curve, line, color=colour, linewidth=1.1, label=label)
        axes.plot(peak, curve[peak], "o", color=colour, markersize=4)
    axes.set_xlabel("iterations (vertical lines: stage switches)")
    axes.set_ylabel("PSNR against ground truth (dB)")
    axes.set_title(f"{run.name}, {trial.name}: {output} output", fontsize=10, parse_math=False)
    axes.grid(alpha=0.25, axis="y")
    if axes.lines and trial.replicates:
        legend = axes.legend(loc="lower right", frameon=False, fontsize=7)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
