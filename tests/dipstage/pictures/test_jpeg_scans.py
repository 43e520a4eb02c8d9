"""Damage within the coded pixels of a JPEG is noticed where it changes how many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from encoded_pictures import COLOUR, GREY, Read, pillow
from numpy.typing import NDArray

from dipstage.pictures.jpeg_scans import is_damaged

NOISE = np.random.default_rng(0).integers(0, 256, (96, 80, 3), np.uint8)
FLAT = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("pixels", [GREY, COLOUR, NOISE, FLAT, NOISE[:33, :35]])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"restart_marker_blocks": 1}, {"progressive": True}]
)
def test_whole_files_are_not_damaged(pixels: NDArray[np.uint8], options: dict[str, Any]) -> None:
    data = pillow(pixels, "JPEG", **options)
    assert not is_damaged(data)
    assert not is_damaged(data + b"\0" * 100)


def changed(what: str) -> bytes:
    """A damaged JPEG of noise."""
    data = pillow(NOISE, "JPEG", restart_marker_blocks=5 if what == "lost marker" else 0)
    header, scan = data.index(b"\xff\xc0") + 5, data.index(b"\xff\xda") + 14
    if what in ("taller", "shorter"):
        height = 192 if what == "taller" else 48
        return data[:header] + height.to_bytes(2) + data[header + 2 :]
    if what == "lost marker":
        marker = data.index(b"\xff\xd1", scan)
        return data[:marker] + data[marker + 2 :]
    middle = (scan + len(data)) // 2
    if what == "zeros":
        return data[:middle] + bytes(200) + data[middle + 200 :]
    return data[:middle] + data[middle + 300 :]


@pytest.mark.parametrize("what", ["taller", "shorter", "lost marker", "zeros", "lost bytes"])
def test_damage_is_noticed(read: Read, what: str) -> None:
    notices = read(changed(what)).notices
    assert sum("damaged, its pixels do not fit its size" in notice for notice in notices) == 1


def test_a_decoder_that_has_changed_costs_the_check_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_damaged(changed("taller"))
    monkeypatch.delattr("PIL.Image.core.jpeg_decoder")
    assert not is_damaged(changed("taller"))
