"""Arrays of pixels, and the padded problems that they pose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dipstage.arguments import outside
from dipstage.errors import InputError
from dipstage.restoration.choosing import TaskName
from dipstage.schedules.settings import SSIM_WINDOW
from dipstage.tasks.denoise import Denoising
from dipstage.tasks.inpaint import Inpainting
from dipstage.tasks.problem import Problem
from dipstage.tasks.super_resolve import SuperResolution


def problem_of(
    pixels: NDArray[np.float32], task: TaskName, mask: NDArray[Any] | None, factor: int | None,
    multiple: int,
) -> Problem:  # fmt: skip
    """Return the padded problem of a task.

    Args:
        pixels: (H, W, C) float32 in [0, 1].
        task: Its name.
        mask: (H, W) for `inpaint`: true or not 0 where a pixel is known.
        factor: 2 or 4 for `super_resolve`.
        multiple: Number of which the sides of the observation become multiples.

    Raises:
        InputError: The mask has another shape, or does not fit the picture.
    """
    observation = as_tensor(pixels)
    if mask is not None:
        known = np.asarray(mask)
        if known.ndim != 2:
            raise InputError(f"the mask must have the shape (H, W), got {known.shape}")
        if (values := len(np.unique(known))) > 2:
            raise InputError(f"the mask has {values} values: make it two, as in mask > 127")
        known = (known != 0).astype(np.float32)[..., None]
        Inpainting(observation, as_tensor(known))  # Checks the mask before it is padded.
        hidden = as_tensor(padded(known, multiple))
        return Inpainting(as_tensor(padded(pixels, multiple)) * hidden, hidden)
    observation = as_tensor(padded(pixels, multiple))
    return SuperResolution(observation, factor) if factor else Denoising(observation)


def padded(pixels: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Return pixels whose sides are multiples and no smaller than SSIM needs.

    The picture is reflected below and to the right.
    """
    least = -(-SSIM_WINDOW // multiple) * multiple
    added = [max(-(-side // multiple) * multiple, least) - side for side in pixels.shape[:2]]
    mode: Literal["symmetric"] = "symmetric"
    return np.pad(pixels, ((0, added[0]), (0, added[1]), (0, 0)), mode=mode)


def as_tensor(pixels: NDArray[np.float32]) -> torch.Tensor:
    """Return (H, W, C) pixels as a batch of one, (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None]


def as_pixels(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return (H, W, C) float32 in [0, 1] of an array that `restore` takes.

    Raises:
        InputError: It has another shape, type or range.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"the array must be a NumPy array, got a {type(array).__name__}: read a file by "
            "skimage.io.imread, and convert other values by numpy.asarray"
        )
    if np.ma.isMaskedArray(array):
        raise InputError(
            "the array is masked: fill it by its filled(0), and give the known pixels as mask"
        )
    shape = array.shape
    if array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[2] not in (1, 3)):
        raise InputError(f"the array must be (H, W), (H, W, 1) or (H, W, 3), got {shape}")
    pixels = array[..., None] if array.ndim == 2 else array
    if array.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return (pixels / np.float32(np.iinfo(array.dtype).max)).astype(np.float32)
    if array.dtype.kind != "f":
        raise InputError(f"the array must be of floats, uint8 or uint16, got {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"floats must lie in [0, 1], {outside(low, high, 'numpy.clip(array, 0, 1)')}"
        )
    return pixels.astype(np.float32)
