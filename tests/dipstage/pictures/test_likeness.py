"""Copies of a picture are alike, and different pictures are not."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dipstage.pictures.images import SKIMAGE_PICTURES, Picture, load_picture, png
from dipstage.pictures.likeness import SAME, SIMILAR, likeness


@functools.cache
def known(name: str, size: int) -> Picture:
    """One of scikit-image's."""
    return load_picture(f"skimage:{name}", size=size)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Scikit-image's, small."""
    return [known(name, 64) for name in SKIMAGE_PICTURES]


@pytest.mark.long
def test_different_pictures_are_not_alike(pictures: list[Picture]) -> None:
    highest = max(likeness(a.pixels, b.pixels) for a, b in combinations(pictures, 2))
    assert highest < SIMILAR - 0.1


COPIES: dict[str, Callable[[Image.Image], tuple[Image.Image, dict[str, object]]]] = {
    "JPEG of quality 90": lambda image: (image, {"format": "JPEG", "quality": 90}),
    "JPEG of quality 30": lambda image: (image, {"format": "JPEG", "quality": 30}),
    "WebP": lambda image: (image, {"format": "WEBP"}),
    "256 colours": lambda image: (image.quantize(256), {"format": "PNG"}),
    "grey": lambda image: (image.convert("L"), {"format": "PNG"}),
    "twice the size": lambda image: (image.resize((256, 256)), {"format": "PNG"}),
    "half the size": lambda image: (image.resize((64, 64)), {"format": "PNG"}),
    "darker": lambda image: (image.point(lambda v: int(255 * (v / 255) ** 1.3)), {"format": "PNG"}),
}


@pytest.mark.long
@pytest.mark.parametrize("copy", sorted(COPIES))
@pytest.mark.parametrize("name", ["astronaut", "camera", "grass", "retina", "text"])
def test_copies_are_the_same(tmp_path: Path, name: str, copy: str) -> None:
    whole = known(name, 128)
    image, options = COPIES[copy](Image.open(io.BytesIO(png(whole.pixels))))
    image.save(tmp_path / "copy", **options)  # type: ignore[arg-type]
    assert (
        likeness(known(name, 64).pixels, load_picture(str(tmp_path / "copy"), size=64).pixels)
        >= SAME
    )
    assert likeness(whole.pixels, load_picture(str(tmp_path / "copy")).pixels) >= SIMILAR


def test_pictures_of_any_shape_and_without_contrast_have_a_likeness() -> None:
    ramp = np.linspace(0, 1, 32 * 64, dtype=np.float32).reshape(1, 32, 64)
    flat = np.full((3, 64, 32), 0.5, np.float32)
    assert likeness(ramp, ramp) == pytest.approx(1)
    assert likeness(ramp, 1 - ramp) == pytest.approx(-1)
    assert likeness(ramp, flat) == 0
    assert likeness(flat, flat[:1, :20]) == 1
    assert -1 <= likeness(ramp, ramp.transpose(0, 2, 1)) <= 1
