"""Transparency is dropped with a notice of what is shown instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from encoded_pictures import (
    COLOUR,
    GREY,
    Read,
    chunk,
    deep,
    grey_png,
    levels,
    pillow,
    png,
    tiff,
)
from numpy.typing import NDArray
from PIL import Image

from dipstage.pictures.files import _most_common


def keyed(pixels: NDArray[Any]) -> bytes:
    """A PNG whose colour of the first pixel is transparent."""
    key = pixels[0, 0].reshape(-1).astype(">u2").tobytes()
    return png(pixels, chunk(b"tRNS", key))


ALPHA = np.where(GREY > 40, 255, 0).astype(np.uint8)
TRANSPARENT = {
    "grey PNG": keyed(GREY),
    "RGB PNG": keyed(COLOUR),
    "grey PNG of 16 bits": keyed(deep(GREY)),
    "RGB PNG of 16 bits": keyed(deep(COLOUR)),
    "grey PNG with alpha": png(np.dstack([GREY, ALPHA])),
    "RGBA PNG": png(np.dstack([COLOUR, ALPHA])),
    "RGBA PNG of 16 bits": png(deep(np.dstack([COLOUR, ALPHA]))),
    "grey PNG of 16 bits with alpha": png(deep(np.dstack([GREY, ALPHA]))),
    "palette PNG": pillow(Image.fromarray(COLOUR).quantize(16), "PNG", transparency=0),
    "WEBP": pillow(np.dstack([COLOUR, ALPHA]), "WEBP", lossless=True, exact=True),
    "grey TIFF": tiff(
        np.dstack([GREY, ALPHA]), photometric="minisblack", planarconfig="contig", extrasamples=[2]
    ),
    "planar grey TIFF": tiff(
        np.stack([GREY, ALPHA]), photometric="minisblack", planarconfig="separate",
        extrasamples=[2],
    ),
    "TIFF": tiff(np.dstack([COLOUR, ALPHA]), photometric="rgb", extrasamples=[2]),
    "TIFF of 16 bits": tiff(
        deep(np.dstack([COLOUR, ALPHA])), photometric="rgb", extrasamples=["unassalpha"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(TRANSPARENT))
def test_dropped_transparency_is_noted_with_the_colour_under_it(read: Read, kind: str) -> None:
    picture = read(TRANSPARENT[kind])
    [notice] = picture.notices
    assert "transparency dropped; " in notice
    assert "the colour stored under fully transparent pixels (" in notice
    expected = GREY[..., None] if "grey" in kind else COLOUR
    assert "palette" in kind or np.array_equal(np.rint(levels(picture)), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("number", [1, 6, 1000])
def test_the_most_common_colour_is_the_first_of_the_sorted_ones(
    dtype: type, samples: int, number: int
) -> None:
    """With few pixels there are ties."""
    top = np.iinfo(dtype).max
    values: NDArray[Any] = np.array([0, 1, top - 1, top], dtype)
    colours = np.random.default_rng(0).choice(values, (number, samples))
    found, counts = np.unique(colours, axis=0, return_counts=True)
    assert np.array_equal(_most_common(colours), found[counts.argmax()])


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("key", [0, 1])
def test_the_transparent_grey_of_few_bits_is_read(read: Read, bits: int, key: int) -> None:
    values = GREY // 8 % 2
    data = grey_png(values, bits, chunk(b"tRNS", key.to_bytes(2)))
    assert f"transparent pixels ({(values == key).sum():,}) shows now, mostly ({key})" in " ".join(
        read(data).notices
    )


@pytest.mark.parametrize("compression", [None, "zlib", "zstd"])
def test_a_second_sample_without_a_meaning_is_dropped_with_a_notice(
    read: Read, compression: str | None
) -> None:
    data = tiff(
        np.dstack([GREY, ALPHA]),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=[0],
        compression=compression,
    )
    picture = read(data)
    assert any("without a stated meaning dropped" in notice for notice in picture.notices)
    assert np.array_equal(np.rint(levels(picture))[..., 0], GREY)


@pytest.mark.parametrize("depth", [8, 16])
def test_colours_multiplied_by_alpha_are_divided_again(read: Read, depth: int) -> None:
    alpha = np.full_like(GREY, 128)
    alpha[:, ::2] = 255
    mixed = np.rint(COLOUR * (alpha[..., None] / 255)).astype(np.uint8)
    stored = np.dstack([mixed, alpha])
    data = tiff(
        stored if depth == 8 else deep(stored), photometric="rgb", extrasamples=["assocalpha"]
    )
    assert levels(read(data)) == pytest.approx(COLOUR.astype(float), abs=1.1)
