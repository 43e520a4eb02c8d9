"""Means, spreads and intervals in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule_file import Measure
from dipstage.terminal.numbers import RATIO, fixed, interval_end

if TYPE_CHECKING:
    from search.store.attributes import Raced
    from search.verification.statistics import Difference


_SETTINGS = {field.name for field in fields(Recipe)}


def parameter(name: str, value: Any) -> str:
    """Return a sampled parameter, such as `ema 0.9871`."""
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def settings(params: Mapping[str, Any]) -> str:
    """Return the parameters that are no part of the staircase: network, rates, input noise, average
    and kind of target. Empty if none was sampled.
    """
    return ", ".join(parameter(name, params[name]) for name in params if name in _SETTINGS)


def capital(text: str) -> str:
    """Return a text with an upper-case first letter."""
    return text[:1].upper() + text[1:]


def some(names: Sequence[str]) -> str:
    """Return the first eight names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def spread(measure: Measure, digits: int, sign: str = "") -> str:
    """Return `mean ± std`, or the value alone where there is one replicate."""
    mean = fixed(measure.mean, digits, sign)
    return mean if measure.std is None else f"{mean} ± {fixed(measure.std, digits)}"


def mean_over(n: int) -> str:
    """Return what the numbers of a table are that are written by `spread`."""
    return f"mean ± standard deviation over {n} replicates" if n != 1 else "of one replicate"


def interval(difference: Difference, digits: int) -> str:
    """Return `mean [low, high]`, or the mean alone where there is one picture."""
    return _bracketed(difference.ends, digits, "+", none=0.0)


def ratio_interval(log_ratio: Difference) -> str:
    """Return `ratio [low, high]` of log ratios, or the ratio alone where there is one picture."""
    return _bracketed(log_ratio.ratios, RATIO, "", none=1.0)


def _bracketed(
    values: tuple[float, float | None, float | None], digits: int, sign: str, none: float
) -> str:
    mean, *ends = values
    both = [interval_end(end, digits, sign, none) for end in ends if end is not None]
    words = fixed(mean, digits, sign)
    return f"{words} [{', '.join(both)}]" if both else words


def p_value(p: float | None) -> str:
    """Return p with three digits; empty where nothing was tested."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def raced_words(raced: Raced) -> str:
    """Return after how many replicates a trial was raced, and the probability of an error."""
    return f"raced after {raced.replicates} (p {p_value(raced.chance)})"
