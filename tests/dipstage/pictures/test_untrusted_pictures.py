"""Any bytes are a picture, or are refused in one short line that names it, and none is a bomb.

DIPSEARCH_EXAMPLES=N runs N times as many examples, drawn anew each time.
"""

from __future__ import annotations

import functools
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from PIL import Image
from untrusted import examples, mutations, result

from dipstage.errors import InputError
from dipstage.pictures import decoders as picture_decoders
from dipstage.pictures import files as picture_files
from dipstage.pictures.images import Picture, expand, load_picture

PIXELS = np.arange(16 * 16 * 3, dtype=np.uint16).reshape(16, 16, 3)
EIGHT = Image.fromarray(PIXELS.astype(np.uint8))


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    """By Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def tiff(pixels: Any = PIXELS, **options: Any) -> bytes:
    """By tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


PNG = encoded(EIGHT, "PNG")
PICTURES = [
    PNG,
    bytes(imagecodecs.png_encode(PIXELS)),
    encoded(EIGHT.quantize(16), "PNG"),
    encoded(EIGHT, "JPEG"),
    encoded(EIGHT, "WEBP", lossless=True),
    encoded(EIGHT.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    encoded(EIGHT, "TIFF", compression="jpeg"),
    tiff(),
    tiff(compression="zlib", predictor=True),
    tiff(compression="lzw", tile=(16, 16)),
    tiff(bigtiff=True, compression="packbits"),
    tiff(PIXELS[..., 0], photometric="miniswhite"),
    tiff(PIXELS[..., 0], bitspersample=12, extratags=[(274, 3, 1, 6, True)]),
    tiff(PIXELS, iccprofile=bytes(imagecodecs.cms_profile("adobergb"))),
    tiff(PIXELS.astype(np.uint8), photometric="cielab"),
    tiff(PIXELS[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=[1]),
    encoded(EIGHT, "PNG", icc_profile=bytes(imagecodecs.cms_profile("adobergb"))),
    PNG[:33] + chunk(b"gAMA", bytes([0, 1, 0, 0])) + chunk(b"tRNS", bytes(6)) + PNG[33:],
    encoded(EIGHT, "MPO", save_all=True, append_images=[EIGHT.resize((8, 8))]),
]


def load(path: Path) -> Picture:
    """With the smallest network."""
    return load_picture(str(path), multiple=2)


@pytest.mark.parametrize("data", PICTURES)
def test_the_pictures_themselves_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "picture").write_bytes(data)
    assert load(tmp_path / "picture").pixels.shape[1:] == (16, 16)


@pytest.mark.long
@examples(500)
@given(data=mutations(PICTURES))
def test_damaged_pictures(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "picture"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_decoders, "_MAX_PIXELS", 1_000_000)
        picture = result(path, load)
    if picture is not None:
        assert picture.pixels.dtype == np.float32
        assert picture.pixels.min() >= 0
        assert picture.pixels.max() <= 1


def retagged(data: bytes, code: int, value: int) -> bytes:
    """A little-endian classic TIFF with one tag of its first page set to a 32-bit number."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    changed = bytearray(data)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == code:
            struct.pack_into("<HHII", changed, at, code, 4, 1, value)
    return bytes(changed)


WIDTH, LENGTH, COMPRESSION, SAMPLES, TILE_WIDTH, TILE_LENGTH = 256, 257, 259, 277, 322, 323
STRIPS, TILES = tiff(), tiff(compression="zlib", tile=(16, 16))
JPEG = PICTURES[3]
FRAME = JPEG.index(b"\xff\xc0")
WEBP = PICTURES[4]


@functools.cache
def zeros() -> bytes:
    """200 MB of them, compressed, that were never in memory together."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(10**6)) for _ in range(200)]) + packer.flush()


BOMBS: dict[str, Callable[[], bytes]] = {
    "TIFF of 60000 x 60000": lambda: retagged(retagged(STRIPS, WIDTH, 60000), LENGTH, 60000),
    "CMYK TIFF of 60000 x 60000": lambda: retagged(
        retagged(PICTURES[5], WIDTH, 60000), LENGTH, 60000
    ),
    "TIFF with large tiles": lambda: retagged(
        retagged(TILES, TILE_WIDTH, 60000), TILE_LENGTH, 60000
    ),
    "TIFF with many samples": lambda: retagged(STRIPS, SAMPLES, 60000),
    "JPEG of 60000 x 60000": lambda: JPEG[: FRAME + 5] + b"\xea\x60\xea\x60" + JPEG[FRAME + 9 :],
    "WebP of 16384 x 16384": lambda: WEBP[:21] + (2**28 - 1).to_bytes(4, "little") + WEBP[25:],
    "PNG text": lambda: PNG[:33] + chunk(b"zTXt", b"k\0\0" + zeros()) + PNG[33:],
    "PNG profile": lambda: PNG[:33] + chunk(b"iCCP", b"k\0\0" + zeros()) + PNG[33:],
    "PNG with two headers": lambda: (
        PICTURES[1][:16] + struct.pack(">II", 60000, 60000) + PICTURES[1][24:33]
        + PICTURES[1][8:33] + PICTURES[1][33:]
    ),
}  # fmt: skip


@contextmanager
def at_most_kb(more: int) -> Iterator[None]:
    """Let the block take so much more memory; what was taken before and freed does not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # The peak is now what is held.
    except OSError:
        pytest.skip("this system does not measure the peak of memory anew")
    before = peak_kb()
    yield
    assert peak_kb() - before < more


def peak_kb() -> int:
    """The most memory that this process has held, of C too."""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak)


@pytest.mark.long
@pytest.mark.parametrize("case", sorted(BOMBS))
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, case: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[case]())
    with at_most_kb(300_000):
        picture = result(path, load)
    # A profile or a text may be left aside; the picture beside it is one.
    assert picture is None or "PNG" in case


@pytest.mark.long
def test_memory_is_measured_whatever_was_taken_before() -> None:
    np.ones(50_000_000)
    with pytest.raises(AssertionError), at_most_kb(300_000):
        np.ones(50_000_000)


def test_what_is_no_regular_file_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device", "."):
        with pytest.raises(InputError, match=r"cannot be read: it is (not a reg|a folder)"):
            load(tmp_path / name)
    for name in ("a\nb.png", "nul\0.png", "\ud800.png"):
        with pytest.raises(InputError, match=r"in its name: (rename it|leave it out)"):
            load(tmp_path / name)
    monkeypatch.setattr(picture_files, "MAX_BYTES", len(PNG) - 1)
    (tmp_path / "a.png").write_bytes(PNG)
    with pytest.raises(InputError, match=r"a\.png' has more than .* bytes"):
        load(tmp_path / "a.png")


def test_patterns_that_match_too_much_or_nothing_are_refused(tmp_path: Path) -> None:
    for k in range(1001):
        (tmp_path / f"{k}.png").touch()
    with pytest.raises(InputError, match="more than 1000 pictures match"):
        expand([f"{tmp_path}/*.png"])
    for pattern in ("*" * 5000, "*\0", "[\ud800]*.png", "x" * 300 + "*"):
        with pytest.raises(InputError):
            expand([f"{tmp_path}/{pattern}"])
