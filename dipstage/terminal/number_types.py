"""Types of the options that take a number: it is written as in a file, or refused."""

from __future__ import annotations

import math
from typing import Any

import click

from dipstage.arguments import point_for_comma
from dipstage.documents.plain_yaml import WHOLE, plain_number
from dipstage.documents.records import is_whole
from dipstage.errors import InputError


class Whole(click.ParamType[int]):
    """A whole number of an option."""

    name = "integer"

    def __init__(self, least: int = -WHOLE, most: int = WHOLE - 1) -> None:
        """Take numbers from `least` to `most`."""
        self.least, self.most = least, most

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Return the number; InputError if it is none, or beyond the limits."""
        number = plain_number(str(value))
        if is_whole(number):
            raise InputError(f"{_name(parameter)} must be a whole number: write {number:.0f}")
        if not isinstance(number, int):
            raise InputError(
                f"{_name(parameter)} must be a whole number in plain digits, got {value!r}"
            )
        if not self.least <= number <= self.most:
            low, high = f"at least {self.least:,}", f"at most {self.most:,}"
            limit = low if number < self.least else high
            raise InputError(f"{_name(parameter)} must be {limit}, got {number:,}")
        return number


class Finite(click.ParamType[float]):
    """A number of an option; nan and inf, of which no limit is true, are refused."""

    name = "float"

    def __init__(self, least: float = -math.inf, most: float = math.inf) -> None:
        """Take numbers from `least` to `most`."""
        self.least, self.most = least, most

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number; InputError if it is none, not finite, or beyond the limits."""
        number = plain_number(str(value))
        if number is None or not math.isfinite(number):
            raise InputError(
                f"{_name(parameter)} must be a finite number in plain digits, got {value!r}"
                + point_for_comma(value)
            )
        if number < self.least:
            raise InputError(f"{_name(parameter)} must be at least {self.least:g}, got {value}")
        if number > self.most:
            raise InputError(f"{_name(parameter)} must be at most {self.most:g}, got {value}")
        return float(number)


def _name(parameter: click.Parameter | None) -> str:
    return parameter.opts[0] if parameter else "the number"
