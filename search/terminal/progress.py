"""Progress of a search on screen: a live view in a terminal, lines in a log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.analysis.front import front_of
from search.analysis.status import ahead, counts, found, pace, sentence, status_of
from search.execution.view import View
from search.terminal.sketch import legend, sketch

if TYPE_CHECKING:
    from search.store.records import Trial
    from search.store.run import RunRecord

_BESIDE = 72
"""Columns from which the plot stands beside the table."""


class Lines(View):
    """One line for every trial that ends."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console = console
        self._last: tuple[str, int] | None = None

    def starting(self) -> None:
        """See `View`."""
        self._print("starting; Ray alone can take half a minute …")

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        status = status_of(run)
        if (run.name, status.done) != self._last:
            self._last = (run.name, status.done)
            self._print(f"{run.name}: {sentence(status)}")

    def note(self, notice: str) -> None:
        """See `View`."""
        self._print(f"notice: {notice}")

    def _print(self, text: str) -> None:
        now = datetime.now(UTC).strftime("%H:%M:%S")
        self._console.print(f"{now} {text}", markup=False)


class LiveView(View):
    """A progress bar, the status, and the front and its members where the terminal has room.

    below: a line under the status, such as the driver of the run; None for none.
    """

    def __init__(self, console: Console, waiting: str = "starting Ray …") -> None:
        """Draw on `console`, a terminal; show `waiting` until there is a run."""
        self._live = Live(console=console, refresh_per_second=2, transient=True)
        """Transient until there is a run to leave on the screen."""
        self._waiting = waiting
        self.below: str | None = None

    def __enter__(self) -> LiveView:
        self._live.start()
        self._live.update(Text(self._waiting), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        self._live.transient = False
        self._live.update(drawn(run, self._live.console, self.below))

    def note(self, notice: str) -> None:
        """See `View`."""
        self._live.console.print(f"notice: {notice}", markup=False)


def drawn(run: RunRecord, console: Console, below: str | None = None) -> Any:
    """Return what `LiveView` shows, never wider or higher than the terminal."""
    records = run.records()
    status = status_of(run, records)
    width, height = console.size
    part = _part(run)
    title = f"{run.name} (part {part} of 2)" if part else run.name
    lines = [f"{title}: {', '.join(counts(status))}"]
    if status.best is not None:
        lines.append(", ".join(found(status)))
    if left := ahead(status):
        lines.append(", ".join([*pace(status), *left]) + " of this part" * (part == 1))
    if below:
        lines.append(below)
    parts: list[Any] = [Text(text, no_wrap=True, overflow="ellipsis") for text in lines]
    bar = Table.grid()
    bar.add_row(ProgressBar(total=status.wanted, completed=status.done, width=min(60, width)))
    parts.insert(1, bar)
    if status.front and height - len(parts) >= 8:
        parts += ["", _front(run, records, width, height - len(parts) - 2, console)]
    return Group(*parts)


def _part(run: RunRecord) -> int:
    """Return which of the two comparisons of a verification a run is; 0 for a search."""
    if "/" not in run.name:
        return 0
    from search.verification.parts import HELD_OUT, TUNING

    return {TUNING: 1, HELD_OUT: 2}.get(run.name.rpartition("/")[2], 0)


def _front(run: RunRecord, records: list[Trial], width: int, height: int, console: Console) -> Any:
    """Return the members with the highest PSNR_GT, and the plot where there is room."""
    ascii_only = not console.encoding.startswith("utf")
    rows, output = min(height, 18), run.objective.output
    members = front_of(records)[-(rows - 2) :]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("front", no_wrap=True, overflow="ellipsis", max_width=18)
    quality, cost = run.objective.quality, run.objective.cost
    steps = "steps" if cost.unit == "iterations" else cost.words
    table.add_column(steps, justify="right", no_wrap=True)
    table.add_column(quality.unit or quality.words, justify="right", no_wrap=True)
    for trial in members:
        assert trial.values is not None
        cut = "≥ " if trial.censored(output) else ""
        quality_words = quality.text(trial.values[0])
        table.add_row(Text(trial.name), cut + cost.text(trial.values[1]), quality_words)
    if width < _BESIDE:
        return table
    room = min(width - 36, 72), rows - 1
    plot = sketch(records, *room, run.objective, ascii_only=ascii_only)
    plot.append(f"\n{'':8}{legend(ascii_only=ascii_only)}", "dim")
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(plot, table)
    return grid
