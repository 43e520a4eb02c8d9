"""Exif that is damaged, or states what cannot be, in every format."""

import io
import struct
import warnings

import numpy as np
import pytest
import tifffile
from encoded_pictures import COLOUR, Read, levels
from PIL import Image


def entries(count: int, *found: tuple[int, int, int, int], offset: int = 8) -> bytes:
    """Exif that announces a number of entries; each is a tag, a type, a count and a value."""
    head = b"Exif\0\0II*\0" + struct.pack("<IH", offset, count)
    return head + b"".join(struct.pack("<HHII", *entry) for entry in found) + bytes(4)


def with_exif(format: str, exif: bytes) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 98} if format == "JPEG" else {"lossless": True}
    Image.fromarray(COLOUR).save(buffer, format, exif=exif, **options)
    return buffer.getvalue()


DAMAGED = {
    "garbage": b"Exif\0\0hello world",
    "a directory outside the file": entries(0, offset=1_000_000),
    "fewer entries than announced": entries(200, (0x112, 3, 1, 1)),
    "a text beyond the file": entries(1, (0x10E, 2, 5000, 0xFFFF)),
    "details outside the file": entries(1, (0x8769, 4, 1, 1_000_000)),
    "a place outside the file": entries(1, (0x8825, 4, 1, 1_000_000)),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_exif_is_ignored_with_a_notice(read: Read, format: str, damage: str) -> None:
    picture = read(with_exif(format, DAMAGED[damage]))
    assert np.abs(levels(picture) - COLOUR).mean() < (3 if format == "JPEG" else 1e-3)
    assert ["damaged Exif ignored where it" in notice for notice in picture.notices] == [True]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 9, 99])
def test_an_orientation_that_does_not_exist_is_ignored_with_a_notice(
    read: Read, format: str, orientation: int
) -> None:
    picture = read(with_exif(format, entries(1, (0x112, 3, 1, orientation))))
    assert ["orientation that is not from 1 to 8" in n for n in picture.notices] == [True]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_can_be_read_of_damaged_exif_still_turns_the_picture(read: Read, format: str) -> None:
    picture = read(with_exif(format, entries(2, (0x10E, 2, 5000, 0xFFFF), (0x112, 3, 1, 3))))
    assert np.abs(levels(picture) - COLOUR[::-1, ::-1]).mean() < 3
    assert ["damaged Exif ignored" in notice for notice in picture.notices] == [True]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_sound_exif_gets_no_notice(read: Read, format: str) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x10E] = 1, "a"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    assert not read(with_exif(format, exif.tobytes())).notices


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("compression", [None, "jpeg"])
def test_damaged_exif_of_a_tiff_is_ignored_with_a_notice(
    read: Read, byteorder: str, bigtiff: bool, compression: str | None
) -> None:
    for tag, value, words in (
        (0x8769, 1_000_000, "damaged Exif ignored"),
        (0x112, 99, "orientation that is not from 1 to 8"),
        (0x112, 1, None),
    ):
        buffer = io.BytesIO()
        tags = [(65000, 4, 1, value, True)]
        with tifffile.TiffWriter(buffer, byteorder=byteorder, bigtiff=bigtiff) as file:
            file.write(
                COLOUR, photometric="rgb", compression=compression, extratags=tags, metadata=None
            )
        entry = struct.pack(f"{byteorder}HH", 65000, 4)  # tifffile does not write these tags.
        data = buffer.getvalue().replace(entry, struct.pack(f"{byteorder}HH", tag, 4))
        with warnings.catch_warnings(action="ignore"):
            notices = read(data).notices
        assert [words in n for n in notices if words] == [True] * bool(words), (tag, notices)
        assert words or not notices
