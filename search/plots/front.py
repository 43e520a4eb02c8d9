"""The front: maximum PSNR_GT over steps to the maximum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes

from dipstage.terminal.numbers import over_replicates
from dipstage.terminal.palette import BLUE, GREY, VERMILLION
from search.analysis.front import front_of, knee_of
from search.experiment.objectives import Score
from search.plots.labels import label_points
from search.plots.spread import Errors, Spread, spread_of
from search.plots.style import SMALL, Plot, Style, drawing, legend_below, math_label
from search.store.records import Trial
from search.store.run import RunRecord

_Stroke: TypeAlias = tuple[float, float, float, float]
"""A horizontal or vertical line, from (x, y) to (x, y)."""


def plot_front(
    run: RunRecord,
    style: Style = "screen",
    errors: Errors = "paired",
    from_db: float | None = None,
) -> Plot:
    """Draw the sampled trials, the front by number and the candidates by name, with error bars.

    Kinds of trials differ in shape and lightness. A raced trial, which was stopped early, is drawn
    at its predicted score.

    errors: see `search.plots.spread`. from_db: lower end of the axis; the caption says how many
    trials are below it.
    """
    records, objective = run.records(), run.objective
    everything = [trial for trial in records if trial.values is not None]
    members = front_of(everything)
    trials = [t for t in everything if from_db is None or t.score.max_psnr_gt_db >= from_db]
    estimates = [Score(*trial.estimate) for trial in records if trial.estimate is not None]
    raced = [s for s in estimates if from_db is None or s.max_psnr_gt_db >= from_db]
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
        places = [
            (*_point(place), _name(t)) for t, place in zip(named, _places(named), strict=True)
        ]
        others = [_point(place) for place in [*_places([*dominated, *infeasible]), *raced]]
        label_points(figure, axes, places, others, SMALL[style], strokes)
    return figure


def _draw(
    axes: Axes,
    raced: Sequence[Score],
    infeasible: Sequence[Trial],
    dominated: Sequence[Trial],
    named: Sequence[Trial],
    members: Sequence[Score],
    knee: Sequence[Score],
) -> None:
    found = _places([trial for trial in named if not trial.candidate])
    candidates = _places([trial for trial in named if trial.candidate])
    axes.step(
        [score.steps_to_max for score in members],
        [score.max_psnr_gt_db for score in members],
        where="post",
        color=BLUE,
        zorder=1.5,
    )
    _points(axes, raced, "raced (predicted)", marker="x", color=GREY)
    _points(axes, _places(infeasible), "sampled, infeasible", marker="v", mfc="none", color=GREY)
    _points(axes, _places(dominated), "sampled, dominated", marker="o", color=GREY, mec="0.5")
    _points(axes, found, "sampled, front", marker="o", color=BLUE, mec="black")
    _points(axes, candidates, "candidate", marker="D", color=VERMILLION, mec="black")
    _points(axes, knee, "knee", marker="o", color="black", mfc="none", scale=2)


def _name(trial: Trial) -> str:
    return trial.candidate or str(trial.number)


def _places(trials: Sequence[Trial]) -> list[Score]:
    """Return both objectives, also where the first alone is optimised."""
    return [Score(*trial.values) for trial in trials if trial.values is not None]


def _point(score: Score) -> tuple[float, float]:
    return score.steps_to_max, score.max_psnr_gt_db


def _points(axes: Axes, scores: Sequence[Score], label: str, scale: float = 1, **look: Any) -> None:
    if scores:
        axes.plot(
            [score.steps_to_max for score in scores],
            [score.max_psnr_gt_db for score in scores],
            linestyle="none",
            label=label,
            markersize=scale * mpl.rcParams["lines.markersize"],
            **look,
        )


def _stairs(members: Sequence[Score]) -> list[_Stroke]:
    """Return the lines of the front, two from each member to the next."""
    places = [_point(member) for member in members]
    found = []
    for (x, y), (to_x, to_y) in pairwise(places):
        found += [(x, y, to_x, y), (to_x, y, to_x, to_y)]
    return found


def _bars(axes: Axes, trials: Sequence[Trial], run: RunRecord, spread: Spread) -> list[_Stroke]:
    """Draw error bars, and return their lines."""
    output, steps = run.objective.output, run.objective.cost.key
    quality, places = run.objective.quality.key, _places(trials)
    halves = [(spread.of(t, output, steps), spread.of(t, output, quality)) for t in trials]
    if any(half != (0.0, 0.0) for half in halves):
        axes.errorbar(
            [place.steps_to_max for place in places],
            [place.max_psnr_gt_db for place in places],
            xerr=[across for across, _ in halves],
            yerr=[up for _, up in halves],
            fmt="none",
            ecolor="0.5",
            elinewidth=0.7,
            zorder=1,
        )
    found = []
    for (x, y), (across, up) in zip(map(_point, places), halves, strict=True):
        found += [(x - across, y, x + across, y), (x, y - up, x, y + up)]
    return found
