"""Tags of a TIFF page that neither tifffile nor Pillow reads as they are meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffPage

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\b")


def orientation_of(page: TiffPage) -> Any:
    """Return the value of the tag Orientation, or else of the one in the page's XMP."""
    if "Orientation" in page.tags:
        return page.tags["Orientation"].value
    xmp = page.tags.valueof("XMP", b"")
    found = _XMP_ORIENTATION.search(xmp if isinstance(xmp, bytes) else str(xmp).encode())
    return int(found[1]) if found else None


def profile_of(page: TiffPage) -> bytes | None:
    """Return the colour profile; empty if it is stored as something else than bytes."""
    profile = page.tags.get("InterColorProfile")
    if profile is None:
        return None
    return profile.value if isinstance(profile.value, bytes) else b""


def with_deep_palette(page: TiffPage, data: bytes) -> bytes | None:
    """Return the file with a palette of 16 bits if its own has values below 256 alone.

    A palette has 16 bits, but some programs write 8; libtiff tells them apart in the same way.

    Raises:
        ValueError: Colours are missing.
    """
    tag, needed = page.tags.get("ColorMap"), 2**page.bitspersample
    values = np.ravel([] if tag is None else tag.value)
    if len(values) != 3 * needed:
        raise ValueError(
            f"its palette has {len(values) // 3} colours and {page.bitspersample} bits need "
            f"{needed}"
        )
    if tag is None or tag.dtype != 3 or not 0 < values.max() < 256:
        return None
    deep = (257 * values).astype(f"{page.parent.byteorder}u2").tobytes()
    return data[: tag.valueoffset] + deep + data[tag.valueoffset + len(deep) :]


def is_usual_ycbcr(page: TiffPage) -> bool:
    """Return whether Pillow reads YCbCr as the page means it: ITU-R BT.601 with full range."""
    tags = page.tags
    weights = np.reshape(
        tags.valueof("YCbCrCoefficients", (299, 1000, 587, 1000, 114, 1000)), (3, 2)
    )
    full = np.reshape((0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1), (6, 2))
    ends = np.reshape(tags.valueof("ReferenceBlackWhite", full), (6, 2))
    subsampled = tuple(tags.valueof("YCbCrSubSampling", (1, 1))) != (1, 1)
    return (
        np.allclose(weights[:, 0] / weights[:, 1], (0.299, 0.587, 0.114), atol=0.001)
        and np.allclose(ends[:, 0] / ends[:, 1], full[:, 0], atol=1)
        and (page.compression == 7 or not subsampled)  # JPEG's own decoder upsamples.
    )
