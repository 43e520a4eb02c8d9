"""Checks of a JPEG's coded pixels, of which decoders read what is damaged without an error."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_START_OF_SCAN, _END = 0xDA, 0xD9
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_LAST_BYTES = 4
_AHEAD = 16
"""Bytes that the decoder wants to see behind those that it needs."""


def is_damaged(data: bytes) -> bool:
    """Return whether the scan of a JPEG that decodes has more or fewer rows than it should have.

    Damage mostly changes how many pixels are coded. It remains unseen where it does not, between
    restart markers that are in order, and in progressive files or those with several scans.
    """
    scan = _only_scan(data)
    if scan is None:
        return False
    begin, end = scan
    markers = _RESTART.findall(data, begin, end)
    in_order = all(marker[0] == 0xD0 + i % 8 for i, marker in enumerate(markers))
    if not in_order:
        return True
    try:
        return not _has_all_rows_at(data, end)
    except Exception:  # Pillow does not document its decoder: a picture is read without the check.
        return False


def _only_scan(data: bytes) -> tuple[int, int] | None:
    """Return where the coded pixels begin and end; None if there are several scans."""
    at, begin = 2, None
    while found := _MARKER.search(data, at):
        kind = found[1][0]
        if begin is not None:
            return (begin, found.start()) if kind == _END else None
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        if kind in _PROGRESSIVE:
            return None
        begin = at if kind == _START_OF_SCAN else None
    return None


def _has_all_rows_at(data: bytes, end: int) -> bool:
    """Return whether the last row is decoded at the end of the scan and not before.

    At an eighth of the size, most of the decoder's work is left out.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft(None, (1, 1))
        if min(image.size) < 4:
            return True
        # The row would not have this pattern by itself.
        samples = np.arange(image.width * image.height * len(image.getbands()))
        canvas = Image.frombytes(
            image.mode, image.size, (samples * 97 % 251).astype("u1").tobytes()
        )
        untouched = np.asarray(canvas)[-1].copy()
        [tile], config = image.tile, image.decoderconfig
        options: Any = tile.args
        decoder = Image.core.jpeg_decoder(image.mode, *options, *config)  # type: ignore[attr-defined]
        decoder.setimage(canvas.im, (0, 0, *image.size))
        read, _ = decoder.decode(data[: end - _LAST_BYTES])
        if not np.array_equal(np.asarray(canvas)[-1], untouched):
            return False
        decoder.decode(data[read:end] + bytes(_AHEAD))
        return not np.array_equal(np.asarray(canvas)[-1], untouched)
