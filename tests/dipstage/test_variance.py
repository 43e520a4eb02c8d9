"""Variances of the latest outputs, against their definitions."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dipstage.variance import WINDOW, MovingVariance, Variance, WindowedVariance


def outputs(n: int) -> NDArray[np.float32]:
    """Some pictures that settle."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n, 1, 3, 4, 5)) / np.arange(1, n + 1)[:, None, None, None, None]
    return noise.astype(np.float32)


def taken(variance: Variance, pictures: NDArray[np.float32]) -> list[float]:
    return [float(variance.update(torch.from_numpy(each))) for each in pictures]


def test_the_moving_variance_is_that_of_the_paper() -> None:
    pictures = outputs(30)
    mean, value, expected = pictures[0].astype(np.float64), 0.0, [0.0]
    for picture in pictures[1:]:
        value = 0.9 * (value + 0.1 * float(((picture - mean) ** 2).mean()))
        mean = 0.9 * mean + 0.1 * picture
        expected.append(value)
    assert taken(MovingVariance(), pictures) == pytest.approx(expected, rel=1e-4)


def test_the_windowed_variance_is_that_of_the_window() -> None:
    pictures = outputs(WINDOW + 20)
    found = taken(WindowedVariance(), pictures)
    assert np.isnan(found[: WINDOW - 1]).all()
    expected = [pictures[i + 1 - WINDOW : i + 1].var(axis=0).mean() for i in range(WINDOW - 1, 120)]
    assert found[WINDOW - 1 :] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [MovingVariance, WindowedVariance])
def test_a_restart_forgets_everything(kind: type[MovingVariance | WindowedVariance]) -> None:
    variance, pictures = kind(), outputs(WINDOW + 5)
    taken(variance, pictures[::-1])
    variance.restart()
    again, fresh = taken(variance, pictures), taken(kind(), pictures)
    assert np.array_equal(again, fresh, equal_nan=True)
