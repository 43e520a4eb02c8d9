"""Numbers and tables as Markdown."""

from __future__ import annotations

import statistics


def spread(values: list[float], digits: int = 2) -> str:
    """Return median, minimum and maximum as text."""
    least, most = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table as lines."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
