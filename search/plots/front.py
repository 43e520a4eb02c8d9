"""The front: maximum PSNR_GT over steps to the maximum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from dipstage.terminal.palette import BLUE, GREY, VERMILLION
from search.analysis.front import front_of, knee_of
from search.experiment.objectives import Score
from search.plots.labels import label_points
from search.plots.spread import Errors, Spread, spread_of
from search.plots.style import SMALL, Plot, Style, drawing, legend_below
from search.store.records import Trial
from search.store.run import RunRecord


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
    spread = spread_of(run, objective.output, errors, ("max_psnr_gt_db", objective.steps_key))
    with drawing(style, 0.72 if style == "screen" else 0.95) as figure:
        axes = figure.subplots()
        bend = knee_of(members)
        knee = [] if bend is None else [bend.score]
        dominated = [t for t in trials if not t.candidate and t not in members]
        named = [t for t in trials if t.candidate or t in members]
        _bars(axes, named, run, spread)
        _draw(axes, raced, dominated, named, _scores(members), knee)
        axes.set_xlabel(f"{objective.steps_words} (iterations)")
        axes.set_ylabel("max PSNR$_{GT}$ (dB)")
        axes.margins(0.08)
        axes.set_ylim(bottom=from_db)
        legend_below(figure, axes, columns=2 if style == "paper" else 3)
        n = max((len(t.replicates) for t in everything), default=0)
        bars = f" {spread.words}" if spread.words and n > 1 else ""
        words = f"{objective.output} output, mean{bars} over {n} replicates"
        below = f"; {hidden} below {from_db:g} dB not shown" if hidden else ""
        figure.explain(f"{run.name}: {words}{below}", f"front of {len(members)}; {words}{below}")
        places = [(t.score.steps_to_max, t.score.max_psnr_gt_db, _name(t)) for t in named]
        others = [(s.steps_to_max, s.max_psnr_gt_db) for s in [*_scores(dominated), *raced]]
        label_points(figure, axes, places, others, SMALL[style])
    return figure


def _draw(
    axes: Axes,
    raced: Sequence[Score],
    dominated: Sequence[Trial],
    named: Sequence[Trial],
    members: Sequence[Score],
    knee: Sequence[Score],
) -> None:
    found = _scores([trial for trial in named if not trial.candidate])
    candidates = _scores([trial for trial in named if trial.candidate])
    axes.step(
        [score.steps_to_max for score in members],
        [score.max_psnr_gt_db for score in members],
        where="post",
        color=BLUE,
        zorder=1,
    )
    _points(axes, raced, "raced (predicted)", marker="x", color=GREY)
    _points(axes, _scores(dominated), "sampled, dominated", marker="o", color=GREY, mec="0.5")
    _points(axes, found, "sampled, front", marker="o", color=BLUE, mec="black")
    _points(axes, candidates, "candidate", marker="D", color=VERMILLION, mec="black")
    _points(axes, knee, "knee", marker="o", color="black", mfc="none", scale=2)


def _name(trial: Trial) -> str:
    return trial.candidate or str(trial.number)


def _scores(trials: Sequence[Trial]) -> list[Score]:
    return [trial.score for trial in trials]


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


def _bars(axes: Axes, trials: Sequence[Trial], run: RunRecord, spread: Spread) -> None:
    output, steps = run.objective.output, run.objective.steps_key
    halves = [(spread.of(t, output, steps), spread.of(t, output, "max_psnr_gt_db")) for t in trials]
    if any(half != (0.0, 0.0) for half in halves):
        axes.errorbar(
            [t.score.steps_to_max for t in trials],
            [t.score.max_psnr_gt_db for t in trials],
            xerr=[across for across, _ in halves],
            yerr=[up for _, up in halves],
            fmt="none",
            ecolor="0.5",
            elinewidth=0.7,
            zorder=1.5,
        )
