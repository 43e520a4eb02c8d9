"""Read picture files: upright, without transparency, in sRGB and on the scale from 0 to 1."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.documents.whole_files import read_regular
from dipstage.errors import InputError
from dipstage.pictures.colours import UnusableProfileError, lab_to_srgb, profile_name, to_srgb
from dipstage.pictures.decoders import Raw, read_raw

MAX_BYTES = 1_000_000_000
_CONVERTED = "converted to sRGB"


@dataclass(frozen=True, slots=True)
class Source:
    """Contents of a picture file.

    Args:
        format: PNG, JPEG, TIFF or WEBP.
        width: Pixels in a row, once the picture is upright.
        height: Pixels in a column, once the picture is upright.
        colours: grey, RGB, CMYK, LAB, YCbCr or palette.
        bits: Bits of a value: the file's, or those that were stated.
        lowest: Lowest value in the file; its range is from 0 to 2 ** bits - 1.
        highest: Highest value in the file.
        page: The page or frame that was read, from 1.
        pages: Number of pages or frames.
        orientation: Orientation in the file, from 1 to 8 as in Exif. The pixels are upright.
        profile: Name of the colour profile, and what became of it; None without a profile.
        notices: Sentences that say what was changed, dropped or looks wrong.
    """

    format: str
    width: int
    height: int
    colours: str
    bits: int
    lowest: int
    highest: int
    page: int
    pages: int
    orientation: int
    profile: str | None
    notices: tuple[str, ...]

    @property
    def readings(self) -> str:
        """Differences from how version 0.1 read such a file, in words; empty if there are none."""
        words = [f"orientation {self.orientation}"] if self.orientation > 1 else []
        if self.profile and self.profile.endswith(_CONVERTED):
            words.append(f"the colour profile {self.profile}")
        words += [f"{self.bits} bits"] if self.bits not in (1, 8, 16) else []
        return ", ".join(words + [self.colours] * (self.colours not in ("grey", "RGB")))


def decode(
    name: str,
    path: Path,
    *,
    page: int | None = None,
    bits: int | None = None,
    as_stored: bool = False,
) -> tuple[NDArray[np.float32], Source]:
    """Read and decode a file.

    Args:
        name: What errors call the picture.
        path: The file.
        page: The page or frame to read, from 1. None needs a file of one.
        bits: Significant bits of each value. None takes the file's.
        as_stored: Ignore the colour profile.

    Returns:
        sRGB pixels in [0, 1], (H, W, 1) or (H, W, 3), upright, and what the file holds.

    Raises:
        InputError: The file is not regular, larger than 1 GB, of more than 100 million pixels,
            damaged, of another kind, or has several pages and `page` is None.
    """
    data = read_regular(path, MAX_BYTES, f"picture {name!r}")
    with warnings.catch_warnings(
        action="ignore"
    ):  # Files are read or refused; codecs' warnings add nothing.
        return interpreted(name, read_raw(name, data, page), bits, as_stored)


def interpreted(
    name: str, raw: Raw, bits: int | None = None, as_stored: bool = False
) -> tuple[NDArray[np.float32], Source]:
    """Return upright sRGB pixels without transparency, and what the file holds."""
    pixels = raw.pixels if raw.turned else upright(raw.pixels, raw.orientation)
    inks = raw.colours in ("CMYK", "LAB")
    if raw.colours != "CMYK":
        pixels = _without_alpha(name, pixels, raw.notices)
    lowest, highest = int(pixels.min()), int(pixels.max())
    if bits and bits > raw.bits:
        raise InputError(
            f"picture {name!r} has values of {raw.bits} bits, which cannot hold #bits={bits}: "
            "state fewer bits, or leave them out"
        )
    top = 2 ** (bits or raw.bits) - 1
    if highest > top or (bits and inks):
        raise InputError(
            f"picture {name!r} has values up to {highest} ({raw.colours}), which #bits={bits} does "
            "not fit: state the bits of grey or RGB values"
        )
    if bits is None and not inks and 2 * highest < top:
        used = highest.bit_length()
        advice = f"; if its values have {used} bits, add #bits={used} to its name" if used else ""
        raw.notices.append(
            f"{name}: the brightest value is {highest}, at {highest / top:.1%} of the range{advice}"
        )
    in_srgb, profile = _in_srgb(name, raw, pixels, top, as_stored)
    scaled = np.atleast_3d(in_srgb)
    source = Source(
        raw.format, scaled.shape[1], scaled.shape[0], raw.colours, bits or raw.bits, lowest,
        highest, raw.page, raw.pages, raw.orientation, profile, tuple(raw.notices),
    )  # fmt: skip
    return scaled, source


def _in_srgb(
    name: str, raw: Raw, pixels: NDArray[Any], top: int, as_stored: bool
) -> tuple[NDArray[np.float32], str | None]:
    """Return sRGB in [0, 1], and the profile's name with what became of it."""
    scaled = _scaled(pixels, top)
    if raw.colours == "LAB":
        raw.notices.append(f"{name}: CIE L*a*b* {_CONVERTED}")
        return _scaled(lab_to_srgb(np.bitwise_xor(pixels, np.array([0, 128, 128], np.uint8)))), None
    words = None
    if raw.profile is not None:
        words = profile_name(raw.profile)
        if as_stored:
            return scaled, f"{words}, not applied"
        whole = top == np.iinfo(pixels.dtype).max
        deep = pixels if whole else np.rint(scaled * np.float32(65535)).astype(np.uint16)
        try:
            converted = to_srgb(deep, raw.profile)
        except UnusableProfileError as error:
            words += f", not applied: {error}"
        else:
            if converted is None:
                return scaled, f"{words}, taken as sRGB"
            words += f", {_CONVERTED}"
            scaled = _scaled(converted)
        raw.notices.append(f"{name}: colour profile {words}")
    if scaled.shape[2:] == (4,):
        raw.notices.append(f"{name}: CMYK converted to RGB by a formula, without a profile")
        scaled = _scaled(_by_formula(pixels))
    return scaled, words


