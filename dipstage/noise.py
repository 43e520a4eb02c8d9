"""Noise levels of the DDPM forward process, and the targets made from them.

A noise level is alpha_bar, the remaining share of the signal's variance: 1 is the picture itself,
0 is pure noise. Each beta schedule is a pure function of u = t / T in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
        if self.beta not in ALPHA_BARS:
            raise InputError(f"beta must be one of {', '.join(ALPHA_BARS)}, got {self.beta!r}")
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
