"""PSNR_GT over iterations, for several schedules on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.schedules.stopping import OUTPUTS, Output
from dipstage.terminal.numbers import at, over_replicates
from search.analysis.best_so_far import psnr_gt_curves
from search.plots.chosen import choose, legend_labels
from search.plots.spread import Errors, Spread, spread_of
from search.plots.style import Plot, Style, drawing, legend_below, line_styles
from search.store.records import Trial
from search.store.run import RunRecord

Outputs: TypeAlias = Literal["raw", "smoothed", "both"]

_SCORE = "max_psnr_gt_db"


def plot_curves(
    run: RunRecord,
    which: Sequence[str | int] = (),
    output: Outputs | None = None,
    style: Style = "screen",
    errors: Errors = "paired",
    from_db: float | None = None,
) -> Plot:
    """Draw the mean over replicates with a band, stage switches as ticks and maxima as points.

    A point is the mean of the replicates' maxima at the mean of their steps, as in the tables. It
    is a little above the curve, because replicates reach their maxima at different iterations.

    which: numbers, names of candidates, or knee, psnr, steps; by default the knee and the
    candidates. output: by default the output that is optimised. from_db: lower end of the axis.
    """
    if output not in (None, "both", *OUTPUTS):
        raise InputError(f"output must be raw, smoothed or both, got {output!r}")
    outputs: tuple[Output, ...] = OUTPUTS if output == "both" else (output or run.objective.output,)
    trials = choose(run, which, lambda trial: bool(trial.replicates))
    height = (0.7 if style == "screen" else 1.0) * (1 if len(outputs) == 1 else 1.5)
    with drawing(style, height) as figure:
        panels = figure.subplots(len(outputs), 1, sharex=True, squeeze=False)[:, 0]
        spreads = [spread_of(run, each, errors, [_SCORE]) for each in outputs]
        for axes, each, spread in zip(panels, outputs, spreads, strict=True):
            _draw(axes, run, trials, each, spread, maxima=len(outputs) == 1 and style == "screen")
            axes.set_ylabel(f"PSNR$_{{GT}}$, {each} (dB)")
            axes.set_ylim(bottom=from_db)
        panels[-1].set_xlabel("iterations")
        panels[-1].set_xlim(left=0)
        legend_below(figure, panels[-1], columns=2)
        n = max(len(trial.replicates) for trial in trials)
        words = f"{' and '.join(outputs)} output, mean {over_replicates(n)}"
        band = f"; band: {spreads[0].words}" if spreads[0].words and n > 1 else ""
        figure.explain(
            f"{run.name}: {words}",
            f"PSNR_GT over iterations; {words}{band}, until the first replicate ends; points: mean "
            "of the replicates' maxima",
        )
    return figure


def _draw(
    axes: Axes,
    run: RunRecord,
    trials: Sequence[Trial],
    output: Output,
    spread: Spread,
    maxima: bool,
) -> None:
    """Draw one output. maxima: whether the legend gives the maximum of each schedule."""
    names, lines = legend_labels(run, trials), line_styles(run, trials)
    for trial, name, line in zip(trials, names, lines, strict=True):
        mean, half = mean_curve(run, trial, output, spread)
        best = trial.measure(output, _SCORE).mean
        steps = trial.measure(output, "steps_to_max").mean
        censored = any(each.scores(output).censored for each in trial.replicates.values())
        label = f"{name}: {at(best, steps, censored=censored)}" if maxima else name
        axes.plot(mean, label=label, **line)
        if half.any():
            low, high = mean - half, mean + half
            axes.fill_between(
                np.arange(len(mean)), low, high, color=line["color"], alpha=0.15, linewidth=0
            )
        starts = trial.schedule.starts[1:] if trial.schedule else ()
        switches = [start for start in starts if start < len(mean)]
        axes.plot(switches, mean[switches], "|", color=line["color"], alpha=0.8)
        below = min(round(steps), len(mean) - 1)
        stem = [mean[below], best]
        axes.plot([below, steps], stem, ":", color=line["color"], linewidth=0.8)
        axes.plot(steps, best, "o", color=line["color"], mec="black", mew=0.6, zorder=4)
    axes.plot([], [], "|", color="0.3", label="stage switch")
    axes.plot([], [], "o", color="white", mec="black", mew=0.6, label="mean of the maxima")


def mean_curve(
    run: RunRecord, trial: Trial, output: Output, spread: Spread
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over a trial's finished replicates and half the width of its band, in dB.

    Both, (iterations,), end where the first replicate ended: beyond, the mean would be over fewer
    pictures. InputError if a file cannot be read.
    """
    curves = psnr_gt_curves(run, trial, output)
    shared = min(len(curve) for curve in curves)
    table = np.array([curve[:shared] for curve in curves], np.float64)
    if spread.kind == "none" or len(curves) < 2:
        return table.mean(axis=0), np.zeros(shared)
    offsets = [spread.adjusted(_SCORE, name, 0.0) for name in trial.replicates]
    std = np.std(table + np.array(offsets)[:, None], axis=0, ddof=1)
    return table.mean(axis=0), std * spread.factor(len(curves))
