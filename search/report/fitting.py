"""Size of a report: plain data in bytes, and trials without what they can spare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

_LEFT_OUT: dict[str, Any] = {
    "curve": None, "stages": [], "switches": [], "maxima": [], "left_out": True,
}  # fmt: skip
"""Values in place of those cells of a trial that can be left out."""


def embed(content: Any) -> str:
    """Return plain data as JSON that is safe inside a script element of HTML."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def size(content: Any) -> int:
    """Return how many bytes plain data take in the page, with the comma that follows them."""
    return len(embed(content)) + 1


def without_details(cells: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of a trial without staircase and curves."""
    return cells | _LEFT_OUT


def keep_trials(trials: list[dict[str, Any]], order: Sequence[int], room: int) -> list[int]:
    """Leave out the trials from the first on that does not fit without staircase and curves.

    Args:
        trials: Cells of each trial; those that do not fit are removed.
        order: Numbers of all trials, the most important first.
        room: Available size in bytes.

    Returns:
        The numbers of the other trials, in the same order.
    """
    sizes = {cells["n"]: size(without_details(cells)) for cells in trials}
    ends = accumulate(sizes[number] for number in order)
    fitting = [number for number, end in zip(order, ends, strict=True) if end <= room]
    left = set(fitting)
    trials[:] = [cells for cells in trials if cells["n"] in left]
    return fitting


def keep_details(trials: list[dict[str, Any]], order: Sequence[int], room: int) -> int:
    """Leave staircase and curves out of the trials from the first on that does not fit.

    Args:
        trials: Cells of each trial, which are changed.
        order: Numbers of all trials, the most important first.
        room: Available size in bytes.

    Returns:
        The number of trials without them.
    """
    by_number = {cells["n"]: cells for cells in trials}
    left_out = 0
    for cells in (by_number[number] for number in order):
        details = {name: cells[name] for name in _LEFT_OUT if cells.get(name)}
        if room >= 0:
            room -= size(details)
        if room < 0 and details:
            cells |= _LEFT_OUT
            left_out += 1
    return left_out
