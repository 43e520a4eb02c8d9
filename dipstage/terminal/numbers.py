"""Numbers in words. Every table, page, figure and note rounds here, so that none differs."""

from __future__ import annotations

from dipstage.rounding import telling_digits

DB, STEPS, SSIM, RATIO = 2, 0, 3, 2
"""Digits after the point: of PSNR in dB, of iterations, of SSIM, of a ratio of times."""


def fixed(value: float, digits: int, sign: str = "") -> str:
    """Return a number with so many digits after the point; what rounds to 0 has no minus.

    Args:
        value: Number to write. Halves are rounded to the even digit.
        digits: Digits after the point, such as `DB`.
        sign: `+` to write the sign of every number.
    """
    return f"{value:{sign}.{digits}f}" if round(value, digits) else f"{0.0:{sign}.{digits}f}"


def interval_end(value: float, digits: int, sign: str = "", none: float = 0.0) -> str:
    """Return an end of an interval, with further digits where it would look like `none`.

    Args:
        value: The end.
        digits: Digits after the point where they suffice.
        sign: `+` to write the sign of every number.
        none: The number that stands for no difference: 0, or 1 for ratios.
    """
    return fixed(value, telling_digits(value, digits, none), sign)


def db(value: float, sign: str = "") -> str:
    """Return a PSNR, or a difference of two, in dB without the unit."""
    return fixed(value, DB, sign)


def steps(value: float) -> str:
    """Return a number of iterations."""
    return fixed(value, STEPS)


def at(psnr_db: float, iterations: float, *, censored: bool = False) -> str:
    """Return `25.31 dB at 120`, with ≥ where the end of training may have cut the maximum off."""
    return f"{db(psnr_db)} dB at {'≥ ' * censored}{steps(iterations)}"


def over_replicates(n: int) -> str:
    """Return `over n replicates`, for titles."""
    return f"over {n} replicate{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Return a duration in words, in hours, minutes or seconds."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
