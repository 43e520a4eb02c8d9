"""Read the Exif of a picture, and tell whether it is damaged."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffPage

_ORIENTATION, _GPS, _INTEROPERABILITY = 0x112, 0x8825, 0xA005


def exif_of(image: Image) -> tuple[Any, bool]:
    """Return the Exif of a loaded picture, and whether it is damaged.

    Returns:
        None if nothing of it can be read, and what can be read otherwise.
    """
    from PIL.Image import new

    source = image
    if image.format != "TIFF":
        # Opening a JPEG reads its Exif, and the image does not tell of the damage again.
        source = new("1", (1, 1))
        source.info = image.info

    def read() -> Any:
        exif = source.getexif()
        exif.get(_ORIENTATION)
        _read_directories(exif)
        return exif

    return _read(read)


def exif_of_page(page: TiffPage, data: bytes) -> tuple[Any, bool]:
    """Return the Exif of a TIFF page as `exif_of` does, also of pages that Pillow cannot open."""
    from PIL.Image import Exif

    exif = Exif()
    exif.endian, exif.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load_from_fp(io.BytesIO(data), page.offset)
    except Exception:  # As above.
        return None, True

    def read() -> Any:
        _read_directories(exif)
        return exif

    return _read(read)


def _read_directories(exif: Any) -> None:
    for tag in (_GPS, _INTEROPERABILITY):  # The directory of Exif is read with the latter.
        exif.get_ifd(tag)


def _read(read: Callable[[], Any]) -> tuple[Any, bool]:
    """Return what a function reads with Pillow, and whether Pillow found damage."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            exif = read()
        except Exception:  # Of many kinds; a picture is not refused for its Exif.
            return None, True
    return exif, any("Metadata Warning" not in str(each.message) for each in found)
