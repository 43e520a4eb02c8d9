"""Super-resolution: a smaller picture is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dipstage.arguments import check_whole
from dipstage.documents.records import described
from dipstage.errors import InputError
from dipstage.tasks.denoise import check_sigma, with_gaussian_noise
from dipstage.tasks.problem import check_observed, on

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dipstage.randomness import Streams

FACTORS = (2, 4)


@dataclass(frozen=True, slots=True)
class SuperResolution:
    """A picture that was made smaller (see `Problem`).

    Args:
        observation: (1, C, h, w) float32 in [0, 1].
        factor: How many times larger the sides of the restored picture are.
    """

    observation: Tensor
    factor: int

    @property
    def picture(self) -> Tensor:
        """See `Problem.picture`: bicubic interpolation."""
        import torch.nn.functional as F

        larger = F.interpolate(
            self.observation, scale_factor=self.factor, mode="bicubic", align_corners=False
        )
        return larger.clamp(0, 1)

    def to(self, where: torch.device) -> SuperResolution:
        """See `Problem.to`."""
        return SuperResolution(on(where, self.observation), self.factor)

    def measured(self, pictures: Tensor) -> Tensor:
        """See `Problem.measured`."""
        return downsampled(pictures, self.factor)

    def restricted(self, target: Tensor) -> Tensor:
        """See `Problem.restricted`."""
        return target


@dataclass(frozen=True, slots=True)
class SuperResolve:
    """A picture made smaller by a Lanczos filter, as in the official examples.

    Raises:
        InputError: `factor` is neither 2 nor 4, or `sigma_255` is not from 0 to 1000.
    """

    kind: ClassVar[str] = "super_resolve"
    factor: int = described(
        4, "2 or 4", help="How many times smaller the sides of the observation are."
    )
    sigma_255: float = described(
        0.0,
        "0 to 1,000",
        help="Standard deviation of Gaussian noise of the observation, on the scale from 0 to 255.",
    )

    def __post_init__(self) -> None:
        check_whole("factor", self.factor)
        if self.factor not in FACTORS:
            raise InputError(f"factor must be 2 or 4, got {self.factor}")
        check_sigma(self.sigma_255)

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`."""
        return self.sigma_255

    def observe(self, truth: Tensor, streams: Streams) -> SuperResolution:
        """See `Task.observe`."""
        check_observed(truth, streams)
        height, width = truth.shape[-2:]
        if height % self.factor or width % self.factor:
            raise InputError(
                f"the picture is {width} × {height}, whose sides factor {self.factor} does not "
                "divide: crop it"
            )
        small = downsampled(truth, self.factor)
        return SuperResolution(
            with_gaussian_noise(small, self.sigma_255, streams).clamp(0, 1), self.factor
        )


def downsampled(pictures: Tensor, factor: int) -> Tensor:
    """Make pictures smaller by a Lanczos filter with two lobes, repeating the pixels at the edges.

    Args:
        pictures: (N, C, H, W) float32; H and W are multiples of `factor`.
        factor: 2 or 4.

    Returns:
        (N, C, H / factor, W / factor) float32.
    """
    import torch.nn.functional as F

    from dipstage.padding import repeat

    channels, pad = pictures.shape[1], 3 * factor // 2
    kernel = _kernel(factor, channels, pictures.device)
    padded = repeat(pictures, pad, pad)
    rows = F.conv2d(padded, kernel, stride=(1, factor), groups=channels)
    return F.conv2d(rows, kernel.transpose(2, 3), stride=(factor, 1), groups=channels)


@lru_cache(maxsize=8)
def _kernel(factor: int, channels: int, device: torch.device) -> Tensor:
    """Return the filter's 4 · factor taps, centred between two pixels, as (C, 1, 1, taps)."""
    import torch

    x = (np.arange(4 * factor) + 0.5) / factor - 2
    weights = np.sinc(x) * np.sinc(x / 2)
    with torch.inference_mode(mode=False):  # It is kept, also for gradients.
        tensor = torch.from_numpy((weights / weights.sum()).astype(np.float32)).to(device)
        return tensor.expand(channels, 1, 1, 4 * factor)
