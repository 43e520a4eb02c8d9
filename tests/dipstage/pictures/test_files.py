"""Pages, options, orientation and size: which picture of a file is read, and how it stands."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from encoded_pictures import COLOUR, GREY, Read, chunk, deep, levels, pillow, png, tiff
from PIL import Image, ImageOps

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture

FRAMES = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1]), Image.fromarray(255 - COLOUR)]
STACKS = {
    "TIFF": tiff(np.stack([COLOUR, COLOUR[::-1], 255 - COLOUR]), photometric="rgb"),
    "TIFF of 16 bits": tiff(
        deep(np.stack([COLOUR, COLOUR[::-1], 255 - COLOUR])), photometric="rgb", compression="zlib"
    ),
    "TIFF of CMYK": pillow(
        FRAMES[0].convert("CMYK"), "TIFF", save_all=True,
        append_images=[f.convert("CMYK") for f in FRAMES[1:]],
    ),
    "TIFF of JPEG": tiff(
        np.stack([COLOUR, COLOUR[::-1], 255 - COLOUR]), photometric="rgb", compression="jpeg",
        compressionargs={"level": 98},
    ),
    "ImageJ": tiff(np.stack([COLOUR, COLOUR[::-1], 255 - COLOUR]), imagej=True),
    "OME": tiff(np.stack([COLOUR, COLOUR[::-1], 255 - COLOUR]), ome=True, photometric="rgb"),
    "PNG": pillow(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    "WEBP": pillow(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True),
    "MPO": pillow(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:], quality=98),
}  # fmt: skip


@pytest.mark.parametrize("format", sorted(STACKS))
def test_several_pages_or_frames_are_refused_until_one_is_chosen(read: Read, format: str) -> None:
    with pytest.raises(InputError, match=r"has 3 (pages|frames): choose one by #page=N"):
        read(STACKS[format])
    for page, expected in enumerate([COLOUR, COLOUR[::-1], 255 - COLOUR], 1):
        picture = read(STACKS[format], f"#page={page}")
        assert np.abs(levels(picture) - expected).mean() < 6
        assert picture.source is not None
        assert (picture.source.page, picture.source.pages) == (page, 3)
    with pytest.raises(InputError, match=r"has 3 (pages|frames): page must be from 1 to 3"):
        read(STACKS[format], "#page=4")


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_of_more_than_1000_frames_is_refused(read: Read, format: str) -> None:
    dark, light = Image.new("L", (2, 2)), Image.new("L", (2, 2), 255)
    data = pillow(dark, format, save_all=True, append_images=[light, dark] * 500)
    for options in ("", "#page=1", "#page=1001"):
        with pytest.raises(InputError, match="more than 1000 frames: save one as a file"):
            read(data, options)


def test_colour_in_three_grey_pages_is_refused(read: Read) -> None:
    with pytest.raises(InputError, match="has 3 pages"):
        read(tiff(COLOUR.transpose(2, 0, 1), photometric="minisblack"))


def test_pictures_behind_the_only_page_are_found(read: Read) -> None:
    stack = np.stack([GREY] * 5)
    with pytest.raises(InputError, match="a stack of 5 pictures on one page"):
        read(tiff(stack, photometric="minisblack", truncate=True))


def test_thumbnails_and_masks_are_no_pages(read: Read) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(COLOUR[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(COLOUR, photometric="rgb")
        writer.write(GREY > 9, subfiletype=4)
    assert np.array_equal(np.rint(levels(read(buffer.getvalue()))), COLOUR)
    with pytest.raises(InputError, match="holds only a thumbnail"):
        read(tiff(COLOUR, photometric="rgb", subfiletype=1))


def test_previews_beside_a_jpeg_are_ignored_with_a_notice(read: Read) -> None:
    small = Image.fromarray(COLOUR[::4, ::4])
    picture = read(pillow(FRAMES[0], "MPO", save_all=True, append_images=[small]))
    assert any("previews or gain maps" in notice for notice in picture.notices)
    assert picture.pixels.shape == (3, 48, 64)


@pytest.mark.parametrize(
    "options", ["#page=0", "#page=x", "#bits=17", "#pages=1", "#page=1#page=1"]
)
def test_wrong_options_are_refused(read: Read, options: str) -> None:
    with pytest.raises(InputError, match=r"must be one #page=N or one #bits=N|#bits must be from"):
        read(png(GREY), options)


def test_a_file_whose_name_looks_like_an_option_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a#page=2").write_bytes(png(GREY))
    (tmp_path / "a").write_bytes(png(255 - GREY))
    for options in ("", "#page=1", "#bits=8"):
        picture = load_picture(f"{tmp_path}/a#page=2{options}", multiple=2)
        assert levels(picture)[0, 0, 0] == 0
    with pytest.raises(InputError, match="#page must be one #page=N"):
        load_picture(f"{tmp_path}/a#page")
    with pytest.raises(InputError, match="does not exist"):
        load_picture(f"{tmp_path}/b#page=1")


def exif_of(orientation: int) -> bytes:
    """TIFF's own bytes, without the header that JPEG needs."""
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif.tobytes()


