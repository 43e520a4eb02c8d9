"""Photographs: pixels to restore, and what is kept of their files when they are written again."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.documents.whole_files import SIGNATURE, file_path, read_regular
from dipstage.errors import InputError
from dipstage.pictures.decoders import Raw, read_raw
from dipstage.pictures.files import MAX_BYTES, interpreted, upright
from dipstage.pictures.images import Pixels, expand_path, resized, split_options

Exif: TypeAlias = dict[int, Any]
"""Values by their tags; the directories of Exif and GPS are such dictionaries again."""

ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Formats in which a photograph is written, by the ending of the file's name."""
_ORIENTATION, _EXIF, _GPS = 0x112, 0x8769, 0x8825
_COLOUR_SPACE, _WIDTH, _HEIGHT, _INTEROPERABILITY = 0xA001, 0xA002, 0xA003, 0xA005
_DESCRIPTION, _MAKE, _MODEL, _SOFTWARE, _TIME, _ARTIST, _HOST, _RIGHTS = (
    0x10E, 0x10F, 0x110, 0x131, 0x132, 0x13B, 0x13C, 0x8298,
)  # fmt: skip
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 0x11A, 0x11B, 0x128
_INCH, _CENTIMETRE = 2, 3
_PROCESSING_SOFTWARE = 0xB
_MOST_PER_UNIT = 1_000_000
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Longest sides of formats, in pixels."""
SIGNED = f"{SIGNATURE}photograph"
"""Exif's name of the software that processed a photograph; its camera's name is kept beside it."""
_TEXTS = (_DESCRIPTION, _MAKE, _MODEL, _SOFTWARE, _TIME, _ARTIST, _HOST, _RIGHTS)
"""Tags of the first directory that say something about the photograph and not about its file."""
_RATINGS = (0x4746, 0x4749)
_OF_WINDOWS = range(0x9C9B, 0x9CA0)
"""Title, comment, author, keywords and subject, as bytes."""


class _Text(str):
    """A text of Exif whose bytes are written as they were read, where libraries write ASCII alone.

    Pillow reads each byte as a character, whatever the encoding is.
    """

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        return super().encode("latin-1")


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A photograph.

    Args:
        name: The name that was asked for.
        pixels: (H, W, C) float32 in [0, 1], upright sRGB; C is 1 or 3.
        bits: Bits of a value when it is written, 8 or 16.
        alpha: (H, W) uint8 or uint16 by `bits`, or None.
        profile: Colour profile of the pixels; None where sRGB needs none.
        exif: What the file's Exif says about the photograph.
        notices: Sentences that say what reading changed.
    """

    name: str
    pixels: Pixels
    bits: int = 8
    alpha: NDArray[Any] | None = None
    profile: bytes | None = None
    exif: Exif = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def resized(self, size: int) -> Photograph:
        """Return the photograph with a longer side of `size` pixels.

        Raises:
            InputError: `size` is below 1 or above the longer side.
        """
        height, width = self.pixels.shape[:2]
        longer = max(height, width)
        if not 1 <= size <= longer:
            raise InputError(
                f"size must be from 1 to the longer side of {self.name!r}, {longer}, got {size}"
            )
        sides = max(round(height * size / longer), 1), max(round(width * size / longer), 1)
        return self.with_sides(resized(self.pixels, sides))

    def with_sides(self, pixels: Pixels) -> Photograph:
        """Return the photograph with other pixels; transparency and resolution suit their sides."""
        alpha = self.alpha
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            top = np.iinfo(alpha.dtype).max
            opacity = (alpha[..., None] / top).astype(np.float32)
            scaled = resized(opacity, pixels.shape[:2])[..., 0]
            alpha = np.rint(scaled * top).astype(alpha.dtype)
        exif = dict(self.exif)
        for tag, axis in ((_X_RESOLUTION, 1), (_Y_RESOLUTION, 0)):
            if tag in exif:  # The printed size stays.
                exif[tag] *= pixels.shape[axis] / self.pixels.shape[axis]
        return replace(self, pixels=pixels, alpha=alpha, exif=exif)

    def check_format(self, path: Path, option: str, factor: int = 1) -> None:
        """Raise InputError if a file of this name cannot hold it `factor` times larger."""
        kind = ENDINGS.get(path.suffix.lower())
        if kind is None:
            raise InputError(
                f"{option} {path} must end in {', '.join(ENDINGS)}: the ending is the format"
            )
        if kind in ("JPEG", "WEBP") and self.bits == 16:
            raise InputError(
                f"{option} {path} would lose 8 of the photograph's 16 bits: name a PNG or TIFF"
            )
        if kind == "JPEG" and self.alpha is not None:
            raise InputError(
                f"{option} {path} cannot hold the photograph's transparency: name a PNG, TIFF or "
                "WebP"
            )
        if kind in _LONGEST and factor * max(self.pixels.shape[:2]) > _LONGEST[kind]:
            raise InputError(
                f"{option} {path} can have sides of at most {_LONGEST[kind]:,} pixels: name a PNG "
                "or TIFF"
            )
        alpha = None if self.alpha is None else self.alpha[:1, :1]
        try:  # What is written behind the pixels is written once before they are restored.
            replace(self, pixels=self.pixels[:1, :1], alpha=alpha).encoded(path)
        except Exception as error:  # Encoders raise errors of many kinds.
            raise InputError(
                f"{option} {path} cannot hold the photograph's Exif or colour profile ({error}): "
                "name a PNG, or remove them"
            ) from None

    def encoded(self, path: Path) -> bytes:
        """Return the file of a name that `check_format` accepts.

        JPEG is written with quality 95 and full colour resolution, the other formats without loss.
        """
        dtype = np.uint16 if self.bits == 16 else np.uint8
        values = np.rint(np.clip(self.pixels, 0, 1) * np.float64(np.iinfo(dtype).max)).astype(dtype)
        if self.alpha is not None:
            values = np.concatenate([values, self.alpha[..., None]], axis=2)
        values = np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values)
        exif = self._exif()
        kind = ENDINGS[path.suffix.lower()]
        if kind == "PNG":
            return _png(values, self.profile, exif)
        if kind == "TIFF":
            return _tiff(values, self.profile, exif)
        from PIL import Image

        buffer = io.BytesIO()
        lossless = {"lossless": True, "exact": True}
        options: dict[str, Any] = lossless if kind == "WEBP" else {"quality": 95, "subsampling": 0}
        if self.profile and (kind != "WEBP" or self.pixels.shape[2] == 3):  # WebP has no grey.
            options["icc_profile"] = self.profile
        options["exif"] = _exif_bytes(exif)
        Image.fromarray(values).save(buffer, kind, **options)
        return buffer.getvalue()

    def _exif(self) -> Exif:
        """Return the Exif, signed and with the sides of the pixels."""
        details = dict(self.exif.get(_EXIF, {}))
        for tag, side in ((_WIDTH, self.pixels.shape[1]), (_HEIGHT, self.pixels.shape[0])):
            if tag in details:
                details[tag] = side
        signed = {_PROCESSING_SOFTWARE: SIGNED, **self.exif}
        return {**signed, _EXIF: details} if details else signed


