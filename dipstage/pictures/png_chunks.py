"""Checks of a PNG for what Pillow reads as black or not at all: missing colours and rows, cICP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by the type of colour."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
"""First column and row of an interlaced picture's passes, and their steps."""
_AT_ONCE = 1 << 20


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while kind := data[at + 4 : at + 8]:
        length = int.from_bytes(data[at : at + 4])
        yield kind, data[at + 8 : at + 8 + length]
        at += length + 12


def colour_numbers(data: bytes) -> bytes | None:
    """Return the four numbers that state the colours of a PNG (cICP); None if it has none."""
    for kind, content in _chunks(data):
        if kind in (b"cICP", b"IDAT"):
            return content[:4] if kind == b"cICP" else None
    return None


def check_palette(image: Image) -> None:
    """Raise ValueError if the palette of a decoded PNG lacks a colour."""
    colours, used = len(image.getpalette() or []) // 3, int(np.asarray(image).max()) + 1
    if used > colours:
        raise ValueError(f"its palette has {colours} colours and its pixels use {used}")


def check_rows(data: bytes) -> None:
    """Raise ValueError if the picture or a frame of a PNG lacks rows.

    Nothing is kept of what is decompressed, and no more than the rows take.
    """
    width = height = most = bits = interlaced = 0
    first = True
    for kind, run in groupby(_chunks(data), key=lambda chunk: chunk[0]):
        contents = [content for _, content in run]
        if kind == b"IHDR":
            width, height, depth, colours, _, _, interlaced = struct.unpack(
                ">IIBBBBB", contents[-1][:13]
            )
            bits, most = depth * _SAMPLES[colours], width * height
        elif kind == b"fcTL":
            width, height = struct.unpack(">II", contents[-1][4:12])
            if width * height > most:
                raise ValueError("a frame is larger than the picture")
        elif (kind == b"IDAT" and first) or kind == b"fdAT":
            first = first and kind != b"IDAT"
            wanted = _size(width, height, bits, interlaced)
            if _fewer(contents if kind == b"IDAT" else [each[4:] for each in contents], wanted):
                raise ValueError("rows are missing")


def _size(width: int, height: int, bits: int, interlaced: int) -> int:
    """Return the bytes of all rows, each of which begins with that of its filter."""
    total = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _fewer(parts: list[bytes], wanted: int) -> bool:
    """Return whether compressed parts hold fewer bytes than are wanted."""
    stream, found = zlib.decompressobj(), 0
    for part in parts:
        left = part
        while left and found < wanted and not stream.eof:
            found += len(stream.decompress(left, _AT_ONCE))
            left = stream.unconsumed_tail
    while found < wanted and not stream.eof and (more := stream.decompress(b"", _AT_ONCE)):
        found += len(more)
    return found < wanted
