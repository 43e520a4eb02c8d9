"""Rounding that hides no difference."""

from __future__ import annotations

MOST_FURTHER = 4
"""Digits that are added at most: a difference that they do not show is one of rounding."""


def telling_digits(value: float, digits: int, none: float = 0.0) -> int:
    """Return how many digits after the point show that a number is not `none`.

    An end of an interval that excludes 0 would otherwise be written as if it touched 0.

    Args:
        value: Number to write.
        digits: Digits after the point, where they suffice.
        none: The number that stands for no difference: 0, or 1 for ratios.

    Returns:
        `digits` where they suffice or where no further four do, otherwise the fewest that do.
    """
    wanted = range(digits, digits + MOST_FURTHER + 1)
    return next((each for each in wanted if float(f"{value:.{each}f}") != none), digits)
