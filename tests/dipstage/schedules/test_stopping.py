"""Stopping rules on curves: the variance of the outputs against a plain loop, and the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dipstage.errors import InputError
from dipstage.schedules.stopping import (
    Curve,
    LastStage,
    OracleDecided,
    VarianceKind,
    VarianceMinimum,
)

CURVES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60).map(
    lambda values: np.array(values, np.float32)
)


def selected(curve: Curve, patience: int, warmup: int) -> int | None:
    """The paper's loop: remember the minimum, and end once it has held for the patience."""
    best: int | None = None
    for i in range(warmup, len(curve)):
        if not np.isnan(curve[i]) and (best is None or curve[i] < curve[best]):
            best = i
        if best is not None and i - best >= patience:
            return best
    return None


@given(CURVES, st.integers(1, 20), st.integers(0, 10), st.integers(0, 10))
def test_the_first_minimum_that_holds_is_selected(
    curve: Curve, patience: int, warmup: int, unmeasured: int
) -> None:
    curve[:unmeasured] = np.nan
    rule = VarianceMinimum("wmv", patience, warmup)
    assert rule.found(curve) == selected(curve, patience, warmup)


@given(CURVES, st.integers(1, 20))
def test_it_stops_when_the_minimum_is_known_and_not_before(curve: Curve, patience: int) -> None:
    rule = VarianceMinimum("emv", patience, 0)
    seen = [
        rule.stops(LastStage({}, {"emv": curve[:n], "wmv": curve[:0]}))
        for n in range(1, len(curve) + 1)
    ]
    found = rule.found(curve)
    first = seen.index(True) if True in seen else None
    assert first == (None if found is None else found + patience)


@pytest.mark.parametrize(
    ("fitted_db", "fitted_by", "first"),
    [(-np.inf, 0, 0), (20.0, 9, 2), (20.0, 1, 1), (30.0, 9, None)],
)
def test_no_minimum_counts_before_the_picture_is_fitted(
    fitted_db: float, fitted_by: int, first: int | None
) -> None:
    """What was fitted once stays so, and `fitted_by` ends the wait."""
    variance = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    psnr_db = np.array([12, 19.5, 20, 19], np.float32)
    rule = VarianceMinimum("emv", 2, 0, fitted_db, fitted_by)
    assert rule.selected(rule.counted(variance, psnr_db)) == first
    if fitted_by == 9:
        alone = VarianceMinimum("emv", 2, 0, fitted_db=fitted_db)
        assert alone.selected(alone.counted(variance, psnr_db)) == first


@pytest.mark.parametrize(("kind", "windowed"), [("emv", False), ("wmv", True)])
def test_only_the_windowed_variance_needs_a_window(kind: VarianceKind, windowed: bool) -> None:
    assert VarianceMinimum(kind).windowed is windowed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("var",), "kind must be emv or wmv, got 'var'"),
        (("emv", 0), "patience must be at least 1"),
        (("emv", 10.5), "patience must be a whole number, got 10.5"),
        (("emv", "5"), "patience must be a whole number, got '5'"),
        (("emv", 5, -1), "warmup must be at least 0, got -1"),
        (("emv", 5, 10.5), "warmup must be a whole number, got 10.5"),
        (("emv", 5, 0, "x"), "fitted_db must be a number, got 'x'"),
        (("emv", 5, 0, math.nan), "fitted_db must be a PSNR in dB, got nan"),
        (("emv", 5, 0, 20.0, -1), "fitted_by must be at least 0, got -1"),
        (("emv", 5, 0, 20.0, 1.5), "fitted_by must be a whole number, got 1.5"),
    ],
)
def test_bad_values_are_refused(values: tuple[object, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        VarianceMinimum(*values)  # type: ignore[arg-type]


def first_stop(rule: OracleDecided, smoothed: list[float]) -> int | None:
    """How many iterations of the last stage the rule lets pass, if it stops."""
    curve = np.array(smoothed, np.float32)
    noise = np.arange(len(curve), dtype=np.float32)
    for n in range(1, len(curve) + 1):
        if rule.stops(LastStage({"raw": noise[:n], "smoothed": curve[:n]}, {})):
            return n
    return None


def test_a_maximum_is_decided_after_a_wait_and_a_fall() -> None:
    falling = [25 - 0.01 * i for i in range(100)]
    assert first_stop(OracleDecided(80), falling) == 31
    slowly = [25 - 0.00045 * i for i in range(100)]
    assert first_stop(OracleDecided(80), slowly) == 46
    flat = [25.0] * 100
    assert first_stop(OracleDecided(80), flat) == 81
    assert first_stop(OracleDecided(20), flat) == 21
    assert first_stop(OracleDecided(80), flat[:80]) is None


def test_a_rise_begins_the_wait_anew() -> None:
    falling = [-0.01 * i for i in range(60)]
    curve = [25 + fall for fall in falling[:30]] + [26 + fall for fall in falling]
    assert first_stop(OracleDecided(80), curve) == 30 + 31


def test_the_wait_of_a_decided_maximum_is_at_least_one_iteration() -> None:
    with pytest.raises(InputError, match="patience must be at least 1, got 0"):
        OracleDecided(0)
