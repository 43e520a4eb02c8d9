"""Numbers in words."""

import pytest

from dipstage.terminal.numbers import at, db, fixed, steps


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
