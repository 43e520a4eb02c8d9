"""How many bits pixels have: every depth fills the range, and what is lost is noted."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from encoded_pictures import COLOUR, GREY, Read, chunk, deep, grey_png, levels, png, tiff
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.pictures.decoders import read_raw


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("write", [png, tiff])
def test_few_significant_bits_are_noted_and_can_be_stated(
    read: Read, write: Callable[..., bytes], pixels: NDArray[np.uint8], bits: int
) -> None:
    few = pixels.astype(np.uint16) << (bits - 8)
    options = {} if write is png or pixels is GREY else {"photometric": "rgb"}
    data = write(few, **options)
    [notice] = read(data).notices
    assert f"% of the range; if its values have {bits} bits, add #bits={bits}" in notice
    picture = read(data, f"#bits={bits}")
    assert picture.notices == ()
    assert levels(picture) == pytest.approx(few.reshape(48, 64, -1) / (2**bits - 1) * 255, abs=1e-4)
    with pytest.raises(InputError, match=f"which #bits={bits - 1} does not fit"):
        read(data, f"#bits={bits - 1}")


def test_eight_bits_in_sixteen_are_the_same_picture_as_eight(read: Read) -> None:
    assert read(png(GREY.astype(np.uint16)), "#bits=8").digest == read(png(GREY)).digest


@pytest.mark.parametrize("data", [png(GREY), tiff(GREY, photometric="minisblack")])
def test_more_bits_than_the_samples_have_are_refused(read: Read, data: bytes) -> None:
    with pytest.raises(InputError, match="has values of 8 bits, which cannot hold #bits=9"):
        read(data, "#bits=9")


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 16])
def test_any_depth_of_a_tiff_fills_the_range(read: Read, bits: int, photometric: str) -> None:
    top = 2**bits - 1
    values = np.rint(GREY / 255 * top).astype(np.uint8 if bits <= 8 else np.uint16)
    stored = values if photometric == "minisblack" else top - values
    if bits == 1:
        data = tiff(stored.astype(bool), photometric=photometric)
    else:
        data = tiff(stored, photometric=photometric, bitspersample=bits)
    picture = read(data)
    assert levels(picture)[..., 0] == pytest.approx(values / top * 255, abs=1e-4)
    assert picture.notices == ()
    assert picture.source is not None
    assert picture.source.bits == bits


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_fills_the_range(read: Read, bits: int) -> None:
    top = 2**bits - 1
    values = np.rint(GREY / 255 * top).astype(np.uint8)
    picture = read(grey_png(values, bits))
    assert levels(picture)[..., 0] == pytest.approx(values / top * 255, abs=1e-4)
    assert picture.source is not None
    assert (picture.source.bits, picture.source.highest) == (bits, top)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "uint32", "int32", "float16", "float32", "float64", "complex64"]
)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_other_types_are_refused_by_name(read: Read, dtype: str, compression: str | None) -> None:
    with pytest.raises(InputError, match=f"pixels of type {dtype}"):
        read(tiff(GREY.astype(dtype), photometric="minisblack", compression=compression))


@pytest.mark.parametrize("byteorder", "<>")
def test_both_byte_orders_are_read(read: Read, byteorder: str) -> None:
    for pixels, kind in ((GREY, "minisblack"), (COLOUR, "rgb")):
        for stored in (pixels, deep(pixels)):
            data = tiff(stored, photometric=kind, byteorder=byteorder)
            assert np.array_equal(np.rint(levels(read(data))).squeeze(), pixels)


def test_an_interlaced_png_of_sixteen_bits_is_read_without_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 1)
    rows = chunk(b"IDAT", zlib.compress(bytes(7 + 7 + 13)))  # One pixel, one and two.
    parts = b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), rows, chunk(b"IEND", b"")
    assert read_raw("a.png", b"".join(parts), None).pixels.shape == (2, 2, 3)
    assert not caplog.records
    logging.getLogger("imagecodecs").warning("of another use")
    assert [record.message for record in caplog.records] == ["of another use"]


def test_depth_that_is_lost_is_noted(read: Read) -> None:
    picture = read(tiff(deep(COLOUR), photometric="rgb", compression="zstd"))
    assert any("read with 8 of its 16 bits" in notice for notice in picture.notices)
