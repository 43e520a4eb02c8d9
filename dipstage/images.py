"""Pictures: ground truth from scikit-image's own pictures or from files."""

from __future__ import annotations

import glob
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError
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
"""Photographs that the scikit-image wheel carries, so that nothing is downloaded."""

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A ground truth.

    name: as it was asked for. pixels: (C, H, W) float32 in [0, 1], C 1 or 3.
    notices: what was changed on loading, in words.
    """

    name: str
    pixels: Pixels
    notices: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of shape and pixels: the picture's content, whatever its name."""
        content = hashlib.sha256(repr(self.pixels.shape).encode())
        content.update(np.ascontiguousarray(self.pixels).tobytes())
        return content.hexdigest()

    @property
    def label(self) -> str:
        """A short name for tables and file names: no folder, no ending, no `skimage:`."""
        return Path(self.name.removeprefix("skimage:")).stem

    def tensor(self) -> Tensor:
        """(1, C, H, W) float32 on the CPU."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.pixels))[None]


def expand(specs: list[str]) -> list[str]:
    """Replace globs by the files that match, sorted; InputError for a glob that matches none."""
    names: list[str] = []
    for spec in specs:
        if spec.startswith("skimage:") or not glob.has_magic(spec) or Path(spec).exists():
            names.append(spec)
            continue
        matches = sorted(glob.glob(spec, recursive=True))
        if not matches:
            raise InputError(f"no picture matches {spec!r}: check the pattern")
        names.extend(matches)
    return names


def load_picture(name: str, *, size: int | None = None, multiple: int = 32) -> Picture:
    """Load `skimage:NAME` or a PNG, JPEG, TIFF or WebP file of 8 or 16 bits.

    size: side after a centre crop to a square and an anti-aliased resize; None keeps the scale
    and crops the centre to sides that are multiples of `multiple`. Transparency is dropped with
    a notice. InputError says what is wrong with which picture.
    """
    decoded, notices = _decode(name)
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


def _decode(name: str) -> tuple[NDArray[Any], list[str]]:
    """(H, W) or (H, W, channels), integer or bool, and notices."""
    path = _path_of(name)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"picture {name!r} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"picture {name!r} cannot be read: {error.strerror}") from None
    if data[:4] in _TIFF_MAGIC and (plain := _decode_plain_tiff(name, data)) is not None:
        return _without_alpha(name, plain)
    # Only now: these take a while to import, and a wrong path should not wait for them.
    import imagecodecs
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > _MAX_PIXELS:
                raise InputError(_too_large(name))
            if image.format == "PNG" and image.mode in ("RGB", "RGBA") and data[24] == 16:
                # Pillow would cut 16-bit colour to 8 bits; byte 24 is the header's bit depth.
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
        raise InputError(_too_large(name)) from None
    except Exception as error:  # Codecs raise errors of many kinds for damaged files.
        raise InputError(f"picture {name!r} is damaged: {error}") from None
    return _without_alpha(name, decoded)


def _decode_plain_tiff(name: str, data: bytes) -> NDArray[Any] | None:
    """Grey and RGB of any depth, which Pillow reads in part; None leaves the rest to Pillow."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            if page.imagelength * page.imagewidth > _MAX_PIXELS:
                raise InputError(_too_large(name))
            plain = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
            if page.photometric not in plain:
                return None
            pixels = np.asarray(page.asarray())
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            return np.moveaxis(pixels, 0, -1) if planar and pixels.ndim == 3 else pixels
    except InputError:
        raise
    except Exception as error:  # As above.
        raise InputError(f"picture {name!r} is damaged: {error}") from None


def _too_large(name: str) -> str:
    return f"picture {name!r} has more than {_MAX_PIXELS:,} pixels: choose a smaller one"


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


def _without_alpha(name: str, decoded: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    channels = decoded.shape[2] if decoded.ndim == 3 else 1
    if decoded.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise InputError(
            f"picture {name!r} has the shape {decoded.shape}: only grey and RGB pictures are read"
        )
    if channels in (2, 4):
        return decoded[..., : channels - 1], [f"{name}: transparency dropped"]
    return decoded, []


def _as_float(name: str, decoded: NDArray[Any]) -> Pixels:
    pixels = decoded[..., None] if decoded.ndim == 2 else decoded
    if pixels.dtype == np.bool_:
        return pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"picture {name!r} has pixels of type {pixels.dtype}: save it with 8 or 16 bits"
        )
    return (pixels / np.float32(np.iinfo(pixels.dtype).max)).astype(np.float32)


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


def save_png(path: Path, pixels: Pixels) -> None:
    """Write (C, H, W) in [0, 1] as an 8-bit PNG, whole or not at all."""
    from PIL import Image

    from dipstage.documents import write_whole

    eight_bit = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(eight_bit.squeeze()).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