def load_photograph(name: str, what: str = "photograph") -> Photograph:
    """Read a picture file with everything that is kept when it is written again.

    Args:
        name: Path of a PNG, JPEG, TIFF or WebP file, with `#page=N` and `#bits=N` behind it as in
            `load_picture`.
        what: What errors call the file.

    Raises:
        InputError: The file cannot be read; see `load_picture`.
    """
    if not name:
        raise InputError(f"the {what}'s name is empty: name a picture file")
    path, options = split_options(name)
    file = file_path(expand_path(path), f"{what} {name!r}")
    if name.startswith("skimage:") and not file.exists():
        raise InputError(f"{what} {name!r} is a picture of scikit-image: name a file instead")
    data = read_regular(file, MAX_BYTES, f"{what} {name!r}")
    with warnings.catch_warnings(action="ignore"):  # As `decode` does.
        raw = read_raw(name, data, options.get("page"))
        depth = options.get("bits") or raw.bits
        bits = 16 if depth > 8 else 8
        alpha = _split_alpha(raw, depth, bits)
        exif = _kept_exif(name, raw)
        pixels, source = interpreted(name, raw, options.get("bits"))
    return Photograph(
        name, pixels, bits, alpha, _written_profile(raw, source.profile, pixels), exif,
        source.notices,
    )  # fmt: skip


def _split_alpha(raw: Raw, depth: int, bits: int) -> NDArray[Any] | None:
    """Take the transparency out of decoded pixels and return it upright."""
    if raw.colours == "CMYK" or raw.pixels.shape[2:] not in ((2,), (4,)):
        return None
    alpha = raw.pixels[..., -1]
    raw.pixels = raw.pixels[..., 0] if raw.pixels.shape[2] == 2 else raw.pixels[..., :3]
    top = np.iinfo(alpha.dtype).max
    if raw.format == "TIFF":  # Stated bits are the colours', which the transparency may exceed.
        top = 2**depth - 1 if alpha.max() < 2**depth else 2**raw.bits - 1
    whole = 2**bits - 1
    scaled = np.minimum(np.rint(alpha * (whole / top)), whole)
    scaled = scaled.astype(np.uint16 if bits == 16 else np.uint8)
    return np.ascontiguousarray(scaled if raw.turned else upright(scaled, raw.orientation))


def _written_profile(raw: Raw, words: str | None, pixels: Pixels) -> bytes | None:
    """Return the profile that describes the pixels.

    A profile that is sRGB stays; pixels that were converted get one of sRGB. There is none for
    grey values with the curve of sRGB, which readers assume.
    """
    if raw.profile is None or words is None or ", not applied" in words:
        return None
    space = b"GRAY" if pixels.shape[2] == 1 else b"RGB "
    if words.endswith("taken as sRGB"):
        return raw.profile if raw.profile[16:20] == space else None
    if space == b"GRAY":
        return None
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


