"""Inpainting: some pixels are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import check_number, check_text
from dipstage.documents.records import described
from dipstage.errors import InputError
from dipstage.tasks.denoise import check_sigma, with_gaussian_noise
from dipstage.tasks.problem import check_observed, on

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


_KNOWN = 0.999
"""Brightness above which a pixel of a resized mask has its colour from known ones only."""
_GREY = 0.1, 0.9
"""Brightness between which a pixel of a mask is neither black nor white."""


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
        return Inpainting(on(where, self.observation), on(where, self.mask))

    def measured(self, pictures: Tensor) -> Tensor:
        """See `Problem.measured`."""
        return pictures * self.mask

    def restricted(self, target: Tensor) -> Tensor:
        """See `Problem.restricted`."""
        return self.measured(target)


@dataclass(frozen=True, slots=True)
class Inpaint:
    """A picture with missing pixels, which are drawn at random or given by a mask.

    All channels of a pixel are missing together.

    Raises:
        InputError: `missing` is not in (0, 1), `sigma_255` is not from 0 to 1000, or both a share
            and a mask are given.
    """

    kind: ClassVar[str] = "inpaint"
    files: ClassVar[tuple[str, ...]] = ("mask",)
    missing: float | None = described(
        None,
        "between 0 and 1",
        help="Share of missing pixels, which are drawn anew for each picture and seed; 0.5 unless "
        "`mask` is given.",
    )
    mask: str | None = described(
        None,
        help="Picture file that is black where pixels are missing, and white where they are known. "
        "It is cropped and resized as the pictures are.",
    )
    sigma_255: float = described(
        0.0,
        "0 to 1,000",
        help="Standard deviation of Gaussian noise of the known pixels, on the scale from 0 to "
        "255.",
    )

    def __post_init__(self) -> None:
        check_sigma(self.sigma_255)
        if self.mask is not None:
            check_text("mask", self.mask)
            if not self.mask.strip():
                raise InputError("mask is empty: name a picture file, or leave the key out")
            if self.missing is not None:
                raise InputError("missing and mask exclude each other: give one of them")
            return
        if self.missing is None:
            object.__setattr__(self, "missing", 0.5)
            return
        check_number("missing", self.missing)
        if not 0 < self.missing < 1:
            raise InputError(f"missing must be a share in (0, 1), got {self.missing}")

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`."""
        return self.sigma_255

    def loaded(self, size: int | None, multiple: int) -> Inpaint | MaskedInpaint:
        """See `ReadsFiles.loaded`."""
        if self.mask is None:
            return self
        from dipstage.pictures.images import fitted

        mask = read_mask(self.mask)
        white, cropped = fitted(mask.name, mask.white, size, multiple, shrunk)
        height, width = mask.white.shape[:2]
        if size is not None and height != width:
            cropped = (f"{mask.name}: of {width} × {height} pixels, the centre square is taken",)
        known = np.ascontiguousarray(white[..., 0])
        return MaskedInpaint(known, self.sigma_255, (*mask.notices, *cropped))

    def observe(self, truth: Tensor, streams: Streams) -> Inpainting:
        """See `Task.observe`. A mask must have the size of the ground truth: see `loaded`."""
        import torch

        from dipstage.randomness import Stream

        check_observed(truth, streams)
        if self.missing is None:
            return self.loaded(None, 1).observe(truth, streams)
        generator = streams.generator(Stream.MASK)
        height, width = truth.shape[-2:]
        drawn = torch.rand((1, 1, height, width), generator=generator, device="cpu")
        known = (drawn >= self.missing).float()
        if (share := float(known.mean())) in (0.0, 1.0):
            raise InputError(
                f"missing {self.missing:g} leaves {'every' if share else 'no'} pixel of "
                f"{width} × {height} known: {'raise' if share else 'lower'} it"
            )
        return _masked(truth, known, self.sigma_255, streams)


