"""Read PNG, JPEG, TIFF and WebP files. None is decoded before its size is known."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.documents.whole_files import read_regular
from dipstage.errors import InputError

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BOUNDED = (1, 5, 8, 32773, 32946)
"""TIFF compressions with an output bounded by the page: none, LZW, Deflate, PackBits, Deflate."""
_MAX_PIXELS = 100_000_000
_MAX_BYTES = 1_000_000_000


def decode(name: str, path: Path) -> tuple[NDArray[Any], list[str]]:
    """Read and decode a file.

    Args:
        name: What errors call the picture.
        path: The file.

    Returns:
        Pixels, (H, W) or (H, W, 3) without transparency, and notices.

    Raises:
        InputError: The file is not regular, larger than 1 GB, of more than 100 million pixels,
            damaged, or of another kind.
    """
    data = read_regular(path, _MAX_BYTES, f"picture {name!r}")
    with warnings.catch_warnings(
        action="ignore"
    ):  # Files are read or refused; codecs' warnings add nothing.
        return _without_alpha(name, _decode_bytes(name, data))


def _decode_bytes(name: str, data: bytes) -> NDArray[Any]:
    if data[:4] in _TIFF_MAGIC and (plain := _decode_plain_tiff(name, data)) is not None:
        return plain
    # Imported late: a wrong path should not wait for these.
    import imagecodecs
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > _MAX_PIXELS:
                raise _too_large(name)
            if image.format == "PNG" and image.mode in ("RGB", "RGBA") and data[24] == 16:
                # Pillow would cut 16-bit colour to 8 bits; byte 24 is the header's bit depth.
                if int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) > _MAX_PIXELS:
                    raise _too_large(name)  # Pillow believes the last header.
                decoded: NDArray[Any] = imagecodecs.png_decode(data)
            else:
                upright = ImageOps.exif_transpose(image)
                if image.mode == "P":
                    upright = upright.convert("RGBA" if "transparency" in image.info else "RGB")
                elif image.mode == "CMYK":
                    upright = upright.convert("RGB")
                decoded = np.asarray(upright)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"picture {name!r} is not a PNG, JPEG, TIFF or WebP picture, whatever its name says"
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # Codecs raise errors of many kinds for damaged files.
        raise InputError(f"picture {name!r} is damaged: {error}") from None
    return decoded


def _decode_plain_tiff(name: str, data: bytes) -> NDArray[Any] | None:
    """Decode grey and RGB TIFF, of which Pillow reads some depths; None leaves it to Pillow."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            # A tile is decoded whole even if the picture covers little of it.
            sides = page.imagelength * page.imagewidth, page.tilelength * page.tilewidth
            if max(sides) > _MAX_PIXELS:
                raise _too_large(name)
            plain = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
            if page.photometric not in plain or page.compression not in _BOUNDED:
                return None
            if page.samplesperpixel > 4 or page.imagedepth > 1 or page.tiledepth > 1:
                raise _other_shape(name, page.shape)
            if page.dtype is None or page.dtype.itemsize > 2:
                raise other_type(name, page.dtype)
            pixels = np.asarray(page.asarray())
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            return np.moveaxis(pixels, 0, -1) if planar and pixels.ndim == 3 else pixels
    except InputError:
        raise
    except Exception as error:  # As above.
        raise InputError(f"picture {name!r} is damaged: {error}") from None


def _too_large(name: str) -> InputError:
    return InputError(
        f"picture {name!r} has more than {_MAX_PIXELS:,} pixels: choose a smaller one"
    )


def _other_shape(name: str, shape: tuple[int, ...]) -> InputError:
    return InputError(
        f"picture {name!r} has the shape {shape}: only grey and RGB pictures are read"
    )


def other_type(name: str, dtype: np.dtype[Any] | None) -> InputError:
    """Return the error for pixels that are not 8 or 16 bits deep."""
    return InputError(f"picture {name!r} has pixels of type {dtype}: save it with 8 or 16 bits")


def _without_alpha(name: str, decoded: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    channels = decoded.shape[2] if decoded.ndim == 3 else 1
    if decoded.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise _other_shape(name, decoded.shape)
    if channels in (2, 4):
        return decoded[..., : channels - 1], [f"{name}: transparency dropped"]
    return decoded, []
