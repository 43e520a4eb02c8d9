"""plot: the figures of a run, for a screen or for print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError
from dipstage.terminal.console import Finite
from search.commands.shared import echo_written, file_option, with_run, write_figure

if TYPE_CHECKING:
    from search.plots.style import Plot
    from search.store.run import RunRecord

KINDS = {".svg": "an SVG", ".pdf": "a PDF", ".png": "a PNG"}
_FIGURES_OF_OPTION = {
    "trials": ("curves", "schedules"),
    "curves_of": ("curves",),
    "from_db": ("front", "curves"),
    "level": ("schedules",),
    "errors": ("front", "curves"),
    "budget": ("attainment",),
}
"""The figures that each option applies to."""
_OPTION_NAMES = {"curves_of": "--curves-of", "from_db": "--from-db"}


@click.command()
@with_run  # Placed first, so that RUN comes before the figure.
@click.argument(
    "figure", type=click.Choice(["front", "curves", "schedules", "importance", "attainment"])
)
@file_option("--output", "File to write: .svg, .pdf or .png.", required=True)
@click.option(
    "--style",
    type=click.Choice(["screen", "paper"]),
    default="screen",
    show_default=True,
    help="paper fits a column of print: 3.4 in wide, text in 8 pt, no title.",
)
@click.option(
    "--trials",
    metavar="NAME,NAME…",
    help="For curves and schedules: trials by number, candidates by name, or knee, psnr, steps "
    "[default: the knee of the front and the candidates].",
)
@click.option(
    "--curves-of",
    type=click.Choice(["raw", "smoothed", "both"]),
    help="For curves: the output to draw [default: the output that is optimised].",
)
@click.option(
    "--from-db",
    type=Finite(),
    metavar="DB",
    help="For front and curves: lower end of the PSNR_GT axis.",
)
@click.option(
    "--level",
    type=click.Choice(["stage", "alpha-bar", "sigma"]),
    help="For schedules: the stage's index, the noise level, or the noise added [default: stage].",
)
@click.option(
    "--errors",
    type=click.Choice(["paired", "std", "none"]),
    help="For front and curves: show the paired standard error or the standard deviation over "
    "replicates as bars and bands, or no bars [default: paired].",
)
@click.option(
    "--budget",
    type=int,
    metavar="N",
    help="For attainment: draw the candidates and the schedule with the best PSNR_GT within N "
    "iterations [default: the search's budget].",
)
def plot(run: RunRecord, figure: str, output_file: Path, style: str, **options: Any) -> None:
    """Draw a figure of RUN as SVG, PDF or PNG.

    FIGURE is its front, PSNR_GT curves, schedules as staircases, the importance of its parameters,
    or the best PSNR_GT so far (attainment). The command prints a caption. The same run always gives
    the same file, byte for byte.
    """
    given = {key: value for key, value in options.items() if value is not None}
    check_figure_file(output_file, "--output")
    for key in given:
        if figure not in _FIGURES_OF_OPTION[key]:
            option = _OPTION_NAMES.get(key, f"--{key}")
            raise InputError(
                f"{option} applies to {' and '.join(_FIGURES_OF_OPTION[key])}, not to {figure}"
            )
    from search.analysis.front import front_of, nothing_yet

    if not front_of(records := run.records()):
        raise nothing_yet(run, records)
    drawn = _draw(run, figure, style, given)
    write_figure(drawn, output_file)
    echo_written(output_file, f"{output_file} written: {drawn.caption}")


def check_figure_file(path: Path | None, option: str) -> None:
    """Raise InputError if a file was asked for that cannot be drawn or must not be replaced."""
    if path is None:
        return
    from dipstage.documents.whole_files import refuse_to_replace
    from dipstage.terminal.plots import SIGNED

    if path.suffix.lower() not in KINDS:
        raise InputError(f"{option} must end in .png, .svg or .pdf, got {path.name!r}")
    refuse_to_replace(path, KINDS[path.suffix.lower()], SIGNED.encode())


def _draw(run: RunRecord, figure: str, style: Any, given: dict[str, Any]) -> Plot:
    from search.plots.chosen import split_names

    names = split_names(run, given.pop("trials")) if "trials" in given else []
    match figure:
        case "front":
            from search.plots.front import plot_front

            return plot_front(run, style, **given)
        case "curves":
            from search.plots.curves import plot_curves

            return plot_curves(run, names, given.pop("curves_of", None), style, **given)
        case "schedules":
            from search.plots.schedules import plot_schedules

            return plot_schedules(run, names, style=style, **given)
        case "importance":
            from search.plots.importance import plot_importance

            return plot_importance(run, style)
        case _:
            from search.plots.attainment import plot_attainment

            return plot_attainment(run, style=style, **given)
