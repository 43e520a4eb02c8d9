"""A small plot of the front, made of text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from dipstage.terminal import numbers
from dipstage.terminal.numbers import db
from search.analysis.front import front_of
from search.store.records import Trial

_MARKS = {
    "dominated": ("·", "."), "candidate": ("◇", "c"), "front": ("●", "o"), "both": ("◆", "C")
}  # fmt: skip
_STYLES = {
    "dominated": "dim", "candidate": "yellow", "front": "bold cyan", "both": "bold yellow"
}  # fmt: skip
_LABEL = 6


def sketch(trials: Sequence[Trial], width: int, height: int, *, ascii_only: bool = False) -> Text:
    """Plot steps to max (right) against max PSNR_GT (up) of the complete trials.

    width, height: size of the plot with its labels. Trials far below the front are left out, so
    that the front itself can be seen.
    """
    complete = [trial for trial in trials if trial.values is not None]
    members = front_of(complete)
    if not members:
        return Text("")
    numbers = {trial.number for trial in members}
    floor = _floor(complete, members)
    shown = [trial for trial in complete if trial.score.max_psnr_gt_db >= floor]
    columns, rows = max(8, width - _LABEL - 2), max(3, height - 2)
    cells = [[(" ", "")] * columns for _ in range(rows)]
    steps = _range([trial.score.steps_to_max for trial in shown])
    psnr = _range([trial.score.max_psnr_gt_db for trial in shown])
    # The front is drawn last, over trials at the same place.
    for trial in sorted(shown, key=lambda trial: (trial.number in numbers, bool(trial.candidate))):
        on_front = trial.number in numbers
        kind = "both" if on_front and trial.candidate else "candidate" if trial.candidate else ""
        kind = kind or ("front" if on_front else "dominated")
        column = _place(trial.score.steps_to_max, steps, columns)
        row = rows - 1 - _place(trial.score.max_psnr_gt_db, psnr, rows)
        cells[row][column] = _MARKS[kind][ascii_only], _STYLES[kind]
    return _lines(cells, steps, psnr, len(complete) - len(shown), ascii_only)


def legend(*, ascii_only: bool = False) -> str:
    """Return what the marks mean."""
    words = {"front": "front", "both": "front, candidate", "candidate": "candidate"}
    return "  ".join(f"{_MARKS[kind][ascii_only]} {word}" for kind, word in words.items())


def _floor(complete: Sequence[Trial], members: Sequence[Trial]) -> float:
    """Return the PSNR_GT as far below the front as the front is high, at least 0.5 dB."""
    psnr = [trial.score.max_psnr_gt_db for trial in members]
    return min(psnr) - max(max(psnr) - min(psnr), 0.5)


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _place(value: float, bounds: tuple[float, float], cells: int) -> int:
    low, high = bounds
    return cells // 2 if high <= low else round((value - low) / (high - low) * (cells - 1))


def _lines(
    cells: list[list[tuple[str, str]]],
    steps: tuple[float, float],
    psnr: tuple[float, float],
    left_out: int,
    ascii_only: bool,
) -> Text:
    wall, corner, floor = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    text = Text(no_wrap=True)
    for i, row in enumerate(cells):
        label = db(psnr[1]) if i == 0 else db(psnr[0]) if i == len(cells) - 1 else ""
        text.append(f"{label:>{_LABEL}} {wall}", "dim")
        for mark, style in row:
            text.append(mark, style)
        text.append("\n")
    columns = len(cells[0])
    text.append(f"{'dB':>{_LABEL}} {corner}{floor * columns}\n", "dim")
    first, last = numbers.steps(steps[0]), f"{numbers.steps(steps[1])} steps"
    middle = f"{left_out} below" if left_out else ""
    room = max(1, columns - len(first) - len(last))
    text.append(f"{'':>{_LABEL + 2}}{first}{middle:^{room}}{last}", "dim")
    return text
