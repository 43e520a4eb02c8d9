"""Number options of every command read what the YAML files read, and nothing else."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from dipstage.documents.plain_yaml import parse_yaml, plain_number
from dipstage.errors import InputError
from dipstage.terminal.cli import main as dipstage
from dipstage.terminal.number_types import Finite, Whole
from dipstage.terminal.restoring import _Sigma
from search.cli import main as dipsearch

ODD = [
    "1_0", "\uff11\uff10", "\u0661\u0660", "1\u0660", "0x10", "0b1", "0o7", "010", "1:30", "1,5",
    "5 5", "5\t", "5\n", "\u00a05", "--5", "five", "nan", "inf", "Infinity", ".nan", ".inf", "1e",
    "e5", "1e+", "10%", "\u00bd", "\u2212" + "5", "1e400", "true", "null", "[5]", "auto ",
]  # fmt: skip


def numbers() -> Iterator[click.Parameter]:
    """All options of both programs that take a number."""
    for main in (dipstage, dipsearch):
        for command in main.commands.values():
            for parameter in command.params:
                if isinstance(parameter.type, Whole | Finite | _Sigma):
                    yield parameter


NUMBERS = list(numbers())


def test_no_option_takes_a_number_as_click_does() -> None:
    assert len(NUMBERS) > 40
    for main in (dipstage, dipsearch):
        for command in main.commands.values():
            for parameter in command.params:
                assert not isinstance(parameter.type, click.INT.__class__ | click.FLOAT.__class__)


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_plain_number_is_refused_by_every_option(text: str) -> None:
    for parameter in NUMBERS:
        with pytest.raises(InputError, match=rf"^{parameter.opts[0]} must be "):
            parameter.type.convert(text, parameter, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5), ("+5", 5), (" 5", 5), ("5 ", 5), ("-0", 0), ("5.", 5.0), (".5", 0.5),
        ("1e1", 10.0), ("1E-3", 1e-3), ("+1.5e+2", 150.0), ("-2.5", -2.5), ("0", 0),
    ],
)  # fmt: skip
def test_a_number_is_what_yaml_reads(text: str, number: float) -> None:
    assert plain_number(text) == parse_yaml(text, "test") == number
    assert type(plain_number(text)) is type(parse_yaml(text, "test"))
    assert Finite().convert(text, None, None) == number


def test_a_whole_number_has_neither_point_nor_exponent() -> None:
    for text in ("60.", "6e1", "60.0"):
        with pytest.raises(InputError, match=r"must be a whole number: write 60$"):
            Whole().convert(text, None, None)
    with pytest.raises(InputError, match=r"must be a whole number in plain digits, got '6\.5'"):
        Whole().convert("6.5", None, None)


@pytest.mark.parametrize("text", ["0,5", " 2,5 ", "-1,5", "1,5e-3", ",5", "0,001"])
def test_a_decimal_comma_is_answered_with_the_point(text: str) -> None:
    pointed = text.strip().replace(",", ".")
    with pytest.raises(InputError, match=f"in plain digits, got '{text}': write {pointed}$"):
        Finite().convert(text, None, None)


@pytest.mark.parametrize("text", ["1,000", "1,000,000", "0,5 dB", ",", "1.000,5", "high"])
def test_other_commas_are_no_decimal_points(text: str) -> None:
    with pytest.raises(InputError, match=f"got '{text}'$"):
        Finite().convert(text, None, None)


def test_limits_are_named() -> None:
    assert Whole(1, 8).convert("8", None, None) == 8
    with pytest.raises(InputError, match="must be at most 8, got 9"):
        Whole(1, 8).convert("9", None, None)
    with pytest.raises(InputError, match="must be at least 1, got 0"):
        Whole(1, 8).convert("0", None, None)
    with pytest.raises(InputError, match="must be at most 9,223,372,036,854,775,807, got "):
        Whole().convert("9" * 300, None, None)
    with pytest.raises(InputError, match="must be at least 0, got -1"):
        Finite(least=0).convert("-1", None, None)
    assert Finite().convert("9" * 300, None, None) == pytest.approx(1e300)
    assert math.isfinite(Finite().convert("1e308", None, None))


@pytest.mark.parametrize("text", ["3", "\u0663", "-1", "1_0", "10 000", "[1, 2]", "2,3", "1.5"])
def test_numbers_of_seeds_are_read_likewise(text: str) -> None:
    from search.commands.verifying import _seeds

    expected: dict[str, object] = {"3": 3, "-1": (-1,), "[1, 2]": (1, 2), "2,3": (2, 3)}
    if text in expected:
        assert _seeds(text) == expected[text]
    else:
        with pytest.raises(InputError, match="--seeds"):
            _seeds(text)


def test_no_click_is_installed_whose_types_are_not_generic() -> None:
    """Before 8.4, `ParamType[int]` is an error, which every command would end with."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    [required] = [
        each for each in map(Requirement, project["dependencies"]) if each.name == "click"
    ]
    assert "8.3.3" not in required.specifier
    assert version("click") in required.specifier
