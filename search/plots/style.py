"""Two styles, their lines, and a figure that keeps its style wherever it is drawn.

Lines differ in their dashes as well as in their colours, and points in shape and lightness, so that
every figure can be read in grey.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from textwrap import fill
from typing import IO, Any, Literal, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from dipstage.errors import InputError
from dipstage.terminal.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from dipstage.terminal.plots import METADATA, SAVING
from search.store.records import Trial
from search.store.run import RunRecord

Style: TypeAlias = Literal["screen", "paper"]
Line: TypeAlias = tuple[str, Any]
STYLES: tuple[Style, ...] = ("screen", "paper")

SMALL: dict[Style, float] = {"screen": 9, "paper": 7}
"""Size of the text beside points and lines, in points."""
FOUND: tuple[Line, ...] = (
    (BLUE, "-"),
    (ORANGE, (0, (8, 2))),
    (SKY, (0, (8, 1.5, 3, 1.5))),
    (BLACK, (0, (1, 2))),
)
"""Colour and dashes of the first, second, … sampled schedule in a figure."""
CANDIDATES: tuple[Line, ...] = (
    (BLACK, (0, (4, 1.5))),
    (VERMILLION, (0, (6, 1.5, 1, 1.5))),
    (GREEN, (0, (1, 1))),
    (PURPLE, (0, (6, 1, 1, 1, 1, 1))),
    (ORANGE, (0, (2, 1))),
    (SKY, (0, (3, 2, 1, 2))),
)
"""Colour and dashes of the first, second, … candidate, the same in all figures of a run."""

_KEEP = "\N{ZERO WIDTH SPACE}"
"""Mark before names that begin with `_`, which matplotlib would leave out of a legend."""
_WIDTH = {"screen": 7.0, "paper": 3.4}
"""Width in inches; 3.4 is one column of a two-column paper."""
_TITLE = 84
"""Number of characters of a title that fit in a line."""
_SHARED: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    **SAVING,
}
_OWN: dict[Style, Any] = {
    "screen": {
        "figure.dpi": 90,
        "font.size": 10,
        "legend.fontsize": 9,
        "lines.linewidth": 1.5,
        "lines.markersize": 6.5,
        "savefig.dpi": 150,
    },
    "paper": {
        "axes.labelsize": 8,
        "axes.linewidth": 0.6,
        "axes.titlesize": 8,
        "figure.dpi": 130,
        "font.size": 8,
        "grid.linewidth": 0.5,
        "hatch.linewidth": 0.6,
        "legend.fontsize": 7,
        "legend.labelspacing": 0.3,
        "lines.linewidth": 1.0,
        "lines.markersize": 4.5,
        "savefig.dpi": 300,
        "xtick.labelsize": 8,
        "xtick.major.width": 0.6,
        "ytick.labelsize": 8,
        "ytick.major.width": 0.6,
    },
}


@contextmanager
def settings(style: Style) -> Iterator[None]:
    """Use the style on top of matplotlib's defaults, and restore the user's settings afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SHARED | _OWN[style])
        yield


class Plot(Figure):
    """A figure of a run. Notebooks display it; `savefig` writes the same bytes each time.

    style: the style of the figure, which is applied again when it is drawn or saved, because
    matplotlib reads its settings then. caption: what the figure shows, for the text beside it.
    """

    def __init__(self, style: Style, height: float) -> None:
        """Make a figure with the width of its style; its height is `height` times the width."""
        width = _WIDTH[style]
        super().__init__(figsize=(width, width * height), layout="constrained")
        self.style, self.caption = style, ""

    def explain(self, title: str, caption: str) -> None:
        """Set the caption, and the title, which only the screen style shows."""
        self.caption = caption
        if self.style == "screen":
            self.suptitle(fill(title, _TITLE), fontsize="medium")

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure in its style."""
        with settings(self.style):
            super().draw(renderer)

    def savefig(self, fname: str | PathLike[Any] | IO[Any], **options: Any) -> None:
        """Save the figure in its style, without a date unless `options` give one."""
        kind = options.get("format") or Path(str(fname)).suffix.removeprefix(".")
        options.setdefault("metadata", METADATA.get(kind.lower()))
        with settings(self.style):
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)  # The setting `savefig.dpi` is for print.
        return buffer.getvalue()


@contextmanager
def drawing(style: Style, height: float) -> Iterator[Plot]:
    """Yield a new figure to draw on in a style; its height is `height` times its width.

    InputError if there is no such style.
    """
    if style not in STYLES:
        raise InputError(f"style must be screen or paper, got {style!r}")
    with settings(style):
        yield Plot(style, height)


def math_label(words: str) -> str:
    """Return a label in which matplotlib sets the index GT below the line."""
    return words.replace("$", r"\$").replace("_GT", "$_{GT}$")


def line_styles(run: RunRecord, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the colour and dashes of each schedule; they repeat if there are many schedules."""
    candidates = [trial.number for trial in run.records() if trial.candidate]
    lines, found = [], 0
    for trial in trials:
        if trial.candidate:
            line = CANDIDATES[candidates.index(trial.number) % len(CANDIDATES)]
        else:
            line, found = FOUND[found % len(FOUND)], found + 1
        lines.append({"color": line[0], "linestyle": line[1]})
    return lines


def legend_label(name: str) -> str:
    """Return a name as the label of a line, so that the legend has it whatever it begins with."""
    return _KEEP + name if name.startswith("_") else name


def show_names(legend: Legend, *, math: bool = False) -> None:
    """Show the labels of a legend as the names that they are, without what `legend_label` adds.

    math: whether dollar signs enclose mathematics; in file names they do not.
    """
    for text in legend.get_texts():
        text.set_text(text.get_text().removeprefix(_KEEP))
        text.set_parse_math(math)


def legend_below(figure: Figure, axes: Axes, columns: int, *, math: bool = False) -> None:
    """Draw a legend below the axes, where it covers nothing; `math` as in `show_names`."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        show_names(legend, math=math)
