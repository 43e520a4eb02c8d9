"""plot: the figures of a run, for a screen or for print."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError
from dipstage.terminal.number_types import Finite, Whole
from search.commands.shared import echo_written, file_option, with_run

if TYPE_CHECKING:
    from search.plots.style import Plot
    from search.store.run import RunRecord

KINDS = {".svg": "an SVG", ".pdf": "a PDF", ".png": "a PNG"}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "front": ("errors", "from_db"),
    "curves": ("which", "output", "errors", "from_db"),
    "schedules": ("which", "level"),
    "importance": (),
    "attainment": ("budget",),
}
"""Figures, each drawn by `plot_NAME` of `search.plots.NAME`, with the options that apply to it."""
_OPTION_NAMES = {"which": "--trials", "output": "--curves-of", "from_db": "--from-db"}


@click.command()
@with_run  # Placed first, so that RUN comes before the figure.
@click.argument("figure", type=click.Choice(list(_OPTIONS)))
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
    "which",
    metavar="NAME,NAME…",
    help="For curves and schedules: trials by number, candidates by name, or knee, psnr, steps "
    "[default: the knee of the front and the candidates].",
)
@click.option(
    "--curves-of",
    "output",
    type=click.Choice(["raw", "smoothed", "both"]),
    help="For curves: the output to draw [default: the output that is optimised].",
)
@click.option(
    "--from-db",
    type=Finite(-1000, 1000),
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
    type=Whole(),
    metavar="N",
    help="For attainment: draw the candidates and the schedule with the best PSNR_GT within N "
    "iterations [default: the search's budget].",
)
def plot(run: RunRecord, figure: str, output_file: Path, style: str, **options: Any) -> None:
    """Draw a figure of RUN as SVG, PDF or PNG.

    It shows the front, PSNR_GT curves, schedules as staircases, the importance of the parameters,
    or the best PSNR_GT so far (attainment). The command prints a caption. The same run always gives
    the same file, byte for byte.
    """
    given = {key: value for key, value in options.items() if value is not None}
    check_figure_file(output_file, "--output")
    for key in given:
        if key not in _OPTIONS[figure]:
            option = _OPTION_NAMES.get(key, f"--{key}")
            figures = " and ".join(name for name, options in _OPTIONS.items() if key in options)
            raise InputError(f"{option} applies to {figures}, not to {figure}")
    from search.analysis.front import front_of, nothing_yet

    if not front_of(records := run.records()):
        raise nothing_yet(run, records)
    from dipstage.terminal.plots import save_figure
    from search.plots.chosen import split_names

    if "which" in given:
        given["which"] = split_names(run, given["which"])
    drawn = draw(run, figure, style=style, **given)
    save_figure(drawn, output_file)
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


def draw(run: RunRecord, figure: str, **options: Any) -> Plot:
    """Draw a figure by its name; Matplotlib is imported only now."""
    plot: Callable[..., Plot] = getattr(import_module(f"search.plots.{figure}"), f"plot_{figure}")
    return plot(run, **options)
