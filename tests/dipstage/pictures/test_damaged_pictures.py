"""Damaged picture files: each is refused in one sentence that says what is wrong."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture

PIXELS = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
INDICES = b"".join(b"\0" + bytes([*range(16)] * 2) for _ in range(32))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(colours: int, *chunks: bytes, width: int = 32, height: int = 32) -> bytes:
    """Of 8 bits, with chunks before the pixels, whose values are below 16."""
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(INDICES))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def saved(format: str) -> bytes:
    """The same pixels in a format."""
    buffer = io.BytesIO()
    if format == "TIFF":
        tifffile.imwrite(buffer, PIXELS, photometric="rgb")
    else:
        Image.fromarray(PIXELS).save(buffer, format)
    return buffer.getvalue()


FORMATS = ["PNG", "JPEG", "WEBP", "TIFF"]
LARGE = zlib.compress(bytes(200_000_000), 9)
PALETTE = bytes(range(48))
FILES = {
    "empty": (b"", "is an empty file: copy it again"),
    "of no width": (png(0, width=0), "is 0 × 32: it has no pixels"),
    "of no height": (png(3, height=0), "is 32 × 0: it has no pixels"),
    "without palette": (png(3), "its palette has 0 colours and its pixels use 16"),
    "with an empty palette": (png(3, chunk(b"PLTE", b"")), "its palette has 0 colours"),
    "with too short a palette": (png(3, chunk(b"PLTE", PALETTE[:-3])), "has 15 colours and its"),
    "large zTXt": (png(0, chunk(b"zTXt", b"C\0\0" + LARGE)), "holds texts or a colour profile"),
    "large iTXt": (png(0, chunk(b"iTXt", b"C\0\1\0\0\0" + LARGE)), "holds texts or a colour"),
    "large iCCP": (png(0, chunk(b"iCCP", b"C\0\0" + LARGE)), "holds texts or a colour profile"),
    "large tEXt": (
        png(0, *(chunk(b"tEXt", b"C%d\0" % i + b"x" * 10**6) for i in range(80))),
        "holds texts or a colour profile",
    ),
    "TIFF without pages": (saved("TIFF")[:8], r"is damaged .*\(it has no pages\)"),
    **{
        f"{format}, cut to {part}": (
            saved(format)[: int(part) or len(saved(format)) // 2],
            r"damaged.*copy it again,? or\s+save it anew",
        )
        for format in FORMATS
        for part in ("12", "50", "0")
    },
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    data, words = FILES[name]
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(InputError, match=words) as refused:
        load_picture(tmp_path / "p", multiple=4)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_whole_palette_is_read(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(png(3, chunk(b"PLTE", PALETTE)))
    picture = load_picture(tmp_path / "p", multiple=4)
    assert np.allclose(picture.pixels[:, 0, 15] * 255, [45, 46, 47])
    deep = imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257)
    (tmp_path / "deep").write_bytes(deep)
    assert load_picture(tmp_path / "deep", multiple=4).notices == ()


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "s3", "file"])
def test_an_address_is_no_picture(scheme: str) -> None:
    advice = "leave file:// out" if scheme == "file" else "download it, and name the file"
    with pytest.raises(InputError, match=f"does not exist: {advice}"):
        load_picture(f"{scheme}://example.com/a.png")
