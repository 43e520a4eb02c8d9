"""The front: steps to max against max PSNR_GT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from search.pareto import Score
from search.plots.labels import name_points
from search.plots.spread import Errors, Spread, spread_of
from search.plots.style import BLUE, GREY, SMALL, VERMILLION, Plot, Style, drawing, legend_below
from search.run import Run, Trial, front_of


def plot_front(run: Run, style: Style = "screen", errors: Errors = "paired") -> Plot:
    """Sampled trials, the front by number, candidates by name, with bars over replicates.

    Kinds differ by shape and lightness. A trial that is raced stands where it was predicted.
    errors: see `search.plots.spread`.
    """
    records, objective = run.records(), run.objective
    trials = [trial for trial in records if trial.values is not None]
    members = front_of(trials)
    candidates = [trial for trial in trials if trial.candidate]
    beaten = [t for t in trials if not t.candidate and t not in members]
    raced = [Score(*trial.estimate) for trial in records if trial.estimate is not None]
    keys = ("max_psnr_gt_db", objective.steps_key)
    spread = spread_of(run, objective.output, errors, keys)
    with drawing(style, 0.72 if style == "screen" else 0.95) as figure:
        axes = figure.subplots()
        _points(axes, raced, "raced (predicted)", marker="x", color=GREY)
        _points(axes, _scores(beaten), "sampled, beaten", marker="o", color=GREY, mec="0.5")
        if members:
            _staircase(axes, _scores(members))
        _bars(axes, [t for t in trials if t in members or t.candidate], run, spread)
        found = [t for t in members if not t.candidate]
        _points(axes, _scores(found), "sampled, front", marker="o", color=BLUE, mec="black")
        _points(axes, _scores(candidates), "candidate", marker="D", color=VERMILLION, mec="black")
        if members:
            _points(axes, [run.pick("knee").score], "knee", marker="o", color="black",
                    mfc="none", scale=2)  # fmt: skip
        axes.set_xlabel(f"{objective.steps_words} (iterations)")
        axes.set_ylabel("max PSNR$_{GT}$ (dB)")
        axes.margins(0.08)
        legend_below(figure, axes, columns=3)
        n = max((len(t.outcomes) for t in trials), default=0)
        words = f"{objective.output} output, mean{_bar_words(spread, n)} over {n} replicates"
        figure.explain(f"{run.name}: {words}", f"front of {len(members)}; {words}")
        shown = [t for t in trials if t in members or t.candidate]
        name_points(
            figure,
            axes,
            [(t.score.steps_to_max, t.score.max_psnr_gt_db, _name(t)) for t in shown],
            [(s.steps_to_max, s.max_psnr_gt_db) for s in [*_scores(beaten), *raced]],
            SMALL[style],
        )
    return figure


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


def _staircase(axes: Axes, scores: Sequence[Score]) -> None:
    axes.step(
        [score.steps_to_max for score in scores],
        [score.max_psnr_gt_db for score in scores],
        where="post",
        color=BLUE,
        zorder=1,
    )


def _bars(axes: Axes, trials: Sequence[Trial], run: Run, spread: Spread) -> None:
    output, steps = run.objective.output, run.objective.steps_key
    halves = [(spread.of(t, output, steps), spread.of(t, output, "max_psnr_gt_db")) for t in trials]
    if any(half != (0.0, 0.0) for half in halves):
        axes.errorbar(
            [t.score.steps_to_max for t in trials],
            [t.score.max_psnr_gt_db for t in trials],
            xerr=[across for across, _ in halves],
            yerr=[up for _, up in halves],
            fmt="none",
            ecolor="0.35",
            elinewidth=0.7,
            zorder=1.5,
        )


def _bar_words(spread: Spread, n: int) -> str:
    return f" {spread.words}" if spread.words and n > 1 else ""
