"""The plot of a front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.pareto import Score
from search.run import Run, Trial, front_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dipstage.files import Measure

_MARKERS = "DsP^vX<>*"


def plot_front(run: Run) -> Figure:
    """Steps to max against max PSNR_GT: sampled trials, the front, candidates by name.

    Kinds differ by shape and lightness, so that the plot can be read in grey.
    """
    from matplotlib.figure import Figure

    records = run.records()
    trials = [trial for trial in records if trial.values is not None]
    members = front_of(trials)
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    raced = [Score(*trial.estimate) for trial in records if trial.estimate is not None]
    if raced:
        axes.plot(
            [score.steps_to_max for score in raced],
            [score.max_psnr_gt_db for score in raced],
            "x",
            color="0.72",
            markersize=5,
            label="raced (predicted)",
            zorder=1,
        )
    _scatter(
        axes,
        [t for t in trials if not t.candidate and t not in members],
        "o",
        "0.72",
        "sampled, beaten",
    )
    if members:
        axes.step(
            [t.score.steps_to_max for t in members],
            [t.score.max_psnr_gt_db for t in members],
            where="post",
            color="#0072B2",
            linewidth=1.2,
            zorder=1,
        )
        knee = run.pick("knee").score
        axes.plot(
            knee.steps_to_max,
            knee.max_psnr_gt_db,
            "o",
            markersize=13,
            markerfacecolor="none",
            color="black",
            label="knee",
            linestyle="none",
        )
    _scatter(axes, [t for t in members if not t.candidate], "o", "#0072B2", "sampled, front")
    candidates = [t for t in trials if t.candidate]
    for i, trial in enumerate(candidates):
        _scatter(axes, [trial], _MARKERS[i % len(_MARKERS)], "#D55E00", trial.name)
    for trial in (t for t in trials if t in members or t.candidate):
        axes.annotate(
            trial.candidate or str(trial.number),
            (trial.score.steps_to_max, trial.score.max_psnr_gt_db),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=8,
            annotation_clip=False,
        )
    objective = run.objective
    n = max((len(t.outcomes) for t in trials), default=0)
    axes.set_xlabel(f"{objective.steps_words} (iterations)")
    axes.set_ylabel("max PSNR against ground truth (dB)")
    axes.set_title(f"{run.name}: {objective.output} output, mean over {n} replicates", fontsize=10)
    axes.grid(alpha=0.25)
    axes.margins(0.12)
    if trials:
        axes.legend(frameon=False, fontsize=8)
    return figure


def plot_attainment(run: Run, ranked: Sequence[tuple[Trial, Measure]], budget: int) -> Figure:
    """Best PSNR_GT by iteration: of any schedule (the envelope), of the best one for the budget,
    and of the candidates. Mean over replicates.
    """
    from matplotlib.figure import Figure

    from search.attainment import attainment, envelope, psnr_gt_curves

    output, whole = run.objective.output, run.experiment.trainer.iterations
    curves = {trial.number: psnr_gt_curves(run, trial, output) for trial, _ in ranked}
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    best = ranked[0][0]
    axes.plot(envelope(list(curves.values()), whole), color="0.6", linewidth=5, label="envelope")
    axes.plot(attainment(curves[best.number], whole), color="#0072B2", label=best.name)
    styles = ["--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
    candidates = [trial for trial, _ in ranked if trial.candidate and trial is not best]
    for i, trial in enumerate(sorted(candidates, key=lambda trial: trial.number)):
        style = styles[i % len(styles)]
        line = attainment(curves[trial.number], whole)
        axes.plot(line, color="#D55E00", linestyle=style, label=trial.name)
    axes.axvline(budget - 1, color="black", linewidth=0.8)
    axes.annotate(f"{budget} iterations", (budget - 1, 0.02), xycoords=("data", "axes fraction"),
                  xytext=(4, 0), textcoords="offset points", fontsize=8)  # fmt: skip
    axes.set_xlabel("iterations")
    axes.set_ylabel("best PSNR against ground truth so far (dB)")
    n = ranked[0][1].n
    axes.set_title(
        f"{run.name}: attainment, {output} output, mean over {n} replicates", fontsize=10
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _scatter(axes: Axes, trials: list[Trial], marker: str, colour: str, label: str) -> None:
    if trials:
        axes.scatter(
            [t.score.steps_to_max for t in trials],
            [t.score.max_psnr_gt_db for t in trials],
            marker=marker,
            color=colour,
            edgecolors="black" if colour != "0.72" else "0.5",
            linewidths=0.6,
            s=36,
            label=label,
            zorder=3 if colour != "0.72" else 2,
        )
