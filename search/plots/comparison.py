"""Searches side by side: hypervolume over trials and over hours of training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from search.analysis.comparison import history, labels_of
from search.plots.style import FOUND, legend_label, show_names
from search.store.run import RunRecord


def plot_comparison(runs: Sequence[RunRecord]) -> Figure:
    """Draw the hypervolume of each search over trials and over hours of training."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    labels = labels_of(runs)
    for i, run in enumerate(runs):
        moments = history(run)
        areas = [moment.hypervolume for moment in moments]
        hours = [moment.training_hours for moment in moments]
        colour, dashes = FOUND[i % len(FOUND)]
        for axes, places in ((left, [m.trials for m in moments]), (right, hours)):
            axes.step(
                places, areas, where="post", color=colour, linestyle=dashes,
                label=legend_label(labels[run.folder]),
            )  # fmt: skip
            axes.grid(alpha=0.25)
    left.set_xlabel("trials")
    right.set_xlabel("hours of training, all workers together")
    left.set_ylabel("hypervolume (dB · iterations)")
    show_names(left.legend(frameon=False, fontsize=8))
    return figure
