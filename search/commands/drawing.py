"""plot: a run's figures, for a screen or for print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError
from search.commands.shared import of_a_run, writing

if TYPE_CHECKING:
    from search.plots import Plot
    from search.store.run import RunRecord

SUFFIXES = (".svg", ".pdf", ".png")
_OF = {
    "trials": ("curves", "schedules"),
    "curves_of": ("curves",),
    "from_db": ("front", "curves"),
    "level": ("schedules",),
    "errors": ("front", "curves"),
    "budget": ("attainment",),
}
"""The figures that an option is for."""
_NAMES = {"curves_of": "--curves-of", "from_db": "--from-db"}


@click.command()
@of_a_run  # Here, as RUN comes before the figure.
@click.argument(
    "figure", type=click.Choice(["front", "curves", "schedules", "importance", "attainment"])
)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to: .svg, .pdf or .png.",
)
@click.option(
    "--style",
    type=click.Choice(["screen", "paper"]),
    default="screen",
    show_default=True,
    help="paper is as wide as a column (3.4 in), in 8 pt, without a title.",
)
@click.option(
    "--trials",
    metavar="NAME,NAME…",
    help="For curves and schedules: trials by number, candidates by name, or knee, psnr, steps "
    "[default: the front's knee and the candidates].",
)
@click.option(
    "--curves-of",
    type=click.Choice(["raw", "smoothed", "both"]),
    help="For curves: which output's [default: the one that is optimised].",
)
@click.option(
    "--from-db",
    type=float,
    metavar="DB",
    help="For front and curves: where the axis of PSNR_GT begins.",
)
@click.option(
    "--level",
    type=click.Choice(["stage", "alpha-bar", "sigma"]),
    help="For schedules: the stage's index, the noise level, or the noise added [default: stage].",
)
@click.option(
    "--errors",
    type=click.Choice(["paired", "std", "none"]),
    help="For front and curves: bars and bands of the paired standard error, of the standard "
    "deviation over replicates, or none [default: paired].",
)
@click.option(
    "--budget",
    type=int,
    metavar="N",
    help="For attainment: the schedule that is best within N iterations is drawn beside the "
    "candidates [default: the search's budget].",
)
def plot(
    name: str,
    figure: str,
    output: Path,
    style: str,
    storage: str | None,
    runs_dir: Path,
    **options: Any,
) -> None:
    """Draw a figure of a run: its front, PSNR_GT curves, schedules as staircases, the importance of
    its parameters, or the best PSNR_GT so far over iterations.

    Prints what a caption has to say of it. The same run gives the same file, byte for byte.
    """
    given = {key: value for key, value in options.items() if value is not None}
    check_suffix(output, "--output")
    for key in given:
        if figure not in _OF[key]:
            option = _NAMES.get(key, f"--{key}")
            raise InputError(f"{option} is for {' and '.join(_OF[key])}, not for {figure}")
    from search.store.run import RunRecord

    run = RunRecord.open(name, runs_dir, storage)
    from search.analysis.front import front_of

    if not front_of(run.records()):
        raise InputError(f"run {name!r} has no complete trial yet")
    drawn = _FIGURES[figure](run, style, given)
    from dipstage.terminal.plots import save_figure

    with writing(output):
        save_figure(drawn, output)
    click.echo(f"{output} written: {drawn.caption}")


def check_suffix(path: Path, option: str) -> None:
    """InputError for a file that is none of the formats."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{option} must end in .png, .svg or .pdf, got {path.name!r}")


def _front(run: RunRecord, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots import plot_front

    return plot_front(run, style, **given)


def _curves(run: RunRecord, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots import plot_curves

    output, errors = given.get("curves_of"), given.get("errors", "paired")
    return plot_curves(run, _trials(run, given), output, style, errors, given.get("from_db"))


def _schedules(run: RunRecord, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots import plot_schedules

    return plot_schedules(run, _trials(run, given), given.get("level", "stage"), style)


def _importance(run: RunRecord, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots import plot_importance

    return plot_importance(run, style)


def _attainment(run: RunRecord, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots import plot_attainment

    return plot_attainment(run, budget=given.get("budget"), style=style)


def _trials(run: RunRecord, given: dict[str, Any]) -> list[str]:
    from search.plots.chosen import split_names

    return split_names(run, given["trials"]) if "trials" in given else []


_FIGURES: dict[str, Callable[[RunRecord, Any, dict[str, Any]], Plot]] = {
    "front": _front,
    "curves": _curves,
    "schedules": _schedules,
    "importance": _importance,
    "attainment": _attainment,
}
