"""alpha_bar against the discrete schedules that the papers define, and the forward process."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from dipstage.errors import InputError
from dipstage.schedules.noise import (
    ALPHA_BARS,
    TARGETS,
    NoiseLevels,
    TotalNoiseLevels,
    added_sigma_255,
    noised,
)


@pytest.mark.parametrize("beta", sorted(ALPHA_BARS))
def test_alpha_bar_falls_from_the_picture_to_noise(beta: str) -> None:
    values = [ALPHA_BARS[beta](u) for u in np.linspace(0, 1, 101)]
    assert values[0] == pytest.approx(1, abs=1e-12)
    assert values[-1] < 1e-4
    assert all(a > b for a, b in itertools.pairwise(values))


def test_linear_is_the_limit_of_the_discrete_schedule_of_ddpm() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    discrete = np.cumprod(1 - betas)
    for t in (100, 250, 500, 900):
        assert ALPHA_BARS["linear"](t / 1000) == pytest.approx(discrete[t - 1], rel=0.1)
        assert math.log(ALPHA_BARS["linear"](t / 1000)) == pytest.approx(
            math.log(discrete[t - 1]), rel=0.02
        )


def test_cosine_has_the_values_of_its_equation() -> None:
    # Half way: cos²(0.508 / 1.008 · pi / 2) / cos²(0.008 / 1.008 · pi / 2).
    assert ALPHA_BARS["cosine"](0.5) == pytest.approx(0.4938436, abs=1e-6)


def test_sigmoid_is_symmetric_about_its_middle() -> None:
    for u in (0.0, 0.1, 0.3, 0.5):
        assert ALPHA_BARS["sigmoid"](u) + ALPHA_BARS["sigmoid"](1 - u) == pytest.approx(1)


def test_levels_are_evenly_spaced_in_time_and_heaviest_first() -> None:
    levels = NoiseLevels("linear", 0.6).alpha_bars(3)
    assert levels == pytest.approx([ALPHA_BARS["linear"](u) for u in (0.6, 0.4, 0.2)])
    assert list(levels) == sorted(levels)


def test_forward_process_keeps_mean_and_variance_on_the_ddpm_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.full((1, 1, 400, 400), 0.75)
    noise = torch.randn(target.shape, generator=generator)
    result = 2 * noised(target, 0.36, noise) - 1
    assert float(result.mean()) == pytest.approx(0.6 * 0.5, abs=0.01)
    assert float(result.var()) == pytest.approx(1 - 0.36, rel=0.02)
    assert torch.equal(noised(target, 1.0, noise), target)


@pytest.mark.parametrize(
    ("beta", "max_level", "words"),
    [("square", 0.5, "beta must be one of"), ("linear", 0.0, "got 0.0"), ("linear", 1.5, "1.5")],
)
def test_bad_levels_are_refused_with_their_value(beta: str, max_level: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        NoiseLevels(beta, max_level)


@pytest.mark.parametrize("kind", TARGETS)
def test_added_noise_is_what_each_kind_of_target_adds(kind: str) -> None:
    noise = torch.randn(1, 1, 400, 400, generator=torch.Generator().manual_seed(0))
    target = TARGETS[kind](torch.full_like(noise, 0.75), 0.2, noise)
    assert added_sigma_255(kind, 0.2) == pytest.approx(
        255 * float(target.std()), rel=0.01, abs=0.01
    )


@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_total_noise_is_the_observation_s_own_and_the_added_noise(rho: float) -> None:
    """Measured on a picture of one grey, whose signal is its mean."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.full((1, 1, 400, 400), 0.75)
    observation = truth + 25 / 255 * torch.randn(truth.shape, generator=generator)
    levels = TotalNoiseLevels(25.0, 200.0, 30.0, rho).alpha_bars(4)
    first, last = 200.0 ** (1 / rho), 30.0 ** (1 / rho)
    for i, alpha_bar in enumerate(levels):
        noise = torch.randn(truth.shape, generator=generator)
        target = 2 * noised(observation, alpha_bar, noise) - 1
        total = 127.5 * float(target.std()) / math.sqrt(alpha_bar)
        assert total == pytest.approx((first + i / 3 * (last - first)) ** rho, rel=0.02)
    assert list(levels) == sorted(levels)
    assert TotalNoiseLevels(25.0, 200.0, 30.0, rho).alpha_bars(1) == levels[:1]


@pytest.mark.parametrize("rho", [0.001, 0.005, 0.1, 0.19, 0.21, 0.5, 1.0, 12.0, 1e6])
@pytest.mark.parametrize(
    "ends",
    [(25.0, 1500.0, 28.0), (0.0, 1e6, 1e-3), (25.0, 1e6, 25.1), (10.0, 100.0, 99.0),
     (25.0, 1e5, 9.9e4), (0.0, 0.2, 0.199)],
)  # fmt: skip
@pytest.mark.parametrize("noised", [1, 2, 5, 999])
def test_total_noise_falls_from_one_end_to_the_other_whatever_rho_is(
    rho: float, ends: tuple[float, float, float], noised: int
) -> None:
    levels = TotalNoiseLevels(*ends, rho).alpha_bars(noised)
    assert all(before < after for before, after in itertools.pairwise([*levels, 1.0]))
    sigma, high, low = ends

    def alpha_bar(total: float) -> float:
        return 1 / (1 + (total**2 - sigma**2) / 127.5**2)

    assert levels[0] == pytest.approx(alpha_bar(high), rel=1e-6)
    assert noised == 1 or levels[-1] == pytest.approx(alpha_bar(low), rel=1e-6)


def test_levels_of_a_small_rho_are_those_of_the_formula_in_exact_numbers() -> None:
    """With 1 / rho whole, only the last power is rounded."""
    first, last = Fraction(1500) ** 8, Fraction(28) ** 8
    for i, alpha_bar in enumerate(TotalNoiseLevels(25.0, 1500.0, 28.0, 1 / 8).alpha_bars(5)):
        total = float(first + Fraction(i, 4) * (last - first)) ** (1 / 8)
        assert alpha_bar == pytest.approx(1 / (1 + (total**2 - 625) / 127.5**2), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((25, 100, 25), "got 25, 25, 100"),
        ((25, 30, 40), "got 25, 40, 30"),
        ((-1, 100, 40), "got -1, 40, 100"),
        ((25, float("nan"), 40), "got 25, 40, nan"),
        ((25, 100, 40, 0.0), "rho must be from 0.001 to 1,000,000, got 0.0"),
        ((25, 100, 40, 1e7), "rho must be from 0.001 to 1,000,000, got 10000000.0"),
        ((25, 100, 40, float("nan")), "rho must be from 0.001 to 1,000,000, got nan"),
    ],
)
def test_total_noise_out_of_range_is_refused(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TotalNoiseLevels(*values)
