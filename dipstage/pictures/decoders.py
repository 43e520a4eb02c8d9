"""Decode PNG, JPEG, TIFF and WebP. Nothing is decoded before its size is known."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.pictures.colours import stated_profile
from dipstage.pictures.exif import exif_of, exif_of_page
from dipstage.pictures.jpeg_scans import is_damaged
from dipstage.pictures.png_chunks import check_palette, check_rows, colour_numbers
from dipstage.pictures.tiff_tags import (
    is_usual_ycbcr,
    orientation_of,
    profile_of,
    with_deep_palette,
)
from dipstage.silence import without_logs, without_stderr

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffFile, TiffPage

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BOUNDED = (1, 5, 8, 32773, 32946)
"""TIFF compressions with an output bounded by the page: none, LZW, Deflate, PackBits, Deflate."""
_PREDICTED = (5, 8, 32946)
"""Those of them that a predictor can go before: LZW and Deflate."""
_PLAIN = {"MINISBLACK": "grey", "MINISWHITE": "grey", "RGB": "RGB", "CIELAB": "LAB"}
"""Colours of the TIFF pages that tifffile decodes."""
_STARTS = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP",
    **dict.fromkeys(_TIFF_MAGIC, "TIFF"),
}  # fmt: skip
_MAX_PIXELS = 100_000_000
_MAX_PAGES = 1000
_REDUCED, _MASK = 1, 4
"""Bits of a TIFF page's NewSubfileType."""
_MODES = {
    "1": "1", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA",
    "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA", "CMYK": "CMYK",
    "I;16": "I;16", "I;16B": "I;16B", "I;16L": "I;16L",
}  # fmt: skip
"""The mode to which each of Pillow's modes is converted; P depends on its palette."""
_INTERNAL = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, struct.error)
"""Errors whose words are about a decoder's code and not about the file."""


@dataclass(slots=True)
class Raw:
    """A decoded picture as its file has it.

    Args:
        pixels: (H, W) or (H, W, samples) of bool, uint8 or uint16.
        orientation: What the file states; `read_raw` makes it a number from 1 to 8.
        exif: Pillow's `Exif` of the page; None if nothing of it can be read.
        turned: Whether the decoder has applied the orientation.
    """

    pixels: NDArray[Any]
    format: str
    colours: str
    bits: int
    page: int
    pages: int
    orientation: Any
    profile: bytes | None
    exif: Any
    turned: bool = False
    notices: list[str] = field(default_factory=list)


def read_raw(name: str, data: bytes, page: int | None) -> Raw:
    """Decode one page or frame of a file.

    Args:
        name: What errors call the picture.
        data: The file.
        page: The page or frame, from 1. None needs a file of one.

    Raises:
        InputError: The file has more than 100 million pixels, is damaged or of another kind, or
            has several pages and `page` is None.
    """
    if not data:
        raise InputError(f"picture {name!r} is an empty file: copy it again")
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        if not width or not height:
            raise InputError(f"picture {name!r} is {width} × {height}: it has no pixels")
    read = _read_tiff if data[:4] in _TIFF_MAGIC else _read_other
    with without_logs("tifffile", "imagecodecs"):  # Their errors are raised as well.
        raw = read(name, data, page)
    shape = raw.pixels.shape
    if len(shape) not in (2, 3) or 0 in shape or shape[2:] > (4,):
        raise InputError(f"picture {name!r} is damaged: its pixels have the shape {shape}")
    if not (isinstance(raw.orientation, int) and 1 <= raw.orientation <= 8):
        if raw.orientation is not None:
            raw.notices.append(f"{name}: an orientation that is not from 1 to 8 ignored")
        raw.orientation = 1
    return raw


