"""Ground truths: the pictures that scikit-image carries, and picture files."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import check_whole
from dipstage.documents.plain_yaml import decoded_otherwise, forbidden_in, remedy_for
from dipstage.documents.whole_files import file_path
from dipstage.errors import InputError
from dipstage.pictures.files import Source, decode
from dipstage.schedules.settings import SSIM_WINDOW

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.float32]
Resize: TypeAlias = Callable[[Pixels, tuple[int, ...]], Pixels]

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
        source: What the file holds; None for pixels that come from no file.
    """

    name: str
    pixels: Pixels
    notices: tuple[str, ...] = ()
    source: Source | None = None

    def __repr__(self) -> str:
        """Return one line without the pixels."""
        channels, height, width = self.pixels.shape
        return f"<Picture {self.name!r}: {width} × {height}, {channels} channels>"

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

    def facts(self) -> dict[str, Any]:
        """Return what the picture was taken for, as plain data for people and JSON."""
        channels, height, width = self.pixels.shape
        file = {} if self.source is None else asdict(self.source)
        return {
            "name": self.name,
            **file,
            "used_channels": channels,
            "used_width": width,
            "used_height": height,
            "digest": self.digest,
            "notices": list(self.notices),
        }

    def tensor(self) -> Tensor:
        """Return the pixels as a tensor.

        Returns:
            (1, C, H, W) float32 in [0, 1], on the CPU.
        """
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.pixels))[None]


def split_options(name: str) -> tuple[str, dict[str, int]]:
    """Split options such as `#page=2#bits=12` from the name of a picture file.

    A file whose own name ends like that has no options.

    Raises:
        InputError: An option is unknown, is given twice or is not a whole number above 0.
    """
    parts = name.split("#")
    cuts = range(len(parts), 0, -1)
    cut = next((n for n in cuts if os.path.lexists(expand_path("#".join(parts[:n])))), 0)
    if not cut:  # A pattern, or no file.
        cut = next((n for n in cuts if n == 1 or not re.match(r"\w+=", parts[n - 1])), 1)
    path, options = "#".join(parts[:cut]), parts[cut:]
    found: dict[str, int] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key == "page" and key not in found and re.fullmatch("[1-9][0-9]{6,}", value):
            raise InputError(f"picture {name!r}: #page must be at most 999,999")
        if (
            key not in ("page", "bits")
            or key in found
            or not re.fullmatch("[1-9][0-9]{0,5}", value)
        ):
            raise InputError(
                f"picture {name!r}: #{option} must be one #page=N or one #bits=N, with a whole "
                "number N above 0"
            )
        found[key] = int(value)
    if found.get("bits", 1) > 16:
        raise InputError(f"picture {name!r}: #bits must be from 1 to 16")
    return path, found


def expand_path(path: str) -> str:
    """Replace a leading `~` and variables such as `$HOME`, unless a file has the name itself."""
    if path.startswith("skimage:") or os.path.lexists(path):
        return path
    try:
        return os.path.expanduser(os.path.expandvars(path))
    except ValueError:  # No user has a name with NUL.
        return path


def expand(specs: list[str]) -> list[str]:
    """Replace `~`, `$VARIABLE` and patterns by the files that match them, sorted.

    Args:
        specs: Paths, patterns and `skimage:NAME`. Options behind a pattern apply to each file.

    Raises:
        InputError: A pattern matches no file, or more than 1000, or a folder is named.
    """
    names: list[str] = []
    for spec in map(expand_path, specs):
        path, _ = (spec, {}) if spec.startswith("skimage:") else split_options(spec)
        if os.path.isdir(path):
            pattern = os.path.join(path, "*.png")
            raise InputError(f"{spec!r} is a folder: name its pictures, as in {pattern!r}")
        if (
            path.startswith("skimage:")
            or "://" in path
            or not glob.has_magic(path)
            or os.path.lexists(path)
        ):
            names.append(spec)
            continue
        try:
            matches = sorted(islice(glob.iglob(path, recursive=True), _MAX_MATCHES + 1))
        except ValueError as error:  # A pattern that no system call takes: NUL.
            raise InputError(f"pictures {spec!r} cannot be looked for: {error}") from None
        if not matches:
            raise InputError(f"no picture matches {spec!r}: check the pattern")
        if len(matches) > _MAX_MATCHES:
            raise InputError(f"more than {_MAX_MATCHES} pictures match {spec!r}: name fewer")
        names.extend(match + spec[len(path) :] for match in matches)
    return names