ORIENTED: dict[str, Callable[[int], bytes]] = {
    "JPEG": lambda o: pillow(COLOUR, "JPEG", exif=exif_of(o), quality=98),
    "WEBP": lambda o: pillow(COLOUR, "WEBP", exif=exif_of(o), lossless=True),
    "PNG": lambda o: pillow(COLOUR, "PNG", exif=exif_of(o)),
    "grey PNG": lambda o: pillow(COLOUR[..., 0], "PNG", exif=exif_of(o)),
    "palette PNG": lambda o: pillow(Image.fromarray(GREY).convert("P"), "PNG", exif=exif_of(o)),
    "PNG of 16 bits": lambda o: png(
        deep(COLOUR), chunk(b"eXIf", exif_of(o).removeprefix(b"Exif\0\0"))
    ),
    "grey PNG of 16 bits": lambda o: png(
        deep(GREY), chunk(b"eXIf", exif_of(o).removeprefix(b"Exif\0\0"))
    ),
    "TIFF": lambda o: tiff(COLOUR, photometric="rgb", extratags=[(274, 3, 1, o, True)]),
    "grey TIFF of 16 bits": lambda o: tiff(
        deep(GREY), photometric="minisblack", extratags=[(274, 3, 1, o, True)], compression="lzw"
    ),
    "white-is-zero TIFF": lambda o: tiff(
        255 - GREY, photometric="miniswhite", extratags=[(274, 3, 1, o, True)]
    ),
    "TIFF of CMYK": lambda o: tiff(
        np.asarray(Image.fromarray(COLOUR).convert("CMYK")), photometric="separated",
        extratags=[(274, 3, 1, o, True)],
    ),
    "TIFF of JPEG": lambda o: tiff(
        COLOUR, photometric="rgb", compression="jpeg", compressionargs={"level": 98},
        extratags=[(274, 3, 1, o, True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", sorted(ORIENTED))
def test_every_picture_is_upright(read: Read, format: str, orientation: int) -> None:
    tagged = Image.fromarray(COLOUR)
    tagged.getexif()[0x112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged), dtype=np.float64)
    picture = read(ORIENTED[format](orientation))
    shown = levels(picture)
    assert shown.shape[:2] == expected.shape[:2]
    assert np.abs(shown[..., 0] - expected[..., 0]).mean() < 6
    assert picture.source is not None
    assert picture.source.orientation == orientation


def test_a_crop_is_noted_with_both_sizes(read: Read) -> None:
    odd = COLOUR[:47, :61]
    assert read(png(COLOUR), multiple=16).notices == ()
    [notice] = read(png(odd), multiple=4).notices
    assert "cropped from 61 × 47 to 60 × 44, multiples of 4" in notice
    assert read(png(odd), multiple=4, size=32).notices == ()


def test_a_cut_off_second_picture_does_not_spoil_a_jpeg(read: Read) -> None:
    whole = pillow(FRAMES[0], "MPO", save_all=True, append_images=[FRAMES[1]])
    assert read(whole[:-300]).pixels.shape == (3, 48, 64)
