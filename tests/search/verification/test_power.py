"""Power and numbers of pictures, against known values."""

import math

import pytest

from search.verification.power import (
    PSNR_SPREAD,
    Spread,
    pictures_needed,
    power,
    smallest_effect,
)


@pytest.mark.parametrize(("seeds", "pictures"), [(1, 17), (2, 14), (4, 12), (8, 11)])
def test_pictures_that_show_0_3_db(seeds: int, pictures: int) -> None:
    """Values of a simulation of the same spreads."""
    assert pictures_needed(0.3, PSNR_SPREAD, seeds, 0.05) == pictures


def test_the_smallest_effect_is_the_one_that_has_the_power() -> None:
    effect = smallest_effect(PSNR_SPREAD, 20, 2, 0.05)
    assert power(effect, PSNR_SPREAD, 20, 2, 0.05) == pytest.approx(0.8)
    assert power(0.0, PSNR_SPREAD, 20, 2, 0.05) == pytest.approx(0.025)


def test_what_cannot_be_shown_says_so() -> None:
    assert smallest_effect(PSNR_SPREAD, 1, 8, 0.05) == math.inf
    assert pictures_needed(1e-4, Spread(1.0, 0.0), 1, 0.05) is None
