"""Inpainting: some pixels are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dipstage.errors import InputError
from dipstage.tasks.denoise import check_sigma, with_gaussian_noise

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


@dataclass(frozen=True, slots=True)
class Inpainting:
    """A picture with missing pixels, which are 0 in the observation (see `Problem`).

    Args:
        observation: (1, C, H, W) float32 in [0, 1].
        mask: (1, 1, H, W) float32: 1 where a pixel is known, 0 where it is missing.

    Raises:
        InputError: The mask has another size, or hides nothing or everything.
    """

    observation: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        height, width = self.observation.shape[-2:]
        if tuple(self.mask.shape) != (1, 1, height, width):
            raise InputError(
                f"the mask is {self.mask.shape[-1]} × {self.mask.shape[-2]} and the picture "
                f"{width} × {height}: give a mask of the picture's size"
            )
        known = float(self.mask.mean())
        if known in (0.0, 1.0):
            hidden = "nothing" if known else "everything"
            raise InputError(
                f"the mask hides {hidden}: white marks known pixels, black missing ones"
            )

    @property
    def picture(self) -> Tensor:
        """See `Problem.picture`."""
        return self.observation

    def to(self, where: device) -> Inpainting:
        """See `Problem.to`."""
        return Inpainting(self.observation.to(where), self.mask.to(where))

    def measured(self, pictures: Tensor) -> Tensor:
        """See `Problem.measured`."""
        return pictures * self.mask

    def restricted(self, target: Tensor) -> Tensor:
        """See `Problem.restricted`."""
        return self.measured(target)


@dataclass(frozen=True, slots=True)
class Inpaint:
    """A picture of which a random share of the pixels is missing.

    Args:
        missing: Share of missing pixels, in (0, 1); all channels of a pixel are missing together.
        sigma_255: Gaussian noise of the known pixels on the 0 to 255 scale, from 0 to 1000.

    Raises:
        InputError: A value is outside its range.
    """

    kind: ClassVar[str] = "inpaint"
    missing: float = 0.5
    sigma_255: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.missing < 1:
            raise InputError(f"missing must be a share in (0, 1), got {self.missing}")
        check_sigma(self.sigma_255)

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`."""
        return self.sigma_255

    def observe(self, truth: Tensor, streams: Streams) -> Inpainting:
        """See `Task.observe`."""
        import torch

        from dipstage.randomness import Stream

        generator = streams.generator(Stream.MASK)
        drawn = torch.rand((1, 1, *truth.shape[-2:]), generator=generator)
        mask = (drawn >= self.missing).float()
        noisy = with_gaussian_noise(truth, self.sigma_255, streams).clamp(0, 1)
        return Inpainting(noisy * mask, mask)