def _kept_exif(name: str, raw: Raw) -> Exif:
    """Return what Exif says about the photograph, unless it cannot be written again."""
    if raw.exif is None:
        return {}
    try:
        kept = _of_photograph(raw.exif, raw.orientation)
        _exif_bytes(kept)
    except Exception:  # Of many kinds; a photograph is not refused for its Exif.
        raw.notices.append(f"{name}: Exif not kept, as it cannot be written again")
        return {}
    return kept


def _of_photograph(found: Any, orientation: int) -> Exif:
    """Return what Exif says about the photograph: upright, in sRGB, without previews."""
    kept: Exif = {}
    for tag in _TEXTS:
        text = found.get(tag)
        if isinstance(text, bytes):
            text = text.rstrip(b"\0").decode("latin-1")
        if isinstance(text, str):
            kept[tag] = _Text(text)
    kept |= {t: n for t in _RATINGS if isinstance(n := found.get(t), int) and 0 <= n < 2**16}
    kept |= {t: text for t in _OF_WINDOWS if isinstance(text := found.get(t), bytes)}
    kept |= _resolution(found, orientation)
    for tag in (_EXIF, _GPS):
        if directory := found.get_ifd(tag):
            kept[tag] = {
                key: _Text(value) if isinstance(value, str) else value
                for key, value in directory.items()
            }
    if not kept:
        return {}
    kept[_ORIENTATION] = 1
    details = kept.get(_EXIF, {})
    details.pop(_INTEROPERABILITY, None)
    if _COLOUR_SPACE in details:
        details[_COLOUR_SPACE] = 1
    return kept


def _resolution(found: Any, orientation: int) -> Exif:
    """Return pixels per inch or centimetre of the upright photograph; empty if they are unknown."""
    tags, unit = (_X_RESOLUTION, _Y_RESOLUTION), found.get(_UNIT, _INCH)
    stated = [found.get(tag) for tag in (tags if orientation < 5 else tags[::-1])]
    if unit not in (_INCH, _CENTIMETRE):
        return {}
    if not all(isinstance(value, Real) and 0 < float(value) <= _MOST_PER_UNIT for value in stated):
        return {}
    return {_UNIT: unit, **dict(zip(tags, map(float, stated), strict=True))}


def _exif_bytes(exif: Exif) -> bytes:
    from PIL import Image

    written = Image.Exif()
    for tag, value in exif.items():
        written[tag] = value
    return written.tobytes()


def _png(values: NDArray[Any], profile: bytes | None, exif: Exif) -> bytes:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(values))
    chunks = []
    if profile:
        chunks.append(b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile))
    chunks.append(b"eXIf" + _exif_bytes(exif).removeprefix(b"Exif\0\0"))
    header = 33  # Signature and IHDR.
    extra = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return data[:header] + b"".join(extra) + data[header:]


def _tiff(values: NDArray[Any], profile: bytes | None, exif: Exif) -> bytes:
    import tifffile
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags: list[tuple[int, str, int, Any, bool]] = [(_ORIENTATION, "H", 1, 1, True)]
    tags += [(t, "s", 0, exif[t], True) for t in (_PROCESSING_SOFTWARE, *_TEXTS) if t in exif]
    tags += [(t, "H", 1, exif[t], True) for t in _RATINGS if t in exif]
    tags += [(t, "B", len(exif[t]), exif[t], True) for t in _OF_WINDOWS if t in exif]
    directories = {tag: exif[tag] for tag in (_EXIF, _GPS) if tag in exif}
    # tifffile writes no directories of Exif: they go to the end, and entries of the tag behind
    # theirs, which keep the order of tags, are made to point there.
    tags += [(tag + 1, "I", 1, 0, True) for tag in directories]
    samples = values.shape[2] if values.ndim == 3 else 1
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        values,
        byteorder="<",
        photometric="minisblack" if samples < 3 else "rgb",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=["unassalpha"] if samples in (2, 4) else None,
        compression="zlib",
        iccprofile=profile,
        resolution=(exif[_X_RESOLUTION], exif[_Y_RESOLUTION]) if _UNIT in exif else None,
        resolutionunit=exif.get(_UNIT),
        metadata=None,
        software=False,
        extratags=sorted(tags),
    )
    data = bytearray(buffer.getvalue())
    for tag, content in directories.items():
        data += bytes(len(data) % 2)
        entry = data.index(struct.pack("<HHII", tag + 1, 4, 1, 0))
        data[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, len(data))
        directory = ImageFileDirectory_v2(prefix=b"II", group=tag)
        for key, value in content.items():
            directory[key] = value
        data += directory.tobytes(len(data))
    return bytes(data)
