"""Tags of a TIFF that decoders read otherwise than they are meant."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from encoded_pictures import COLOUR, GREY, Read, levels, tiff
from numpy.typing import NDArray

from dipstage.errors import InputError

SHORT, LONG = 3, 4
RAMP = np.arange(256)
PALETTE = np.stack([RAMP, 255 - RAMP, np.full(256, 128)])
XMP = '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{}</x>'


def tags_of(pixels: NDArray[np.uint8], photometric: int, **tags: tuple[int, Any]) -> bytes:
    """An uncompressed TIFF of 8 bits with further tags, each a type and a value."""
    height, width, *samples = pixels.shape
    entries: dict[int, tuple[int, Any]] = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [8] * (samples or [1])[0]),
        259: (SHORT, [1]), 262: (SHORT, [photometric]), 273: (LONG, [8]),
        277: (SHORT, samples or [1]), 278: (LONG, [height]), 279: (LONG, [pixels.size]),
    }  # fmt: skip
    entries |= {int(key[1:]): value for key, value in tags.items()}
    body, directory = b"II*\0" + bytes(4) + pixels.tobytes(), b""
    for tag, (kind, value) in sorted(entries.items()):
        if isinstance(value, bytes):
            count, data = len(value), value
        else:
            letter = "I" if kind == LONG else "H"
            count, data = len(value), struct.pack(f"<{len(value)}{letter}", *value)
        if len(data) > 4:
            data, body = struct.pack("<I", len(body)), body + data + bytes(len(data) % 2)
        directory += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    start = struct.pack("<I", len(body))
    return body[:4] + start + body[8:] + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_bits_is_told_from_one_of_16(read: Read, scale: int) -> None:
    picture = read(tags_of(GREY, 3, t320=(SHORT, [*(scale * PALETTE).ravel()])))
    assert np.array_equal(np.rint(levels(picture)), PALETTE.T[GREY])
    assert [n for n in picture.notices if "taken as one of 8 bits" in n] == [
        n for n in picture.notices if scale == 1
    ]


@pytest.mark.parametrize("colours", [0, 4])
def test_a_palette_that_lacks_colours_is_refused(read: Read, colours: int) -> None:
    tags = {"t320": (SHORT, [65535] * 3 * colours)} if colours else {}
    with pytest.raises(InputError, match=f"palette has {colours} colours and 8 bits need 256"):
        read(tags_of(GREY, 3, **tags))


@pytest.mark.parametrize("photometric", [1, 2])
def test_a_predictor_without_compression_has_no_meaning(read: Read, photometric: int) -> None:
    pixels = GREY if photometric == 1 else COLOUR
    picture = read(tags_of(pixels, photometric, t317=(SHORT, [2])))
    assert np.array_equal(np.rint(levels(picture)).squeeze(), pixels)
    packed = read(tiff(COLOUR, photometric="rgb", compression="zlib", predictor=2))
    assert np.array_equal(np.rint(levels(packed)), COLOUR)


@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_further_sample_without_a_tag_is_dropped_with_a_notice(
    read: Read, pixels: NDArray[np.uint8]
) -> None:
    stored = np.dstack([pixels, GREY])
    picture = read(tags_of(stored, 1 if pixels.ndim == 2 else 2))
    assert np.array_equal(np.rint(levels(picture)).squeeze(), pixels)
    [notice] = picture.notices
    assert "a sample without a stated meaning dropped" in notice


@pytest.mark.parametrize(
    "form", ["<tiff:Orientation>6</tiff:Orientation>", ' tiff:Orientation="6"']
)
def test_an_orientation_in_xmp_turns_a_tiff_that_has_no_tag(read: Read, form: str) -> None:
    xmp = (1, XMP.format(form if form[0] == " " else f">{form}").encode())
    turned = read(tags_of(COLOUR, 2, t700=xmp))
    assert turned.source is not None
    assert turned.source.orientation == 6
    assert np.array_equal(np.rint(levels(turned)), np.rot90(COLOUR, -1))
    own = read(tags_of(COLOUR, 2, t700=xmp, t274=(SHORT, [1])))
    assert np.array_equal(np.rint(levels(own)), COLOUR)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t256": (LONG, [64, 32])}, r"not read: copy"),
        ({"t256": (1, b"\x40")}, r"not read: copy"),
        ({"t339": (SHORT, [1, 2, 1])}, r"not read: copy"),
    ],
)
def test_no_refusal_has_words_of_python(read: Read, tags: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"is damaged or of a kind that is {words} it again, or"):
        read(tags_of(COLOUR, 2, **tags))


def test_a_profile_that_is_text_is_not_applied(read: Read) -> None:
    picture = read(tags_of(COLOUR, 2, t34675=(2, b"x\0")))
    assert np.array_equal(np.rint(levels(picture)), COLOUR)
    assert any("not applied: it cannot be read" in notice for notice in picture.notices)


def test_a_tiff_that_does_not_state_its_colours_is_refused(read: Read) -> None:
    buffer = io.BytesIO(tags_of(COLOUR, 2))
    with tifffile.TiffFile(buffer) as file:
        at = file.pages[0].tags["PhotometricInterpretation"].offset
    data = bytearray(buffer.getvalue())
    data[at : at + 2] = struct.pack("<H", 263)  # A tag that nobody reads.
    with pytest.raises(InputError, match="does not say what its colours are"):
        read(bytes(data))
