"""Noise levels of the DDPM forward process, and the targets made from them.

A noise level is alpha_bar, the remaining share of the observation's variance, from 1 (no added
noise) down to 0 (noise only). Each beta schedule is a pure function of u = t / T in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, TypeAlias

from dipstage.arguments import check_number
from dipstage.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def linear_alpha_bar(u: float) -> float:
    """exp(-(b0 u + (b1 - b0) u² / 2)), b0 = 0.1, b1 = 20.

    The limit of Ho et al. (arXiv 2006.11239, beta from 1e-4 to 0.02 over T = 1000) for small
    steps, as in Song et al. (arXiv 2011.13456, eq. 33).
    """
    return math.exp(-(0.1 * u + 0.5 * (20.0 - 0.1) * u * u))


def cosine_alpha_bar(u: float) -> float:
    """f(u) / f(0), f(u) = cos²((u + s) / (1 + s) · pi / 2), s = 0.008: arXiv 2102.09672 eq. 17."""
    s = 0.008
    f = math.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return f / math.cos(s / (1 + s) * math.pi / 2) ** 2


def sigmoid_alpha_bar(u: float) -> float:
    """Logistic from 3 down to -3, stretched to run from 1 to 0: arXiv 2212.11972, algorithm 1.

    With start = -3, end = 3, tau = 1.
    """

    def logistic(v: float) -> float:
        return 1 / (1 + math.exp(-v))

    top, bottom = logistic(3.0), logistic(-3.0)
    return (top - logistic(6.0 * u - 3.0)) / (top - bottom)


ALPHA_BARS: dict[str, Callable[[float], float]] = {
    "linear": linear_alpha_bar,
    "cosine": cosine_alpha_bar,
    "sigmoid": sigmoid_alpha_bar,
}
MAX_SIGMA_255 = 1e6
MIN_RHO, MAX_RHO = 0.001, 1e6
"""Limits of rho, beyond which rounding makes levels equal."""
_LEAST_SHARE, _MOST_LOG = 1e-9, 600.0
"""Least ratio of minimum to maximum, both to the power 1 / rho, and largest logarithm of these
powers, with which their sum is taken. Beyond, rounding loses the minimum, or a power is no
float."""


@dataclass(frozen=True, slots=True)
class NoiseLevels:
    """Noise levels evenly spaced in t/T, from a maximum down to the observation at 0.

    Args:
        beta: The beta schedule: `linear`, `cosine` or `sigmoid`.
        max_level: t/T of the first stage, in (0, 1].

    Raises:
        InputError: `beta` or `max_level` is not one of these.
    """

    beta: str = "linear"
    max_level: float = field(default=1.0, metadata={"formerly": "heaviest"})

    def __post_init__(self) -> None:
        if self.beta not in tuple(ALPHA_BARS):
            raise InputError(f"beta must be one of {', '.join(ALPHA_BARS)}, got {self.beta!r}")
        check_number("max_level", self.max_level)
        if not 0 < self.max_level <= 1:
            raise InputError(f"max_level must be a t/T in (0, 1], got {self.max_level}")

    def alpha_bars(self, noised: int) -> tuple[float, ...]:
        """Return alpha_bar of the stages before the observation, maximum noise first.

        Stage i of m lies at t/T = max_level · (m - i) / m, i = 0 … m - 1.

        Args:
            noised: The number m of stages before the observation.

        Returns:
            m values in [0, 1], rising.
        """
        alpha_bar = ALPHA_BARS[self.beta]
        return tuple(
            min(max(alpha_bar(self.max_level * (noised - i) / noised), 0.0), 1.0)
            for i in range(noised)
        )


@dataclass(frozen=True, slots=True)
class TotalNoiseLevels:
    """Noise levels given by the total noise of a target relative to its signal.

    The total is the observation's own noise and the added noise together, as a standard deviation
    on the scale from 0 to 255: total² = sigma² + 127.5² (1 - alpha_bar) / alpha_bar. Stage i of m
    has the total (max^(1/rho) + i / (m - 1) (min^(1/rho) - max^(1/rho)))^rho, i = 0 … m - 1
    (arXiv 2206.00364, eq. 5). A single noised stage has the maximum.

    Args:
        sigma_255: The observation's own noise, not negative.
        max_sigma_255: Total noise of the first stage, above `min_sigma_255`.
        min_sigma_255: Total noise of the last noised stage, above `sigma_255`.
        rho: From 0.001 to 1,000,000. 1 spaces the totals evenly; more puts more stages at low
            noise.

    Raises:
        InputError: A value lies outside its range.
    """

    sigma_255: float
    max_sigma_255: float
    min_sigma_255: float
    rho: float = 1.0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_number(each.name, getattr(self, each.name))
        low, high = self.min_sigma_255, self.max_sigma_255
        if not 0 <= self.sigma_255 < low < high <= MAX_SIGMA_255:
            raise InputError(
                f"noise must rise from sigma_255 over min_sigma_255 to max_sigma_255, at most "
                f"{MAX_SIGMA_255:g}, got {self.sigma_255}, {low}, {high}"
            )
        if not MIN_RHO <= self.rho <= MAX_RHO:
            raise InputError(f"rho must be from {MIN_RHO} to {MAX_RHO:,.0f}, got {self.rho}")

    def alpha_bars(self, noised: int) -> tuple[float, ...]:
        """See `NoiseLevels.alpha_bars`."""
        totals = self._totals(noised)
        return tuple(1 / (1 + (t**2 - self.sigma_255**2) / 127.5**2) for t in totals)

    def _totals(self, noised: int) -> list[float]:
        steps = max(noised - 1, 1)
        high, low, rho = self.max_sigma_255, self.min_sigma_255, self.rho
        share, most_log = (low / high) ** (1 / rho), max(abs(math.log(low)), abs(math.log(high)))
        if share < _LEAST_SHARE or most_log / rho > _MOST_LOG:
            between = (high * (1 - i / steps * (1 - share)) ** rho for i in range(steps))
            return [*between, low][:noised]
        first, last = high ** (1 / rho), low ** (1 / rho)
        return [(first + i / steps * (last - first)) ** rho for i in range(noised)]


AnyNoiseLevels: TypeAlias = NoiseLevels | TotalNoiseLevels


def noised(target: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    """Draw from q(x_t | x_0), arXiv 2006.11239 eq. 4, on pixels scaled to [-1, 1].

    Args:
        target: (1, C, H, W) float32 in [0, 1].
        alpha_bar: Noise level in [0, 1].
        noise: (1, C, H, W) float32, standard normal.

    Returns:
        (1, C, H, W) float32, back on the [0, 1] scale, not clipped.
    """
    scaled = math.sqrt(alpha_bar) * (2 * target - 1) + math.sqrt(1 - alpha_bar) * noise
    return (scaled + 1) / 2


def noised_at_full_contrast(target: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    """Return `noised` divided by sqrt(alpha_bar): noise of the same ratio, contrast unchanged.

    This is the variance-exploding process of arXiv 2011.13456, eq. 30. The arguments are those of
    `noised`, with alpha_bar above 0.
    """
    return target + math.sqrt(1 / alpha_bar - 1) / 2 * noise


def at_reduced_contrast(target: Tensor, alpha_bar: float, noise: Tensor) -> Tensor:
    """Return the mean of `noised`: its contrast without its noise. `noise` is not used."""
    return (math.sqrt(alpha_bar) * (2 * target - 1) + 1) / 2


TARGETS: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "ddpm": noised,
    "variance-exploding": noised_at_full_contrast,
    "contrast": at_reduced_contrast,
}
"""Kinds of target. All take the arguments of `noised`."""


def added_sigma_255(target: str, alpha_bar: float) -> float:
    """Return the standard deviation of the noise that a kind of target adds, from 0 to 255.

    Args:
        target: A kind of `TARGETS`.
        alpha_bar: Noise level in [0, 1], above 0 for `variance-exploding`.
    """
    if target == "contrast":
        return 0.0
    scale = math.sqrt(alpha_bar) if target == "variance-exploding" else 1.0
    return 127.5 * math.sqrt(1 - alpha_bar) / scale
