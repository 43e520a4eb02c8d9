"""Denoising: the picture itself is measured, with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dipstage.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


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
        return Denoising(self.observation.to(where))

    def measured(self, pictures: Tensor) -> Tensor:
        """See `Problem.measured`."""
        return pictures

    def restricted(self, target: Tensor) -> Tensor:
        """See `Problem.restricted`."""
        return target


@dataclass(frozen=True, slots=True)
class Denoise:
    """A picture with noise.

    Args:
        noise: `gaussian` adds noise of one standard deviation; `poisson` counts photons.
        sigma_255: Standard deviation of Gaussian noise on the 0 to 255 scale, from 0 to 1000.
        peak: Mean count of a white pixel under Poisson noise, above 0: the fewer, the noisier.
        clip: Cut the observation to [0, 1].

    Raises:
        InputError: A value is outside its range.
    """

    kind: ClassVar[str] = "denoise"
    noise: Literal["gaussian", "poisson"] = "gaussian"
    sigma_255: float = 25.0
    peak: float = 30.0
    clip: bool = True

    def __post_init__(self) -> None:
        if self.noise not in ("gaussian", "poisson"):
            raise InputError(f"noise must be gaussian or poisson, got {self.noise!r}")
        check_sigma(self.sigma_255)
        if not (math.isfinite(self.peak) and self.peak > 0):
            raise InputError(f"peak must be a finite number above 0, got {self.peak}")

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`. Of Poisson noise it is that of a pixel half way to white."""
        return self.sigma_255 if self.noise == "gaussian" else 255 * math.sqrt(0.5 / self.peak)

    def observe(self, truth: Tensor, streams: Streams) -> Denoising:
        """See `Task.observe`."""
        if self.noise == "gaussian":
            noisy = with_gaussian_noise(truth, self.sigma_255, streams)
        else:
            import torch

            from dipstage.randomness import Stream

            generator = streams.generator(Stream.OBSERVATION)
            noisy = torch.poisson(self.peak * truth, generator=generator) / self.peak
        return Denoising(noisy.clamp(0, 1) if self.clip else noisy)


def check_sigma(sigma_255: float) -> None:
    """Raise InputError unless it is a standard deviation from 0 to 1000."""
    if not 0 <= sigma_255 <= 1000:
        raise InputError(f"sigma_255 must be from 0 to 1000, got {sigma_255}")


def with_gaussian_noise(measurement: Tensor, sigma_255: float, streams: Streams) -> Tensor:
    """Return measurement + sigma_255 / 255 · n, n standard normal, not clipped."""
    import torch

    from dipstage.randomness import Stream

    generator = streams.generator(Stream.OBSERVATION)
    return measurement + sigma_255 / 255 * torch.randn(measurement.shape, generator=generator)