def _read_tiff(name: str, data: bytes, wanted: int | None) -> Raw:
    """Decode grey and RGB TIFF, of which Pillow reads some depths; leave the rest to Pillow."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            index, number, pages = _chosen_page(name, tiff, wanted)
            page = tiff.pages[index]
            # A tile is decoded whole even if the picture covers little of it.
            sides = page.imagelength * page.imagewidth, page.tilelength * page.tilewidth
            if max(sides) > _MAX_PIXELS:
                raise _too_large(name)
            colours = getattr(page.photometric, "name", str(page.photometric))
            if 262 not in page.tags:
                raise InputError(
                    f"picture {name!r} does not say what its colours are (PhotometricInterpretation"
                    "): save it as grey or RGB"
                )
            orientation = orientation_of(page)
            exif, exif_damaged = exif_of_page(page, data)
            if page.dtype is None or page.dtype.itemsize > 2 or page.dtype.kind not in "bu":
                raise _other_type(name, page.dtype)
            if colours in _PLAIN and page.compression in _BOUNDED:
                raw = Raw(
                    np.empty(0), "TIFF", _PLAIN[colours], page.bitspersample, number, pages,
                    orientation, profile_of(page), exif,
                )  # fmt: skip
                _decode_plain(name, page, raw)
                raw.notices += [_damaged_exif(name)] * exif_damaged
                return raw
            usual = {
                "SEPARATED": page.tags.valueof("InkSet", 1) == 1,
                "YCBCR": is_usual_ycbcr(page),
                "CIELAB": False,
            }
            if not usual.get(colours, colours in _PLAIN or colours == "PALETTE"):
                raise _other_colours(name, colours)
            depth, extra = page.bitspersample, page.extrasamples
            deepened = with_deep_palette(page, data) if colours == "PALETTE" else None
    except (InputError, ImportError):
        raise
    except Exception as error:  # Codecs raise errors of many kinds for damaged files.
        raise _damaged(name, error) from None
    with without_stderr():
        raw = _read_other(name, deepened or data, None, index)
    if deepened:
        raw.notices.append(f"{name}: palette of values below 256 taken as one of 8 bits")
    raw.page, raw.pages, raw.orientation, raw.exif = number, pages, orientation, exif
    if exif_damaged and _damaged_exif(name) not in raw.notices:
        raw.notices.append(_damaged_exif(name))
    if depth > raw.bits:
        raw.notices.append(f"{name}: read with 8 of its {depth} bits")
    if extra and raw.pixels.shape[2:] not in ((2,), (4,)):
        raw.notices.append(_unknown_sample(name))
    return raw


def _chosen_page(name: str, tiff: TiffFile, wanted: int | None) -> tuple[int, int, int]:
    """Return the index of the page to read, its number and how many there are.

    Thumbnails and masks do not count.
    """
    every = [page.subfiletype for page in islice(tiff.pages, _MAX_PAGES + 1)]
    whole = [i for i, kind in enumerate(every) if not kind & (_REDUCED | _MASK)]
    if not every:
        raise ValueError("it has no pages")
    if not whole:
        raise InputError(
            f"picture {name!r} holds only a thumbnail that is read (a camera's raw file?): "
            "convert it to RGB with 8 or 16 bits"
        )
    if len(every) > _MAX_PAGES:
        raise _too_many(name, "pages")
    if len(every) == 1 and (tiff.is_shaped or tiff.is_imagej):
        # A stack of one page, whose other pictures follow the first without a header.
        count = tiff.series[0].size // max(tiff.pages[0].size, 1)
        if count > 1:
            raise InputError(
                f"picture {name!r} is a stack of {count} pictures on one page: save one as a file"
            )
    number = _chosen(name, len(whole), wanted, "pages")
    return whole[number - 1], number, len(whole)


def _chosen(name: str, count: int, wanted: int | None, what: str) -> int:
    if wanted is None and count > 1:
        raise InputError(
            f"picture {name!r} has {count} {what}: choose one by #page=N after its name, with N "
            f"from 1 to {count}"
        )
    if wanted is not None and not 1 <= wanted <= count:
        known = f"from 1 to {count}" if count > 1 else "1, or left out"
        raise InputError(f"picture {name!r} has {count} {what}: page must be {known}")
    return wanted or 1


def _decode_plain(name: str, page: TiffPage, raw: Raw) -> None:
    if raw.colours == "LAB" and raw.bits != 8:
        raise _other_colours(name, f"{raw.bits}-bit CIELAB")
    extra = page.samplesperpixel - (1 if raw.colours == "grey" else 3)
    if extra not in (0, 1) or page.imagedepth > 1 or page.tiledepth > 1:
        raise InputError(
            f"picture {name!r} has {page.samplesperpixel} samples for each {raw.colours} pixel, "
            f"and the shape {page.shape}: save it as grey or RGB"
        )
    if page.compression not in _PREDICTED:
        page.predictor = 1  # The tag has no meaning then (TIFF 6.0, section 14).
    pixels = np.asarray(page.asarray())
    if page.planarconfig == 2 and pixels.ndim == 3:  # Separate planes.
        pixels = np.moveaxis(pixels, 0, -1)
    top = 2**raw.bits - 1
    pixels = pixels.astype(np.uint8) if pixels.dtype.kind == "b" else pixels
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if extra else (pixels, pixels[..., :0])
    if page.photometric.name == "MINISWHITE":
        colour = (top - colour).astype(pixels.dtype)
    # A sample without the tag has no stated meaning either.
    meaning = page.extrasamples[0] if page.extrasamples else 0
    if extra and meaning == 1:  # Colours are multiplied by alpha.
        straight = np.minimum(colour * float(top) / np.maximum(alpha, 1), top)
        colour = np.rint(straight).astype(pixels.dtype)
    if extra and meaning == 0:
        raw.notices.append(_unknown_sample(name))
        alpha = pixels[..., :0]
    raw.pixels = np.concatenate([colour, alpha], axis=-1) if extra else colour


def _read_other(name: str, data: bytes, wanted: int | None, tiff_index: int | None = None) -> Raw:
    """Decode PNG, JPEG and WebP, and the TIFF page that `tiff_index` counts from 0."""
    # Imported late: a wrong path should not wait for these.
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise _too_large(name)
            if image.format == "PNG":
                check_rows(data)
            frames = _frames(name, image) if tiff_index is None else [tiff_index]
            number = _chosen(name, len(frames), wanted, "frames")
            image.seek(frames[number - 1])
            if image.width * image.height > _MAX_PIXELS:
                raise _too_large(name)
            raw = _read_frame(name, data, image, number, len(frames))
            if tiff_index is None and len(frames) < getattr(image, "n_frames", 1):
                raw.notices.append(f"{name}: previews or gain maps beside the picture ignored")
            return raw
    except (InputError, ImportError):
        raise
    except UnidentifiedImageError:
        kind = next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)
        words = "not a PNG, JPEG, TIFF or WebP picture, whatever its name says"
        if kind is not None:
            words = f"damaged, or {kind} of a kind that is not read: copy it again, or save it anew"
        raise InputError(f"picture {name!r} is {words}") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # As above.
        raise _damaged(name, error) from None


def _frames(name: str, image: Any) -> list[int]:
    """Return the indices of the frames.

    A JPEG file may also hold previews and gain maps, whose size differs from the picture's.
    """
    count = getattr(image, "n_frames", 1)
    if count > _MAX_PAGES:
        raise _too_many(name, "frames")
    if image.format != "MPO":
        return [*range(count)]
    size, frames = image.size, [0]
    for index in range(1, count):
        with suppress(Exception):  # As above; the first picture does not need the others.
            image.seek(index)
            frames += [index] if image.size == size else []
    image.seek(0)
    return frames


def _read_frame(name: str, data: bytes, image: Image, page: int, pages: int) -> Raw:
    image.load()  # So that what is damaged in the pixels is not taken for damaged Exif.
    exif, exif_damaged = exif_of(image)
    orientation = exif.get(0x112) if exif else None
    info = dict(image.info)
    depth = data[24] if image.format == "PNG" else 8
    mode = _MODES.get(image.mode)
    if image.mode == "P" and image.format == "PNG":
        check_palette(image)
    if image.mode == "P":
        mode = "RGBA" if "transparency" in info else "RGB"
    if image.mode in ("I", "F"):
        raise _other_type(name, np.dtype("int32" if image.mode == "I" else "float32"))
    if mode is None:
        raise _other_colours(name, image.mode)
    if depth == 16 and mode in ("RGB", "RGBA"):
        pixels = _decode_deep_png(name, data, page)
    else:
        pixels = np.asarray(image if mode == image.mode else image.convert(mode))
    if pixels.dtype.kind == "b":
        pixels, depth = pixels.astype(np.uint8), 1
    elif mode.startswith("I;16"):
        pixels, depth = pixels.astype(np.uint16), 16
    elif mode == "L" and depth < 8:
        pixels = pixels // (255 // (2**depth - 1))  # Pillow scales to 8 bits.
    else:
        depth = 8 * pixels.dtype.itemsize
    names = {"P": "palette", "PA": "palette", "YCbCr": "YCbCr", "CMYK": "CMYK"}
    grey = pixels.ndim == 2 or pixels.shape[2] == 2
    colours = names.get(image.mode, "grey" if grey else "RGB")
    format = str(image.format).replace("MPO", "JPEG")
    profile = stated_profile(info, exif)
    raw = Raw(pixels, format, colours, depth, page, pages, orientation, profile, exif)
    raw.turned = image.format == "TIFF"
    if format == "JPEG" and page == 1 and is_damaged(data):
        raw.notices.append(f"{name}: damaged, its pixels do not fit its size: look at it first")
    if exif_damaged:
        raw.notices.append(_damaged_exif(name))
    if image.format == "PNG" and image.mode != "P":
        _add_colour_key(raw, info.get("transparency"))
    numbers = colour_numbers(data) if image.format == "PNG" else None
    if numbers not in (None, b"\1\1\0\1", b"\1\x0d\0\1"):
        raise InputError(
            f"picture {name!r} has the colours of video or its narrow range (cICP): convert it to "
            "sRGB"
        )
    return raw


def _decode_deep_png(name: str, data: bytes, page: int) -> NDArray[Any]:
    """Decode 16-bit colour, which Pillow would cut to 8 bits."""
    import imagecodecs

    if int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) > _MAX_PIXELS:
        raise _too_large(name)  # Pillow believes the last header.
    if page > 1:
        raise InputError(
            f"picture {name!r} has frames of 16 bits, of which only the first is read: save the "
            "frame as a file"
        )
    decoded: NDArray[Any] = imagecodecs.png_decode(data)
    return decoded


def _add_colour_key(raw: Raw, key: Any) -> None:
    """Turn the one transparent colour of a PNG without alpha into alpha."""
    pixels = raw.pixels if raw.pixels.ndim == 3 else raw.pixels[..., None]
    if key is None or pixels.shape[2] not in (1, 3):
        return
    if raw.bits == 1:
        key = int(bool(key))  # Pillow has scaled it to 8 bits.
    hidden = np.all(pixels == np.array(key), axis=2, keepdims=True)
    alpha = np.where(hidden, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
    raw.pixels = np.concatenate([pixels, alpha], axis=2)


def _damaged_exif(name: str) -> str:
    return f"{name}: damaged Exif ignored where it cannot be read"


def _unknown_sample(name: str) -> str:
    return f"{name}: a sample without a stated meaning dropped"


def _too_many(name: str, what: str) -> InputError:
    return InputError(f"picture {name!r} has more than {_MAX_PAGES} {what}: save one as a file")


def _too_large(name: str) -> InputError:
    return InputError(
        f"picture {name!r} has more than {_MAX_PIXELS:,} pixels: choose a smaller one"
    )


def _damaged(name: str, error: Exception) -> InputError:
    words = str(error).strip() or type(error).__name__
    if isinstance(error, _INTERNAL):
        return InputError(
            f"picture {name!r} is damaged or of a kind that is not read: copy it again, or save it "
            "anew"
        )
    if "MAX_TEXT" in words:
        return InputError(
            f"picture {name!r} holds texts or a colour profile too large for a picture: save it "
            "without metadata"
        )
    return InputError(
        f"picture {name!r} is damaged or of a kind that is not read ({words}): copy it again, or "
        "save it anew"
    )


def _other_colours(name: str, colours: str) -> InputError:
    return InputError(f"picture {name!r} has {colours} colours: save it as grey or RGB")


def _other_type(name: str, dtype: np.dtype[Any] | None) -> InputError:
    kind = "an unknown type" if dtype is None else f"type {dtype}"
    return InputError(f"picture {name!r} has pixels of {kind}: save it with 8 or 16 bits")