@dataclass(frozen=True, slots=True, eq=False)
class MaskedInpaint:
    """`Inpaint` with a mask that was read, so that it can be sent to other machines.

    Args:
        known: (H, W) float32: 1 where a pixel is known, 0 where it is missing.
        sigma_255: See `Inpaint`.
        notices: See `Mask`.
    """

    kind: ClassVar[str] = "inpaint"
    known: NDArray[np.float32]
    sigma_255: float = 0.0
    notices: tuple[str, ...] = ()

    @property
    def noise_255(self) -> float:
        """See `Task.noise_255`."""
        return self.sigma_255

    def observe(self, truth: Tensor, streams: Streams) -> Inpainting:
        """See `Task.observe`."""
        import torch

        check_observed(truth, streams)
        mask = torch.from_numpy(self.known)[None, None]
        if mask.shape[2:] != truth.shape[2:]:
            return Inpainting(truth, mask)  # Raises the error that names both sizes.
        return _masked(truth, mask, self.sigma_255, streams)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask as its file has it.

    Args:
        name: The file.
        white: (H, W, 1) float32: 1 where a pixel is known, 0 where it is missing.
        notices: Sentences that say how the file was read.
    """

    name: str
    white: NDArray[np.float32]
    notices: tuple[str, ...]


def read_mask(name: str) -> Mask:
    """Read a mask: pixels brighter than middle grey are known.

    Args:
        name: Picture file, or `skimage:NAME`.

    Raises:
        InputError: The file cannot be read, is partly transparent, or is mostly neither black nor
            white.
    """
    from dipstage.pictures.images import load_pixels
    from dipstage.pictures.photographs import load_photograph

    if name.startswith("skimage:"):
        pixels, source = load_pixels(name)
        alpha, notices = None, source.notices
    else:
        photo = load_photograph(name, "mask")
        pixels, alpha, notices = photo.pixels, photo.alpha, photo.notices
    if alpha is not None and (hidden := int((alpha < np.iinfo(alpha.dtype).max).sum())):
        raise InputError(
            f"mask {name!r} is transparent in {hidden:,} of {alpha.size:,} pixels, and so neither "
            "black nor white there: fill them, and save it without transparency"
        )
    brightness = pixels.mean(axis=2, keepdims=True)
    if 0 < (brightest := float(brightness.max())) < _GREY[0]:
        raise InputError(
            f"mask {name!r} is black everywhere: its values reach {brightest:.1%} of their range, "
            "so scale them to the whole of it"
        )
    missing, pixel_count = int((brightness < 0.5).sum()), brightness.size
    if missing in (0, pixel_count):
        raise InputError(
            f"mask {name!r} hides {'everything' if missing else 'nothing'}: white marks known "
            "pixels, black missing ones"
        )
    grey = int(((brightness > _GREY[0]) & (brightness < _GREY[1])).sum())
    if 2 * grey > pixel_count:
        raise InputError(
            f"mask {name!r} is no mask: {grey:,} of its {pixel_count:,} pixels are neither black "
            "nor white"
        )
    share = f"{missing:,} of {pixel_count:,} pixels, {missing / pixel_count:.1%}"
    words = f"{name}: {share}, are missing"
    if grey:
        words += (
            f"; pixels that are neither black nor white ({grey:,}) count as missing if darker than "
            "middle grey"
        )
    return Mask(name, (brightness >= 0.5).astype(np.float32), (*notices, words))


def shrunk(white: NDArray[np.float32], sides: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a mask with other sides, in which a pixel is known if all that it replaces are.

    The filter that shrinks a picture reaches beyond these, and hardly sees single ones of them.

    Args:
        white: (H, W, 1), as in `Mask`.
        sides: The new height and width.

    Returns:
        (height, width, 1) float32 of 0 and 1.
    """
    from dipstage.pictures.images import resized

    least = white
    for axis, side in enumerate(sides):
        if side < (length := white.shape[axis]):
            replaced_by = (2 * np.arange(length) + 1) * side // (2 * length)
            first = np.searchsorted(replaced_by, np.arange(side))
            least = np.minimum.reduceat(least, first, axis)
    darkest = np.minimum(resized(white, sides), resized(least, sides))
    return (darkest > _KNOWN).astype(np.float32)


def _masked(truth: Tensor, mask: Tensor, sigma_255: float, streams: Streams) -> Inpainting:
    noisy = with_gaussian_noise(truth, sigma_255, streams).clamp(0, 1)
    known = mask.to(truth.device)
    return Inpainting(noisy * known, known)