def _scaled(pixels: NDArray[Any], top: int | None = None) -> NDArray[np.float32]:
    highest = np.float32(top or np.iinfo(pixels.dtype).max)
    return (pixels / highest).astype(np.float32, copy=False)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an orientation of Exif."""
    if orientation > 4:  # Rows and columns are exchanged.
        pixels = pixels.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    right = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if right else 1]


def _without_alpha(name: str, pixels: NDArray[Any], notices: list[str]) -> NDArray[Any]:
    """Return (H, W) or (H, W, 3)."""
    if pixels.ndim == 2 or pixels.shape[2] in (1, 3):
        return pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    colour, hidden = pixels[..., :-1], pixels[..., -1] == 0
    notice = f"{name}: transparency dropped"
    if hidden.any():
        common = ", ".join(map(str, _most_common(colour[hidden])))
        notice += (
            f"; the colour stored under fully transparent pixels ({hidden.sum():,}) shows now, "
            f"mostly ({common})"
        )
    notices.append(notice)
    return colour[..., 0] if colour.shape[2] == 1 else colour


def _most_common(colours: NDArray[Any]) -> NDArray[Any]:
    """Return the most common of (n, samples) colours, the darkest of several in the first sample.

    Whole numbers are sorted many times as fast as rows.
    """
    packed = np.zeros(len(colours), np.uint64)
    for sample in colours.T:
        packed = packed << 16 | sample
    found, counts = np.unique(packed, return_counts=True)
    return np.asarray(colours[np.argmax(packed == found[counts.argmax()])])


def _by_formula(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    size = cmyk.shape[1], cmyk.shape[0]
    return np.asarray(Image.frombytes("CMYK", size, cmyk.tobytes()).convert("RGB"))
