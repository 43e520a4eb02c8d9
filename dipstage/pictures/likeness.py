"""Recognise a picture that was stored again: as JPEG, with a palette, in grey or another size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dipstage.pictures.images import Pixels

SAME = 0.95
"""Likeness from which two pictures count as one.

No two different pictures of scikit-image, CBSD68 (12) and Kodak (20) reach 0.72. Copies as JPEG of
quality 30, in grey, with 256 colours or of half the size reach 0.96.
"""
SIMILAR = 0.85
"""Likeness from which two pictures may be one. Copies of quality 5 and of 16 colours reach 0.88."""

_SIDE = 64
"""Maximum side of what is compared: fine texture does not survive a shift by half a pixel."""
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def likeness(a: Pixels, b: Pixels) -> float:
    """Return the correlation of two pictures' luminance, each less its mean.

    Args:
        a: (C, H, W) in [0, 1]; C is 1 or 3.
        b: The same. Both are resized to the smaller height and width, at most 64.

    Returns:
        A number in [-1, 1]. If a picture has no contrast, 1 if neither has any, and 0 otherwise.
    """
    height, width = _sides(a, b)
    return _correlation(_contrast(a, height, width), _contrast(b, height, width))


def likenesses(pictures: Sequence[Pixels]) -> Iterator[tuple[int, int, float]]:
    """Yield the indices of every two pictures, and their `likeness`. Each is resized once."""

    @cache
    def contrast(index: int, height: int, width: int) -> NDArray[np.float64]:
        return _contrast(pictures[index], height, width)

    for i, j in combinations(range(len(pictures)), 2):
        height, width = _sides(pictures[i], pictures[j])
        yield i, j, _correlation(contrast(i, height, width), contrast(j, height, width))


def _sides(a: Pixels, b: Pixels) -> tuple[int, int]:
    """Return the height and width at which two pictures are compared."""
    (a_height, a_width), (b_height, b_width) = a.shape[1:], b.shape[1:]
    return min(_SIDE, a_height, b_height), min(_SIDE, a_width, b_width)


def _correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the correlation of two arrays of mean 0."""
    norms = float(np.linalg.norm(one)), float(np.linalg.norm(two))
    if min(norms) < 1e-9:
        return float(max(norms) < 1e-9)
    return float(np.clip((one * two).sum() / (norms[0] * norms[1]), -1, 1))


def _contrast(pixels: Pixels, height: int, width: int) -> NDArray[np.float64]:
    """Return (H, W) of mean 0."""
    from skimage.transform import resize

    weights = _LUMINANCE if len(pixels) == 3 else (1.0,)
    grey: NDArray[np.float64] = np.tensordot(weights, pixels.astype(np.float64), 1)
    if grey.shape != (height, width):
        grey = resize(grey, (height, width), anti_aliasing=True)
    return np.asarray(grey - grey.mean())
