"""Verdicts on outcomes whose truth is known: how often they are right."""

import math

import numpy as np
import pytest

from search.verification.power import Spread, power
from search.verification.rules import PSNR_MARGIN_DB, TIME_MARGIN, Endpoint, claim_p
from search.verification.statistics import holm, student_p

REPETITIONS = 20_000
PSNR = Spread(picture=0.3, seed=0.2)
TIME = Spread(picture=0.25, seed=0.2)


def drawn(
    spread: Spread, effect: float, pictures: int, seeds: int, schedules: int, stream: int = 0
) -> np.ndarray:
    """Picture means of paired differences, (repetitions, schedules, pictures).

    Pictures change what a schedule gains. Each of the two runs of a pair has the noise of its seed.
    """
    generator = np.random.default_rng([stream, pictures])
    shape = (REPETITIONS, schedules, pictures)
    noise = generator.normal(0, spread.seed * math.sqrt(2 / seeds), shape)
    return effect + generator.normal(0, spread.picture, shape) + noise


def share_better(
    endpoint: Endpoint, gain_db: float, ratio: float, pictures: int, seeds: int, schedules: int = 2
) -> float:
    """Share of the repetitions in which any of the schedules is better than a reference."""
    p = claim_p(
        drawn(PSNR, gain_db, pictures, seeds, schedules),
        drawn(TIME, math.log(ratio), pictures, seeds, schedules, stream=1),
        endpoint,
    )
    return float(np.mean([min(holm(row)) < 0.05 for row in p.tolist()]))


@pytest.mark.long
@pytest.mark.parametrize("pictures", [4, 9, 20])
@pytest.mark.parametrize(
    ("endpoint", "gain_db", "ratio"),
    [
        ("time", 0.0, 1.0),
        ("psnr", 0.0, 1.0),
        ("time", -PSNR_MARGIN_DB, 0.5),
        ("psnr", 0.5, TIME_MARGIN),
        ("time", 0.5, 1.0),
        ("psnr", 0.0, 0.5),
    ],
)
def test_false_better_is_rare_at_each_corner_of_the_null(
    endpoint: Endpoint, gain_db: float, ratio: float, pictures: int
) -> None:
    assert share_better(endpoint, gain_db, ratio, pictures, seeds=1) <= 0.05


@pytest.mark.parametrize(("pictures", "seeds"), [(9, 1), (16, 2), (20, 2)])
def test_power_is_what_its_formula_says(pictures: int, seeds: int) -> None:
    found = np.mean(student_p(drawn(PSNR, 0.3, pictures, seeds, 1)) < 0.05)
    assert found == pytest.approx(power(0.3, PSNR, pictures, seeds, 0.05), abs=0.01)


def test_a_faster_schedule_that_is_also_a_little_higher_is_found_to_be_better() -> None:
    assert share_better("time", 0.2, 0.7, pictures=20, seeds=2, schedules=1) >= 0.85
