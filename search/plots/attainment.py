"""Plot of the best PSNR_GT so far over iterations."""

from __future__ import annotations

from collections.abc import Sequence

from dipstage.schedules.schedule_file import Measure
from dipstage.terminal.numbers import over_replicates
from search.analysis.best_so_far import best_so_far, envelope, psnr_gt_curves, rank_by_budget
from search.analysis.front import nothing_yet
from search.plots.chosen import MAX_LINES
from search.plots.style import SMALL, Plot, Style, drawing, legend_below, legend_label, line_styles
from search.store.records import Trial
from search.store.run import RunRecord


def plot_attainment(
    run: RunRecord,
    ranked: Sequence[tuple[Trial, Measure]] | None = None,
    budget: int | None = None,
    style: Style = "screen",
) -> Plot:
    """Draw the best PSNR_GT so far over iterations.

    The plot shows the best schedule for a budget, the candidates and the envelope of all schedules.
    Each curve is a mean over replicates.
    ranked: result of `rank_by_budget`, if it is already known. budget: in iterations, by default
    the search's own.
    """
    output, whole = run.objective.output, run.experiment.trainer.iterations
    budget = whole if budget is None else budget
    ranked = rank_by_budget(run, budget) if ranked is None else ranked
    if not ranked:
        raise nothing_yet(run, run.records())
    curves = {trial.number: psnr_gt_curves(run, trial, output) for trial, _ in ranked}
    best, measure = ranked[0]
    candidates = [trial for trial, _ in ranked if trial.candidate and trial is not best]
    shown = [best, *sorted(candidates, key=lambda trial: trial.number)][:MAX_LINES]
    words = f"{output} output, mean {over_replicates(measure.n)}"
    with drawing(style, 0.66 if style == "screen" else 0.95) as figure:
        axes = figure.subplots()
        around = envelope(list(curves.values()), whole)
        axes.plot(around, color="0.8", linewidth=5, label="envelope", solid_capstyle="butt")
        for trial, line in zip(shown, line_styles(run, shown), strict=True):
            axes.plot(
                best_so_far(curves[trial.number], whole), label=legend_label(trial.name), **line
            )
        if budget < whole:
            axes.axvline(budget - 1, color="black", linewidth=0.8)
            axes.annotate(
                f"{budget} iterations",
                (budget - 1, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if budget > whole / 2 else 4, 0),
                textcoords="offset points",
                ha="right" if budget > whole / 2 else "left",
                fontsize=SMALL[style],
            )
        axes.set_xlim(0, whole)
        axes.set_xlabel("iterations")
        axes.set_ylabel("best PSNR$_{GT}$ so far (dB)")
        legend_below(figure, axes, columns=2 if style == "paper" else 3)
        figure.explain(
            f"{run.name}: best so far, {words}",
            f"best PSNR_GT by each iteration; {words}; envelope: the highest of "
            f"{len(ranked)} schedules; {best.name} is best within {budget} iterations",
        )
    return figure
