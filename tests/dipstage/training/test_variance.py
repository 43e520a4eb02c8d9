"""Variances of the latest outputs, against their definitions."""

from typing import Protocol

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dipstage.schedules.stopping import VarianceMinimum
from dipstage.training.variance import (
    EMV_WEIGHT,
    WINDOW,
    AtMinimum,
    MovingVariance,
    WindowedVariance,
)


class Values(Protocol):
    def __call__(self, pictures: NDArray[np.float32], restart: int = 0) -> list[float]: ...


def outputs(n: int) -> NDArray[np.float32]:
    """Some pictures that settle."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n, 1, 3, 4, 5)) / np.arange(1, n + 1)[:, None, None, None, None]
    return noise.astype(np.float32)


def moving(pictures: NDArray[np.float32], restart: int = 0) -> list[float]:
    """Values after each picture; all before `restart` are forgotten."""
    variance = MovingVariance(torch.from_numpy(pictures[0]))
    weights = [1.0 if i in (0, restart) else EMV_WEIGHT for i in range(len(pictures))]
    pairs = zip(pictures, weights, strict=True)
    return [float(variance.update(torch.from_numpy(x), torch.tensor(w))) for x, w in pairs]


def windowed(pictures: NDArray[np.float32], restart: int = 0) -> list[float]:
    variance = WindowedVariance(torch.from_numpy(pictures[0]))
    values = []
    for i, picture in enumerate(pictures):
        seen = torch.tensor(float(i + 1 - (restart if i >= restart else 0)))
        value = variance.update(torch.from_numpy(picture), torch.tensor([i % WINDOW]), seen)
        values.append(float(value))
    return values


def test_the_moving_variance_is_that_of_the_paper() -> None:
    pictures = outputs(30)
    mean, value, expected = pictures[0].astype(np.float64), 0.0, [0.0]
    for picture in pictures[1:]:
        value = 0.9 * (value + 0.1 * float(((picture - mean) ** 2).mean()))
        mean = 0.9 * mean + 0.1 * picture
        expected.append(value)
    assert moving(pictures) == pytest.approx(expected, rel=1e-4)


def test_the_windowed_variance_is_that_of_the_window() -> None:
    pictures = outputs(WINDOW + 20)
    found = windowed(pictures)
    assert np.isnan(found[: WINDOW - 1]).all()
    expected = [pictures[i + 1 - WINDOW : i + 1].var(axis=0).mean() for i in range(WINDOW - 1, 120)]
    assert found[WINDOW - 1 :] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("values", [moving, windowed])
def test_a_restart_forgets_everything(values: Values) -> None:
    pictures = outputs(WINDOW + 5)
    n = len(pictures)
    again = values(np.concatenate([pictures[::-1], pictures]), restart=n)[n:]
    assert again == pytest.approx(values(pictures), rel=1e-6, nan_ok=True)


@given(
    st.integers(0, 6),
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), max_size=40),
    st.integers(0, 9),
    st.integers(1, 6),
    st.integers(0, 6),
    st.lists(st.integers(0, 6), min_size=60, max_size=60),
)
def test_the_outputs_kept_on_the_device_are_those_that_the_rule_selects(
    unfilled: int,
    values: list[float],
    diverged: int,
    patience: int,
    warmup: int,
    lags: list[int],
) -> None:
    """Also where a lower minimum, or a loss that is not finite, comes later in the same block."""
    lags = [min(lag, patience) for lag in lags]
    kept = AtMinimum(torch.zeros(2, 1, 1, 1), patience)
    values = [np.nan] * unfilled + values
    for i, value in enumerate([*values, *[np.nan] * diverged]):
        outputs = torch.full((2, 1, 1, 1), i + 1 if i < len(values) else np.nan)
        kept.update(
            outputs, torch.tensor(value), torch.tensor(i >= warmup), torch.tensor(float(lags[i]))
        )
    curve = np.array(values, np.float32)
    selected = VarianceMinimum("emv", patience, warmup).selected(curve)
    expected = [0, 0]
    if selected is not None:
        expected = [selected + 1, min(selected + lags[selected], len(curve) - 1) + 1]
    assert kept.outputs.flatten().tolist() == expected