def load_picture(name: str | Path, *, size: int | None = None, multiple: int = 32) -> Picture:
    """Load a ground truth.

    Args:
        name: `skimage:NAME` for the pixels of scikit-image's `skimage.data.NAME()`, or the path
            of a PNG, JPEG, TIFF or WebP file of 8 or 16 bits. Behind a path, `#page=N` takes one
            page or frame, counted from 1, and `#bits=N` states how many bits the values have.
        size: Side in pixels after a centre crop to a square and an anti-aliased resize; a
            multiple of `multiple`, at most the picture's own. None keeps the scale and crops
            the centre to sides that are multiples of `multiple`.
        multiple: 2 ** scales of the network (see `TrainerSettings.multiple`).

    Returns:
        The picture, upright and in sRGB. Notices say what was converted, dropped or,
        without `size`, cropped.

    Raises:
        InputError: The picture cannot be read or does not fit `size` and `multiple`; the message
            names it. Files that are not regular, larger than 1 GB or of more than 100 million
            pixels are refused before they are decoded.
    """
    if not isinstance(name, str | Path):
        raise InputError(f"a picture must be a path or skimage:NAME, got a {type(name).__name__}")
    if size is not None:
        check_whole("size", size)
    check_whole("multiple", multiple, least=1)
    name = str(name)
    pixels, source = load_pixels(name)
    pixels, notices = fitted(name, pixels, size, multiple)
    channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    return Picture(name, channels_first, source.notices + notices, source)


def load_pixels(name: str) -> tuple[Pixels, Source]:
    """Read a picture as it is: see `load_picture`.

    Returns:
        (H, W, C) in [0, 1], and what the file holds.
    """
    if not name:
        raise InputError("a picture has no name: give that of a file, or skimage:NAME")
    if (found := forbidden_in(name)) is not None:
        advice = remedy_for(split_options(name)[0])
        if (meant := decoded_otherwise(name)) is not None:
            name, advice = meant, "set LC_ALL to a locale of UTF-8, such as C.UTF-8, or rename it"
        raise InputError(f"picture {name!r} has {found} in its name: {advice}")
    if name.startswith("skimage:"):
        pixels, source = decode(name, _skimage_path(name), as_stored=True)
    else:
        path, options = split_options(name)
        path = expand_path(path)
        if "$" in path and not os.path.lexists(path):
            raise InputError(f"picture {name!r} does not exist: check that its variables are set")
        page, bits = options.get("page"), options.get("bits")
        pixels, source = decode(name, file_path(path, f"picture {name!r}"), page=page, bits=bits)
    return pixels, source


def fitted(
    name: str, pixels: Pixels, size: int | None, multiple: int, resize: Resize | None = None
) -> tuple[Pixels, tuple[str, ...]]:
    """Crop and resize a picture: see `load_picture`.

    Args:
        name: The picture's name, for errors and notices.
        pixels: (H, W, C) in [0, 1].
        size: See `load_picture`.
        multiple: See `load_picture`.
        resize: What resizes it; None for `resized`.

    Returns:
        (height, width, C), and notices of what was cropped.

    Raises:
        InputError: The picture does not fit `size` and `multiple`.
    """
    notices: tuple[str, ...] = ()
    height, width = pixels.shape[:2]
    if size is None:
        sides = height - height % multiple, width - width % multiple
        if 0 in sides:
            raise InputError(
                f"picture {name!r} is {width} × {height}, smaller than the network's multiple "
                f"{multiple}: choose a larger picture or fewer scales"
            )
        if sides != (height, width):
            notices += (
                f"{name}: cropped from {width} × {height} to {sides[1]} × {sides[0]}, multiples "
                f"of {multiple}",
            )
        pixels = _centre(pixels, *sides)
    else:
        if size < 1 or size % multiple:
            raise InputError(
                f"size must be a multiple of {multiple} (2 ** scales) and above 0, got {size}"
            )
        if size > min(height, width):
            raise InputError(
                f"picture {name!r} is {width} × {height}, smaller than size {size}: "
                "choose a larger picture or a smaller size"
            )
        square = _centre(pixels, min(height, width), min(height, width))
        pixels = (resize or resized)(square, (size, size))
    if min(pixels.shape[:2]) < SSIM_WINDOW:
        raise InputError(
            f"picture {name!r} would be {pixels.shape[1]} × {pixels.shape[0]}: SSIM needs sides of "
            f"at least {SSIM_WINDOW}"
        )
    return pixels, notices


def _skimage_path(name: str) -> Path:
    key = name.removeprefix("skimage:")
    if key not in SKIMAGE_PICTURES:
        raise InputError(
            f"unknown picture {name!r}: scikit-image has {', '.join(SKIMAGE_PICTURES)}"
        )
    import skimage

    return Path(skimage.__file__).parent / "data" / SKIMAGE_PICTURES[key]


def _centre(pixels: Pixels, height: int, width: int) -> Pixels:
    top = (pixels.shape[0] - height) // 2
    left = (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def resized(pixels: Pixels, sides: tuple[int, ...]) -> Pixels:
    """Return (H, W, C) with other sides, without aliases."""
    if pixels.shape[:2] == sides:
        return pixels
    from skimage.transform import resize

    other: NDArray[np.float64] = resize(
        pixels.astype(np.float64),
        sides,
        anti_aliasing=sides[0] < pixels.shape[0] or sides[1] < pixels.shape[1],
    )
    return np.clip(other, 0, 1).astype(np.float32)


def png(pixels: Pixels) -> bytes:
    """Encode (C, H, W) in [0, 1] as an 8-bit PNG; the same pixels give the same bytes."""
    from PIL import Image

    eight_bit = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(eight_bit[..., 0] if eight_bit.shape[2] == 1 else eight_bit).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()
