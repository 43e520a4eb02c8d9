"""Rows that a PNG lacks, of every layout: Pillow would read them as black."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.pictures.png_chunks import check_rows, colour_numbers


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(depth: int, colours: int, row_bytes: int, rows: int) -> bytes:
    """Of 33 × 32 pixels, of which so many rows are there."""
    pixels = zlib.compress((b"\0" + bytes(range(row_bytes))) * rows)
    header = struct.pack(">IIBBBBB", 33, 32, depth, colours, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(768)) if colours == 3 else b""
    parts = chunk(b"IDAT", pixels[:9]) + chunk(b"IDAT", pixels[9:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + parts + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "colours", "row_bytes"),
    [(1, 0, 5), (2, 0, 9), (8, 0, 33), (16, 0, 66), (8, 2, 99), (16, 2, 198), (8, 3, 33),
     (8, 4, 66), (8, 6, 132)],
)  # fmt: skip
def test_missing_rows_are_refused(tmp_path: Path, depth: int, colours: int, row_bytes: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(depth, colours, row_bytes, 32))
    assert load_picture(path, multiple=1).pixels.shape[1:] == (32, 33)
    for rows in (0, 20, 31):
        path.write_bytes(png(depth, colours, row_bytes, rows))
        with pytest.raises(InputError, match=r"is damaged .*rows are missing"):
            load_picture(path, multiple=1)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 13])
def test_an_interlaced_picture_has_the_rows_of_its_passes(side: int) -> None:
    passes = [(8, 8, 0, 0), (8, 8, 0, 4), (8, 4, 4, 0), (4, 4, 0, 2), (4, 2, 2, 0), (2, 2, 0, 1),
              (2, 1, 1, 0)]  # fmt: skip
    grid = np.zeros((side, side), np.uint8)
    rows = b""
    for down, across, top, left in passes:
        shown = grid[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in shown if shown.size)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 1)
    begin = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    check_rows(begin + chunk(b"IDAT", zlib.compress(rows)))
    with pytest.raises(ValueError, match="rows are missing"):
        check_rows(begin + chunk(b"IDAT", zlib.compress(rows[:-1])))


def test_only_a_chunk_of_its_own_states_the_colours_by_numbers() -> None:
    data = png(8, 0, 4, 4)
    words, numbers = chunk(b"tEXt", b"Comment\0about cICP chunks"), bytes([9, 16, 0, 1])
    assert colour_numbers(data[:33] + words + data[33:]) is None
    assert colour_numbers(data[:33] + words + chunk(b"cICP", numbers) + data[33:]) == numbers


def test_frames_have_their_own_rows() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (16, 16), shade) for shade in (10, 200)]
    frames[1].putpixel((3, 3), 5)
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    data = buffer.getvalue()
    check_rows(data)
    at = data.index(b"fdAT")
    length = int.from_bytes(data[at - 4 : at])
    brief = data[at + 4 : at + 8] + zlib.compress(b"\0")
    with pytest.raises(ValueError, match="rows are missing"):
        check_rows(data[: at - 4] + chunk(b"fdAT", brief) + data[at + 8 + length :])
