"""Time to common target, against curves whose times are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.common_target import WINDOW, first_at, judged_curve, log_time_ratio

CURVES = st.lists(st.floats(5, 40), min_size=1, max_size=60).map(np.asarray)


def ramp(iterations: int, top: float = 30.0, length: int = 400) -> np.ndarray:
    """A straight rise to `top` at an iteration, constant from there on."""
    return np.minimum(np.arange(length) * top / iterations, top)


def test_the_target_lies_below_the_lower_maximum() -> None:
    """Only the last step of either ramp is above 29.9 dB."""
    ratio = log_time_ratio(ramp(100), ramp(200))
    assert math.exp(ratio) == pytest.approx((100 + 1) / (200 + 1))
    higher = log_time_ratio(ramp(110, 33.0), ramp(200))
    assert higher == ratio, "what lies above the common target does not matter"


def test_equal_curves_take_equal_time() -> None:
    assert log_time_ratio(ramp(100), ramp(100)) == 0


@given(CURVES, CURVES)
def test_exchanging_the_two_runs_changes_the_sign_alone(one: np.ndarray, two: np.ndarray) -> None:
    assert log_time_ratio(one, two) == pytest.approx(-log_time_ratio(two, one), abs=1e-15)


def test_a_run_that_is_at_the_target_from_the_start_has_a_finite_ratio() -> None:
    assert log_time_ratio(np.full(10, 30.0), ramp(5, length=10)) == pytest.approx(-math.log(6))


def test_raw_curves_are_judged_by_their_trailing_mean_and_smoothed_ones_as_they_are() -> None:
    curve = np.random.default_rng(0).normal(25, 1, 100).astype(np.float32)
    judged = judged_curve(curve, "raw")
    expected = [curve[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(100)]
    np.testing.assert_allclose(judged, expected, rtol=1e-6)
    np.testing.assert_array_equal(judged_curve(curve, "smoothed"), curve)


def test_the_first_iteration_at_a_target_or_none() -> None:
    assert first_at(ramp(100), 15.0) == 50
    assert first_at(ramp(100), 31.0) is None
