"""Numbers in words."""

import pytest

from dipstage.terminal.numbers import at, db, duration, fixed, interval_end, steps


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (db(25.314), "25.31"),
        (db(-0.004), "0.00"),
        (db(-0.004, "+"), "+0.00"),
        (db(0.5, "+"), "+0.50"),
        (steps(112.5), "112"),
        (steps(113.5), "114"),
        (steps(-0.4), "0"),
        (fixed(0.8194, 3), "0.819"),
        (at(25.314, 120.0), "25.31 dB at 120"),
        (at(25.314, 120.0, censored=True), "25.31 dB at ≥ 120"),
    ],
)
def test_halves_go_to_the_even_digit_and_nothing_is_minus_zero(written: str, words: str) -> None:
    assert written == words


@pytest.mark.parametrize(
    ("value", "sign", "none", "words"),
    [
        (-0.0034, "+", 0.0, "-0.003"),
        (0.00004, "+", 0.0, "+0.00004"),
        (-0.0062, "+", 0.0, "-0.01"),
        (0.0, "+", 0.0, "+0.00"),
        (1e-17, "+", 0.0, "+0.00"),
        (0.9969, "", 1.0, "0.997"),
        (1.0004, "", 1.0, "1.0004"),
        (0.0034, "", 1.0, "0.00"),
        (1.0, "", 1.0, "1.00"),
    ],
)
def test_an_end_of_an_interval_that_excludes_no_difference_does_not_look_like_it(
    value: float, sign: str, none: float, words: str
) -> None:
    assert interval_end(value, 2, sign, none) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (192, "3 min 12 s"), (7300, "2 h 01 min")],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words
