"""A small plot of the front, made of text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from search.analysis.front import front_of
from search.experiment.objectives import Objective, Score
from search.store.records import Trial, finite

_MARKS = {
    "dominated": ("·", "."), "candidate": ("◇", "c"), "front": ("●", "o"), "both": ("◆", "C")
}  # fmt: skip
_STYLES = {
    "dominated": "dim", "candidate": "yellow", "front": "bold cyan", "both": "bold yellow"
}  # fmt: skip
_LABEL = 6


def sketch(
    trials: Sequence[Trial],
    width: int,
    height: int,
    objective: Objective,
    *,
    ascii_only: bool = False,
) -> Text:
    """Plot the second objective (right) against the first (up) of the complete trials.

    width, height: size of the plot with its labels. Trials far below the front are left out, so
    that the front itself can be seen.
    """
    complete = finite(trials)
    members = front_of(complete)
    if not members:
        return Text("")
    numbers = {trial.number for trial in members}
    places = {t.number: Score(*t.values) for t in complete if t.values is not None}
    floor = _floor([places[number] for number in numbers])
    shown = [trial for trial in complete if places[trial.number].max_psnr_gt_db >= floor]
    columns, rows = max(8, width - _LABEL - 2), max(3, height - 2)
    cells = [[(" ", "")] * columns for _ in range(rows)]
    steps = _range([places[trial.number].steps_to_max for trial in shown])
    psnr = _range([places[trial.number].max_psnr_gt_db for trial in shown])
    # The front is drawn last, over trials at the same place.
    for trial in sorted(shown, key=lambda trial: (trial.number in numbers, bool(trial.candidate))):
        on_front = trial.number in numbers
        kind = "both" if on_front and trial.candidate else "candidate" if trial.candidate else ""
        kind = kind or ("front" if on_front else "dominated")
        column = _place(places[trial.number].steps_to_max, steps, columns)
        row = rows - 1 - _place(places[trial.number].max_psnr_gt_db, psnr, rows)
        cells[row][column] = _MARKS[kind][ascii_only], _STYLES[kind]
    return _lines(cells, steps, psnr, len(complete) - len(shown), objective, ascii_only)


def legend(*, ascii_only: bool = False) -> str:
    """Return what the marks mean."""
    words = {"front": "front", "both": "front, candidate", "candidate": "candidate"}
    return "  ".join(f"{_MARKS[kind][ascii_only]} {word}" for kind, word in words.items())


def _floor(members: Sequence[Score]) -> float:
    """Return the quality as far below the front as the front is high, at least 0.5 (dB)."""
    quality = [score.max_psnr_gt_db for score in members]
    return min(quality) - max(max(quality) - min(quality), 0.5)


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
    objective: Objective,
    ascii_only: bool,
) -> Text:
    wall, corner, floor = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    text = Text(no_wrap=True)
    for i, row in enumerate(cells):
        ends = {0: psnr[1], len(cells) - 1: psnr[0]}
        label = objective.quality.text(ends[i]) if i in ends else ""
        text.append(f"{label:>{_LABEL}} {wall}", "dim")
        for mark, style in row:
            text.append(mark, style)
        text.append("\n")
    columns = len(cells[0])
    text.append(f"{objective.quality.unit:>{_LABEL}} {corner}{floor * columns}\n", "dim")
    cost, unit = objective.cost, objective.cost.unit.replace("iterations", "steps")
    first, last = cost.text(steps[0]), f"{cost.text(steps[1])} {unit}".rstrip()
    middle = f"{left_out} below" if left_out else ""
    room = max(1, columns - len(first) - len(last))
    text.append(f"{'':>{_LABEL + 2}}{first}{middle:^{room}}{last}", "dim")
    return text
