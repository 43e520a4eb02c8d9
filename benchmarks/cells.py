"""Numbers and tables as Markdown, and intervals."""

from __future__ import annotations

import statistics

from scipy.stats import t as student


def spread(values: list[float], digits: int = 2) -> str:
    """Return median, minimum and maximum as text."""
    least, most = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table as lines."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean and both ends of Student's 95 % interval."""
    mean, n = statistics.fmean(differences), len(differences)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / n**0.5
    return mean, mean - half, mean + half
