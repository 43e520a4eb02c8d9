"""Fronts against brute force, closed forms and Optuna's own implementation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from search.analysis.pareto import dominates, front, hypervolume, knee, strictly_dominates
from search.experiment.objectives import Score

scores = st.lists(
    st.builds(Score, st.integers(0, 8).map(float), st.integers(0, 8).map(float)), max_size=30
)


def staircase(n: int) -> list[Score]:
    """n points (1, 1), (2, 2), … on a front: PSNR and steps rise together."""
    return [Score(float(i), float(i)) for i in range(1, n + 1)]


@pytest.mark.long
@given(scores)
def test_the_front_is_what_no_other_dominates(drawn: list[Score]) -> None:
    expected = {i for i, a in enumerate(drawn) if not any(dominates(b, a) for b in drawn)}
    found = front(drawn)
    assert set(found) == expected
    assert [drawn[i].steps_to_max for i in found] == sorted(drawn[i].steps_to_max for i in found)


def test_ties_duplicates_one_point_no_point_and_non_finite_values() -> None:
    assert front([]) == []
    assert front([Score(1, 1)]) == [0]
    assert front([Score(1, 1), Score(1, 1)]) == [0, 1]
    assert front([Score(1, 1), Score(2, 1), Score(2, 2)]) == [1]
    odd = [Score(math.nan, 0), Score(math.inf, 1), Score(1, math.nan), Score(1, 5)]
    assert front(odd) == [3]


def test_strict_dominance_needs_both_objectives() -> None:
    assert dominates(Score(2, 1), Score(1, 1))
    assert not strictly_dominates(Score(2, 1), Score(1, 1))
    assert strictly_dominates(Score(2, 1), Score(1, 2))
    assert not dominates(Score(1, 1), Score(1, 1))


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_a_staircase_has_its_closed_form_hypervolume(n: int) -> None:
    # Against (0, n + 1), column i (width 1 in PSNR) reaches from steps i to n + 1.
    assert hypervolume(staircase(n), Score(0, n + 1)) == pytest.approx(n * (n + 1) / 2)


@given(scores)
def test_hypervolume_is_optuna_s(drawn: list[Score]) -> None:
    import numpy as np

    points = np.array([[-s.max_psnr_gt_db, s.steps_to_max] for s in drawn]).reshape(-1, 2)
    reference = Score(-1.0, 9.0)
    expected = float(compute_hypervolume(points, np.array([1.0, 9.0]))) if drawn else 0.0
    assert hypervolume(drawn, reference) == pytest.approx(expected)


def test_points_outside_the_reference_add_nothing() -> None:
    assert hypervolume([Score(5, 20)], Score(0, 10)) == 0
    assert hypervolume([Score(-5, 2)], Score(0, 10)) == 0
    assert hypervolume([], Score(0, 10)) == 0


def test_hypervolume_of_duplicates_ties_and_values_that_are_not_finite() -> None:
    reference = Score(0, 10)
    assert hypervolume([Score(5, 4)], reference) == 30
    assert hypervolume([Score(5, 4), Score(5, 4)], reference) == 30
    assert hypervolume([Score(5, 4), Score(5, 6), Score(3, 4)], reference) == 30
    odd = [Score(math.nan, 1), Score(math.inf, 1), Score(9, -math.inf), Score(5, 4)]
    assert hypervolume(odd, reference) == 30


def test_a_knee_is_never_a_value_that_is_not_finite_nor_one_that_is_dominated() -> None:
    odd = [Score(math.inf, 0), Score(20, 100), Score(26, 120), Score(27, 300), Score(25, 290)]
    assert knee([*odd, Score(math.nan, 1)]) == 2
    assert knee([Score(20, 100), Score(26, 120), Score(26, 120), Score(27, 300)]) == 1


def test_the_knee_is_the_point_farthest_above_the_line_between_the_ends() -> None:
    drawn = [Score(20, 100), Score(26, 120), Score(27, 300), Score(21, 200)]
    assert knee(drawn) == 1
    assert knee([Score(20, 100), Score(26, 290), Score(27, 300)]) == 2
    assert knee([Score(20, 100), Score(27, 300)]) == 1
    assert knee([Score(20, 100)]) == 0
    assert knee([Score(20, 100), Score(20, 100)]) == 0
    with pytest.raises(ValueError, match="no knee"):
        knee([])
