"""Ground truths: the pictures that scikit-image carries, and picture files."""

from __future__ import annotations

import glob
import hashlib
import io
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipstage.documents.plain_yaml import forbidden_in
from dipstage.errors import InputError
from dipstage.picture_files import decode, other_type
from dipstage.settings import SSIM_WINDOW

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.float32]

SKIMAGE_PICTURES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "ihc": "ihc.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "text": "text.png",
}
"""Photographs inside the scikit-image wheel, so that nothing is downloaded."""

_MAX_MATCHES = 1000
_LABEL_BYTES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A ground truth.

    Args:
        name: The name that was asked for: a path, or `skimage:NAME`.
        pixels: (C, H, W) float32 in [0, 1]; C is 1 or 3.
        notices: Sentences that say what loading changed, such as a dropped transparency.
    """

    name: str
    pixels: Pixels
    notices: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the shape and the pixels; independent of the name."""
        content = hashlib.sha256(repr(self.pixels.shape).encode())
        content.update(np.ascontiguousarray(self.pixels).tobytes())
        return content.hexdigest()

    @property
    def label(self) -> str:
        """Short name for tables and file names, without folder, ending and prefix.

        Characters that file names may not hold become underscores. Such names, and names of more
        than 100 bytes, end in a digest of the whole name, so that they stay distinct.
        """
        stem = Path(self.name.removeprefix("skimage:")).stem
        safe = "".join("_" if c in "/\\" or forbidden_in(c) else c for c in stem)
        if safe == stem and safe.strip(".") and len(safe.encode()) <= _LABEL_BYTES:
            return stem
        start = safe.encode()[: _LABEL_BYTES // 2].decode(errors="ignore").strip(".")
        whole = self.name.encode(errors="backslashreplace")
        return f"{start}-{hashlib.sha256(whole).hexdigest()[:8]}"

    def tensor(self) -> Tensor:
        """Return the pixels as a tensor.

        Returns:
            (1, C, H, W) float32 in [0, 1], on the CPU.
        """
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.pixels))[None]


def expand(specs: list[str]) -> list[str]:
    """Replace patterns by the files that match them, sorted.

    Args:
        specs: Paths, patterns and `skimage:NAME`.

    Raises:
        InputError: A pattern matches no file, or more than 1000.
    """
    names: list[str] = []
    for spec in specs:
        if spec.startswith("skimage:") or not glob.has_magic(spec) or os.path.lexists(spec):
            names.append(spec)
            continue
        try:
            matches = sorted(islice(glob.iglob(spec, recursive=True), _MAX_MATCHES + 1))
        except ValueError as error:  # A pattern that no system call takes: NUL.
            raise InputError(f"pictures {spec!r} cannot be looked for: {error}") from None
        if not matches:
            raise InputError(f"no picture matches {spec!r}: check the pattern")
        if len(matches) > _MAX_MATCHES:
            raise InputError(f"more than {_MAX_MATCHES} pictures match {spec!r}: name fewer")
        names.extend(matches)
    return names


def load_picture(name: str, *, size: int | None = None, multiple: int = 32) -> Picture:
    """Load a ground truth.

    Args:
        name: `skimage:NAME`, or the path of a PNG, JPEG, TIFF or WebP file of 8 or 16 bits.
        size: Side in pixels after a centre crop to a square and an anti-aliased resize; a
            multiple of `multiple`, at most the picture's own. None keeps the scale and crops
            the centre to sides that are multiples of `multiple`.
        multiple: 2 ** scales of the network (see `TrainerSettings.multiple`).

    Returns:
        The picture. Transparency is dropped, with a notice.

    Raises:
        InputError: The picture cannot be read or does not fit `size` and `multiple`; the message
            names it. Files that are not regular, larger than 1 GB or of more than 100 million
            pixels are refused before they are decoded.
    """
    if (found := forbidden_in(name)) is not None:
        raise InputError(f"picture {name!r} has {found} in its name: rename it")
    decoded, notices = decode(name, _path_of(name))
    pixels = _as_float(name, decoded)
    height, width = pixels.shape[:2]
    if size is None:
        sides = height - height % multiple, width - width % multiple
        if 0 in sides:
            raise InputError(
                f"picture {name!r} is {width} × {height}, smaller than the network's multiple "
                f"{multiple}: choose a larger picture or fewer scales"
            )
        pixels = _centre(pixels, *sides)
    else:
        if size < 1 or size % multiple:
            raise InputError(f"size must be a multiple of {multiple} (2 ** scales), got {size}")
        if size > min(height, width):
            raise InputError(
                f"picture {name!r} is {width} × {height}, smaller than size {size}: "
                "choose a larger picture or a smaller size"
            )
        pixels = _resized(_centre(pixels, min(height, width), min(height, width)), size)
    if min(pixels.shape[:2]) < SSIM_WINDOW:
        raise InputError(
            f"picture {name!r} would be {pixels.shape[1]} × {pixels.shape[0]}: SSIM needs sides of "
            f"at least {SSIM_WINDOW}"
        )
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    return Picture(name, channels_first, tuple(notices))


def _path_of(name: str) -> Path:
    if not name.startswith("skimage:"):
        return Path(name)
    key = name.removeprefix("skimage:")
    if key not in SKIMAGE_PICTURES:
        raise InputError(
            f"unknown picture {name!r}: scikit-image carries {', '.join(SKIMAGE_PICTURES)}"
        )
    import skimage

    return Path(skimage.__file__).parent / "data" / SKIMAGE_PICTURES[key]


def _as_float(name: str, decoded: NDArray[Any]) -> Pixels:
    pixels = decoded[..., None] if decoded.ndim == 2 else decoded
    if pixels.dtype == np.bool_:
        return pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise other_type(name, pixels.dtype)
    return (pixels / np.float32(np.iinfo(pixels.dtype).max)).astype(np.float32, copy=False)


def _centre(pixels: Pixels, height: int, width: int) -> Pixels:
    top = (pixels.shape[0] - height) // 2
    left = (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _resized(pixels: Pixels, size: int) -> Pixels:
    if pixels.shape[0] == size:
        return pixels
    from skimage.transform import resize

    small: Pixels = resize(pixels.astype(np.float64), (size, size), anti_aliasing=True)
    return np.clip(small, 0, 1).astype(np.float32)


def png(pixels: Pixels) -> bytes:
    """Encode (C, H, W) in [0, 1] as an 8-bit PNG; the same pixels give the same bytes."""
    from PIL import Image

    eight_bit = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(eight_bit[..., 0] if eight_bit.shape[2] == 1 else eight_bit).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


def save_png(path: Path, pixels: Pixels) -> None:
    """Write (C, H, W) in [0, 1] as an 8-bit PNG. The file appears whole or not at all."""
    from dipstage.documents.whole_files import write_whole

    write_whole(path, png(pixels))
