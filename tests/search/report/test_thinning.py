"""What a thinned curve keeps: every maximum, every switch, both ends of every stretch."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.report.thinning import kept

pytestmark = pytest.mark.long


@given(
    st.lists(st.floats(-50, 60, width=32), min_size=1, max_size=3000),
    st.lists(st.integers(-5, 3005), max_size=20),
    st.integers(2, 300),
)
def test_thinning_moves_no_maximum_and_loses_no_switch(
    values: list[float], switches: list[int], points: int
) -> None:
    curve = np.array(values)
    other = np.roll(curve, 1)
    at = kept([curve, other], switches, points)
    assert np.all(np.diff(at) > 0)
    assert {0, len(curve) - 1, int(curve.argmax()), int(other.argmax())} <= set(at.tolist())
    assert {i for i in switches if 0 <= i < len(curve)} <= set(at.tolist())
    assert curve[at].max() == curve.max()
    assert curve[at].min() == curve.min(), "the envelope is kept"
    assert len(at) <= max(points, 0) + len(set(switches)) + 4 or len(at) == len(curve)


def test_every_stretch_keeps_its_lowest_and_highest_point() -> None:
    curve = np.random.default_rng(0).normal(0, 1, 4000)
    at = kept([curve], points=100)
    edges = np.linspace(0, 4000, 51).astype(int)
    for start, end in pairwise(edges):
        inside = at[(at >= start) & (at < end)]
        assert curve[inside].max() == curve[start:end].max()
        assert curve[inside].min() == curve[start:end].min()
    assert len(at) <= 103
