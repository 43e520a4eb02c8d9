"""Denoising: the picture itself is measured, with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dipstage.arguments import check_flag, check_number
from dipstage.documents.records import described
from dipstage.errors import InputError
from dipstage.tasks.problem import check_observed, on

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


MIN_PEAK, MAX_PEAK = 1e-6, 1e18
"""Photons of a white pixel: fewer leave the picture black, more overflow in `torch.poisson`."""


@dataclass(frozen=True, slots=True)
class Denoising:
    """A noisy picture (see `Problem`)."""

    observation: Tensor

    @property
    def picture(self) -> Tensor:
        """See `Problem.picture`."""
        return self.observation

    def to(self, where: device) -> Denoising:
        """See `Problem.to`."""
        return Denoising(on(where, self.observation))

    def measured(self, pictures: Tensor) -> Tensor:
        """See `Problem.measured`."""
        return pictures

    def restricted(self, target: Tensor) -> Tensor:
        """See `Problem.restricted`."""
        return target


@dataclass(frozen=True, slots=True)
class Denoise:
    """A picture with Gaussian noise, or with Poisson noise if `peak` is given.

    Raises:
        InputError: `sigma_255` is not from 0 to 1000, `peak` is not from 1e-6 to 1e18, `clip` is
            neither true nor false, or both kinds of noise are given.
    """

    kind: ClassVar[str] = "denoise"
    sigma_255: float | None = described(
        None,
        "0 to 1,000",
        help="Standard deviation of Gaussian noise, on the scale from 0 to 255; 25 unless `peak` "
        "is given.",
    )
    peak: float | None = described(
        None,
        "1e-6 to 1e18",
        help="Mean number of photons of a white pixel. If it is given, the noise is Poisson noise "
        "instead of Gaussian noise; the fewer photons, the more noise.",
    )
    clip: bool = described(True, help="Clip the observation to [0, 1].")

    def __post_init__(self) -> None:
        check_flag("clip", self.clip)
        if self.peak is None:
            if self.sigma_255 is None:
                object.__setattr__(self, "sigma_255", 25.0)
            else:
                check_sigma(self.sigma_255)
            return
        if self.sigma_255 is not None:
            raise InputError("sigma_255 is Gaussian noise and peak Poisson noise: give one of them")
        check_number("peak", self.peak)
        if not MIN_PEAK <= self.peak <= MAX_PEAK:
            raise InputError(f"peak must be from 1e-6 to 1e18, got {self.peak}")

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`. Of Poisson noise it is that of a pixel half way to white."""
        if self.peak is not None:
            return 255 * math.sqrt(0.5 / self.peak)
        assert self.sigma_255 is not None
        return self.sigma_255

    def observe(self, truth: Tensor, streams: Streams) -> Denoising:
        """See `Task.observe`."""
        check_observed(truth, streams)
        if self.peak is None:
            noisy = with_gaussian_noise(truth, self.noise_255, streams)
        else:
            import torch

            from dipstage.randomness import Stream

            generator = streams.generator(Stream.OBSERVATION)
            counts = torch.poisson(self.peak * truth.cpu(), generator=generator)
            noisy = (counts / self.peak).to(truth.device)
        return Denoising(noisy.clamp(0, 1) if self.clip else noisy)


def observe(ground_truth: Tensor, sigma_255: float, streams: Streams) -> Tensor:
    """Make the observation: ground truth + sigma_255 / 255 · n, n standard normal, clipped.

    Args:
        ground_truth: (1, C, H, W) float32 in [0, 1].
        sigma_255: Standard deviation of the noise on the 0 to 255 scale, not negative.
        streams: Random streams of the replicate.

    Returns:
        (1, C, H, W) float32 in [0, 1].

    Raises:
        InputError: `sigma_255` is negative or above 1000, the ground truth lies outside [0, 1], or
            an argument is of another type or shape.
    """
    check_observed(ground_truth, streams)
    check_sigma(sigma_255)
    return with_gaussian_noise(ground_truth, sigma_255, streams).clamp(0, 1)


def check_sigma(sigma_255: float) -> None:
    """Raise InputError unless it is a standard deviation from 0 to 1000."""
    check_number("sigma_255", sigma_255)
    if not 0 <= sigma_255 <= 1000:
        raise InputError(f"sigma_255 must be from 0 to 1000, got {sigma_255}")


def with_gaussian_noise(measurement: Tensor, sigma_255: float, streams: Streams) -> Tensor:
    """Return measurement + sigma_255 / 255 · n, n standard normal, not clipped."""
    import torch

    from dipstage.randomness import Stream

    generator = streams.generator(Stream.OBSERVATION)
    noise = torch.randn(measurement.shape, generator=generator, device="cpu")
    return measurement + sigma_255 / 255 * noise.to(measurement.device)
