"""The front: maximum PSNR_GT over steps to the maximum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from dipstage.terminal.numbers import over_replicates
from dipstage.terminal.palette import BLUE, GREY, VERMILLION
from search.analysis.front import front_of, knee_of
from search.experiment.objectives import Score
from search.plots.labels import label_points
from search.plots.spread import Errors, Spread, spread_of
from search.plots.style import SMALL, Plot, Style, drawing, legend_below, math_label
from search.store.records import Trial, finite
from search.store.run import RunRecord

_Place: TypeAlias = tuple[float, float]
"""The second objective, then the first."""
_Stroke: TypeAlias = tuple[float, float, float, float]
"""A horizontal or vertical line, from (x, y) to (x, y)."""


def plot_front(
    run: RunRecord, style: Style = "screen", errors: Errors = "paired", from_db: float | None = None
) -> Plot:
    """Draw the sampled trials, the front by number and the candidates by name, with error bars.

    Kinds of trials differ in shape and lightness. A raced trial, which was stopped early, is drawn
    at its predicted score.

    errors: see `search.plots.spread`. from_db: lower end of the axis; the caption says how many
    trials are below it.
    """
    records, objective = run.records(), run.objective
    everything = finite(records)
    members = front_of(everything)
    trials = [t for t in everything if from_db is None or t.score.max_psnr_gt_db >= from_db]
    predicted = [Score(*t.estimate) for t in records if t.estimate is not None]
    estimates = [(each.steps_to_max, each.max_psnr_gt_db) for each in predicted if each.finite]
    raced = [place for place in estimates if from_db is None or place[1] >= from_db]
    hidden = len(everything) + len(estimates) - len(trials) - len(raced)
    keys = (objective.quality.key, objective.cost.key)
    spread = spread_of(run, objective.output, errors, keys)
    with drawing(style, 0.72 if style == "screen" else 0.95) as figure:
        axes = figure.subplots()
        bend = knee_of(members)
        knee = _places([] if bend is None else [bend])
        infeasible = [t for t in trials if not t.candidate and not t.feasible]
        dominated = [t for t in trials if not t.candidate and t.feasible and t not in members]
        named = [t for t in trials if t.candidate or t in members]
        strokes = [*_bars(axes, named, run, spread), *_stairs(_places(members))]
        _draw(axes, raced, infeasible, dominated, named, _places(members), knee)
        axes.set_xlabel(objective.cost.label)
        axes.set_ylabel(math_label(objective.quality.label))
        axes.margins(0.08)
        axes.set_ylim(bottom=from_db)
        legend_below(figure, axes, columns=2 if style == "paper" else 3)
        n = max((len(t.replicates) for t in everything), default=0)
        bars = f" {spread.words}" if spread.words and n > 1 else ""
        words = f"{objective.output} output, mean{bars} {over_replicates(n)}"
        below = f"; {hidden} below {from_db:g} {objective.quality.unit} not shown" if hidden else ""
        figure.explain(f"{run.name}: {words}{below}", f"front of {len(members)}; {words}{below}")
        names = [trial.candidate or str(trial.number) for trial in named]
        places = [(*place, name) for place, name in zip(_places(named), names, strict=True)]
        others = [*_places([*dominated, *infeasible]), *raced]
        label_points(figure, axes, places, others, SMALL[style], strokes)
    return figure


def _draw(
    axes: Axes,
    raced: Sequence[_Place],
    infeasible: Sequence[Trial],
    dominated: Sequence[Trial],
    named: Sequence[Trial],
    members: Sequence[_Place],
    knee: Sequence[_Place],
) -> None:
    found = _places([trial for trial in named if not trial.candidate])
    candidates = _places([trial for trial in named if trial.candidate and trial.feasible])
    violating = _places([trial for trial in named if not trial.feasible])
    steps, quality = np.reshape(members, (-1, 2)).T  # There may be none.
    axes.step(steps, quality, where="post", color=BLUE, zorder=1.5)
    _points(axes, raced, "raced (predicted)", marker="x", color=GREY)
    _points(axes, _places(infeasible), "sampled, infeasible", marker="v", mfc="none", color=GREY)
    _points(axes, _places(dominated), "sampled, dominated", marker="o", color=GREY, mec="0.5")
    _points(axes, found, "sampled, front", marker="o", color=BLUE, mec="black")
    _points(axes, violating, "candidate, infeasible", marker="v", mfc="none", color=VERMILLION)
    _points(axes, candidates, "candidate", marker="D", color=VERMILLION, mec="black")
    _points(axes, knee, "knee", marker="o", color="black", mfc="none", scale=2)


def _places(trials: Sequence[Trial]) -> list[_Place]:
    """Return both objectives, also where the first alone is optimised."""
    return [(cost, quality) for t in trials if t.values for quality, cost in [t.values]]


def _points(axes: Axes, at: Sequence[_Place], label: str, scale: float = 1, **look: Any) -> None:
    if at:
        size = scale * mpl.rcParams["lines.markersize"]
        axes.plot(*np.transpose(at), linestyle="none", label=label, markersize=size, **look)


def _stairs(members: Sequence[_Place]) -> list[_Stroke]:
    """Return the lines of the front, two from each member to the next."""
    found = []
    for (x, y), (to_x, to_y) in pairwise(members):
        found += [(x, y, to_x, y), (to_x, y, to_x, to_y)]
    return found


def _bars(axes: Axes, trials: Sequence[Trial], run: RunRecord, spread: Spread) -> list[_Stroke]:
    """Draw error bars, and return their lines."""
    output, steps = run.objective.output, run.objective.cost.key
    quality, places = run.objective.quality.key, _places(trials)
    halves = [(spread.of(t, output, steps), spread.of(t, output, quality)) for t in trials]
    table = np.hstack([places, halves])
    if any(half != (0.0, 0.0) for half in halves):
        x, y, across, up = table.T
        axes.errorbar(x, y, up, across, fmt="none", ecolor="0.5", elinewidth=0.7, zorder=1)
    found = []
    for x, y, across, up in table:
        found += [(x - across, y, x + across, y), (x, y - up, x, y + up)]
    return found
