"""Numbers in words: one rounding for tables, pages and notes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dipstage.documents.schedule_file import Measure

if TYPE_CHECKING:
    from search.verification.statistics import Difference


def spread(measure: Measure, digits: int, sign: str = "") -> str:
    """Return `mean ± std`, or the value alone where there is one replicate."""
    mean = f"{measure.mean:{sign}.{digits}f}"
    return mean if measure.std is None else f"{mean} ± {measure.std:.{digits}f}"


def interval(difference: Difference, digits: int) -> str:
    """Return `mean [low, high]`, or the mean alone where there is one picture."""
    mean = f"{difference.mean:+.{digits}f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def ratio_interval(log_ratio: Difference) -> str:
    """Return `ratio [low, high]` of log ratios, or the ratio alone where there is one picture."""
    mean = f"{math.exp(log_ratio.mean):.2f}"
    if log_ratio.low is None or log_ratio.high is None:
        return mean
    return f"{mean} [{math.exp(log_ratio.low):.2f}, {math.exp(log_ratio.high):.2f}]"


def p_value(p: float | None) -> str:
    """Return p with three digits; empty where nothing was tested."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
