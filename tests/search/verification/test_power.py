"""Power and numbers of pictures, against known values."""

import math

import numpy as np
import pytest

from search.verification.power import (
    PSNR_SPREAD,
    Spread,
    measured_spread,
    pictures_needed,
    power,
    smallest_effect,
)
from search.verification.statistics import Difference


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
    # The effect would be 38 dB.
    assert smallest_effect(PSNR_SPREAD, 2, 4, 0.005) == math.inf
    assert smallest_effect(PSNR_SPREAD, 2, 4, 1e-9) == math.inf
    assert smallest_effect(PSNR_SPREAD, 2, 4, 0.05) == pytest.approx(3.83, abs=0.01)
    assert pictures_needed(1e-4, Spread(1.0, 0.0), 1, 0.05) is None


def test_without_any_spread_every_effect_is_shown() -> None:
    assert smallest_effect(Spread(0.0, 0.0), 2, 4, 0.005) == 0
    assert smallest_effect(Spread(0.0, 0.0), 1, 4, 0.005) == math.inf
    assert pictures_needed(1e-4, Spread(0.0, 0.0), 4, 0.005) == 2


def test_a_spread_is_found_again_in_what_it_produced() -> None:
    generator = np.random.default_rng(0)
    of_pictures = generator.normal(0.2, 0.3, (400, 1))
    runs = generator.normal(0, 0.2, (2, 400, 3))
    values = of_pictures + runs[0] - runs[1]
    found = measured_spread([Difference(tuple(map(tuple, values.tolist())))])
    assert found is not None
    assert (found.picture, found.seed) == pytest.approx((0.3, 0.2), rel=0.1)
    assert found.of_mean(3) == pytest.approx(values.mean(axis=1).std(), rel=0.01)


def test_without_a_second_seed_all_spread_is_that_of_pictures() -> None:
    assert measured_spread([Difference(((0.0,), (2.0,)))]) == Spread(math.sqrt(2), 0.0)
    assert measured_spread([Difference(((0.0, 1.0),))]) is None
