"""Photographs that are written again keep what their files hold."""

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from dipstage.errors import InputError
from dipstage.pictures.photographs import _resolution, load_photograph

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (7, 9, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (7, 9, 3), np.uint16)


def written(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    """A file by imagecodecs or tifffile, or by Pillow with these options."""
    if path.suffix == ".tif":
        kind = "rgb" if pixels.ndim == 3 and pixels.shape[2] > 2 else "minisblack"
        extra = ["unassalpha"] if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else None
        tifffile.imwrite(path, pixels, photometric=kind, extrasamples=extra, **options)
    elif path.suffix == ".png" and not options:
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_grey_colour_transparency_and_depth_come_back_bit_for_bit(
    tmp_path: Path, ending: str, dtype: type, samples: int
) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max, (7, 9, samples), dtype, endpoint=True)
    pixels = pixels[..., 0] if samples == 1 else pixels
    photo = load_photograph(str(written(tmp_path / f"a{ending}", pixels)))
    assert (photo.alpha is not None) == (samples in (2, 4))
    assert not photo.notices
    for other in (".png", ".tif"):
        copy = tmp_path / f"copy{other}"
        photo.check_format(copy, "--output")
        copy.write_bytes(photo.encoded(copy))
        decode = imagecodecs.png_decode if other == ".png" else imagecodecs.tiff_decode
        again = decode(copy.read_bytes())
        assert again.dtype == dtype
        assert np.array_equal(again.squeeze(), pixels)


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("opaque", ["as the colours", "of the file"])
@pytest.mark.parametrize("samples", [2, 4])
def test_stated_bits_of_colours_leave_an_opaque_tiff_opaque(
    tmp_path: Path, bits: int, opaque: str, samples: int
) -> None:
    pixels = RNG.integers(0, 2**bits, (7, 9, samples), np.uint16)
    pixels[..., -1] = 2**bits - 1 if opaque == "as the colours" else 65535
    pixels[0, :, -1] = 0
    photo = load_photograph(f"{written(tmp_path / 'a.tif', pixels)}#bits={bits}")
    assert photo.alpha is not None
    assert (photo.alpha[0] == 0).all()
    assert (photo.alpha[1:] == np.iinfo(photo.alpha.dtype).max).all()


@pytest.mark.parametrize("key", [0, 1])
def test_the_transparent_colour_of_one_bit_is_kept(tmp_path: Path, key: int) -> None:
    image = Image.new("1", (8, 8), 0)
    image.paste(1, (0, 0, 3, 8))
    image.save(tmp_path / "a.png", transparency=key)
    photo = load_photograph(str(tmp_path / "a.png"))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, np.asarray(image) == key)


def test_lossless_webp_and_jpeg(tmp_path: Path) -> None:
    photo = load_photograph(str(written(tmp_path / "a.png", COLOUR)))
    for ending, limit in ((".webp", 0), (".jpg", 20)):
        data = photo.encoded(Path("x" + ending))
        again = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(again - COLOUR).mean() <= limit


def exif_of(orientation: int) -> Image.Exif:
    """Of a camera, in Adobe RGB, with a place."""
    exif = Image.Exif()
    exif[0x112], exif[0x10F], exif[0x132] = orientation, "A camera", "2026:01:02 03:04:05"
    exif[0x8769] = {0x829A: 0.01, 0xA001: 65535, 0xA002: 9, 0xA003: 7, 0x9003: "2026:01:02"}
    exif[0x8825] = {1: "N", 2: (47.0, 30.0, 0.0)}
    return exif


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_exif_is_kept_and_says_what_is_written(tmp_path: Path, ending: str) -> None:
    """The photograph is turned by a quarter, so its sides are exchanged."""
    source = written(tmp_path / "a.jpg", COLOUR, exif=exif_of(6), quality=95)
    photo = load_photograph(str(source))
    assert photo.pixels.shape == (9, 7, 3)
    copy = tmp_path / f"copy{ending}"
    copy.write_bytes(photo.encoded(copy))
    with Image.open(copy) as image:
        assert image.size == (7, 9)
        exif = image.getexif()
        assert (exif[0x112], exif[0x10F], exif[0x132]) == (1, "A camera", "2026:01:02 03:04:05")
        details = exif.get_ifd(0x8769)
        assert details[0x829A] == pytest.approx(0.01)
        assert (details[0xA001], details[0xA002], details[0xA003]) == (1, 7, 9)
        assert exif.get_ifd(0x8825)[2] == (47.0, 30.0, 0.0)
    assert load_photograph(str(copy)).pixels.shape == (9, 7, 3)


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (3, {"photometric": "rgb", "bigtiff": True}),
        (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
        (1, {"photometric": "miniswhite", "byteorder": ">"}),
    ],
    ids=["BigTIFF", "grey with alpha", "white is 0"],
)
def test_the_exif_of_the_chosen_page_is_kept_although_pillow_cannot_open_it(
    tmp_path: Path, samples: int, options: dict[str, Any]
) -> None:
    form = {key: options.pop(key) for key in ("byteorder", "bigtiff") if key in options}
    pixels = DEEP[..., :samples].squeeze()
    with tifffile.TiffWriter(tmp_path / "a.tif", **form) as file:
        for maker in ("first", "second"):
            tags = [(271, "s", 0, maker, True)]
            file.write(pixels, software=False, metadata=None, extratags=tags, **options)
    for page, maker in ((1, "first"), (2, "second")):
        photo = load_photograph(f"{tmp_path / 'a.tif'}#page={page}")
        assert photo.exif[271] == maker


def test_exif_that_cannot_be_written_again_is_dropped_with_a_notice(tmp_path: Path) -> None:
    exif = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8825, 4, 1, 26, 0)
    exif += struct.pack("<HHHI4sI", 1, 0, 2, 4, b"2.3\0", 0)  # A version of GPS as text.
    source = written(tmp_path / "a.png", COLOUR, exif=exif)
    photo = load_photograph(str(source))
    assert not photo.exif
    assert ["Exif not kept" in notice for notice in photo.notices] == [True]


@pytest.mark.parametrize("source", [".jpg", ".tif"])
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_the_printed_size_and_the_words_of_windows_are_kept(
    tmp_path: Path, source: str, ending: str
) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x11A], exif[0x11B], exif[0x128] = 6, 300.0, 150.0, 2
    words = {0x13C: "A computer", 0x4746: 4, 0x4749: 75, 0x9C9B: "é".encode("utf-16-le") + b"\0\0"}
    for tag, value in words.items():
        exif[tag] = value
    image = Image.fromarray(COLOUR.repeat(2, 0).repeat(2, 1))
    image.save(tmp_path / f"a{source}", exif=exif)
    photo = load_photograph(str(tmp_path / f"a{source}")).resized(9)
    copy = tmp_path / f"copy{ending}"
    photo.check_format(copy, "--output")
    copy.write_bytes(photo.encoded(copy))
    with Image.open(copy) as image:
        again = image.getexif()
        assert {tag: again[tag] for tag in words} == words
        assert (again[0x11A], again[0x11B], again[0x128]) == (75, 150, 2)


@pytest.mark.parametrize(
    ("x", "unit"), [(0.0, 2), (-1.0, 2), (float("nan"), 2), (1e9, 2), (1.0, 1), ("300", 2)]
)
def test_a_resolution_that_says_nothing_is_not_kept(x: Any, unit: int) -> None:
    assert not _resolution({0x11A: x, 0x11B: 72.0, 0x128: unit}, orientation=1)


@pytest.mark.parametrize("kind", [1, 2, 7])
def test_a_maker_is_kept_whatever_its_type(tmp_path: Path, kind: int) -> None:
    exif = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x10F, kind, 4, b"Me!\0", 0)
    source = written(tmp_path / "a.png", COLOUR, exif=exif)
    assert load_photograph(str(source)).exif[0x10F] == "Me!"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_texts_keep_their_bytes_in_any_encoding(tmp_path: Path, ending: str, encoding: str) -> None:
    texts = {270: "Prüfbild", 305: "Gerät é", 315: "M\0N", 33432: "© 2020 Müller"}
    tags = [(tag, "s", 0, text.encode(encoding), True) for tag, text in texts.items()]
    source = written(tmp_path / "a.tif", COLOUR, software=False, metadata=None, extratags=tags)
    photo = load_photograph(str(source))
    copy = tmp_path / f"copy{ending}"
    photo.check_format(copy, "--output")
    copy.write_bytes(photo.encoded(copy))
    with Image.open(copy) as image:
        exif = image.getexif()
        assert {tag: exif[tag].encode("latin-1") for tag in texts} == {
            tag: text.encode(encoding) for tag, text in texts.items()
        }


def test_what_a_format_cannot_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x927C: bytes(70_000)}  # A camera's own notes.
    source = written(tmp_path / "a.png", COLOUR, exif=exif)
    photo = load_photograph(str(source))
    with pytest.raises(InputError, match=r"--output x.jpg cannot hold the photograph's Exif"):
        photo.check_format(Path("x.jpg"), "--output")
    photo.check_format(Path("x.png"), "--output")
    long = load_photograph(str(written(tmp_path / "b.png", np.zeros((1, 16_384), np.uint8))))
    with pytest.raises(InputError, match="can have sides of at most 16,383 pixels"):
        long.check_format(Path("x.webp"), "--output")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_converted_photograph_says_that_it_is_srgb(tmp_path: Path, ending: str) -> None:
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    photo = load_photograph(str(written(tmp_path / "a.png", COLOUR, icc_profile=profile)))
    assert any("converted to sRGB" in notice for notice in photo.notices)
    copy = tmp_path / f"copy{ending}"
    copy.write_bytes(photo.encoded(copy))
    with Image.open(copy) as image:
        assert image.info["icc_profile"] == imagecodecs.cms_profile("srgb")
    again = load_photograph(str(copy))
    assert again.pixels == pytest.approx(photo.pixels, abs=0.3 if ending == ".jpg" else 0.002)


def test_a_profile_of_srgb_stays_and_one_that_cannot_be_used_does_not(tmp_path: Path) -> None:
    srgb = bytes(imagecodecs.cms_profile("srgb"))
    grey = RNG.integers(0, 256, (7, 9), np.uint8)
    for pixels, profile, kept in (
        (COLOUR, srgb, srgb),
        (COLOUR, b"x" * 200, None),
        (grey, srgb, None),
    ):
        photo = load_photograph(str(written(tmp_path / "a.png", pixels, icc_profile=profile)))
        assert photo.profile == kept


@pytest.mark.parametrize("samples", [1, 2])
def test_grey_as_webp_is_three_channels_without_a_profile_of_grey(
    tmp_path: Path, samples: int
) -> None:
    pixels = np.ascontiguousarray(COLOUR[..., :samples].squeeze())
    source = written(tmp_path / "a.png", pixels)
    photo = replace(load_photograph(str(source)), profile=b"of grey")
    with Image.open(io.BytesIO(photo.encoded(Path("x.webp")))) as image:
        assert "icc_profile" not in image.info
        assert np.array_equal(np.asarray(image)[..., 0], COLOUR[..., 0])


def test_twelve_bits_become_sixteen_of_the_full_range(tmp_path: Path) -> None:
    deep = RNG.integers(0, 4096, (7, 9), np.uint16)
    photo = load_photograph(f"{written(tmp_path / 'a.png', deep)}#bits=12")
    assert photo.bits == 16
    again = imagecodecs.png_decode(photo.encoded(Path("x.png")))
    assert np.array_equal(again, np.rint(deep / 4095 * 65535))


def test_resizing_keeps_the_aspect_and_takes_the_transparency_along(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 40, 4), np.uint8)
    photo = load_photograph(str(written(tmp_path / "a.png", pixels))).resized(10)
    assert photo.pixels.shape == (5, 10, 3)
    assert photo.alpha is not None
    assert photo.alpha.shape == (5, 10)
    for size in (0, 41):
        with pytest.raises(InputError, match=f"from 1 to the longer side .* 10, got {size}"):
            photo.resized(size)


@pytest.mark.parametrize(
    ("pixels", "name", "words"),
    [
        (COLOUR, "x.gif", "must end in .png"),
        (COLOUR, "x", "must end in .png"),
        (DEEP, "x.jpg", "would lose 8 of the photograph's 16 bits"),
        (DEEP, "x.webp", "would lose 8"),
        (
            np.dstack([COLOUR, COLOUR[..., :1]]),
            "x.JPG",
            "cannot hold .* transparency",
        ),
    ],
)
def test_formats_that_would_lose_something_are_refused(
    tmp_path: Path, pixels: NDArray[Any], name: str, words: str
) -> None:
    photo = load_photograph(str(written(tmp_path / "a.png", pixels)))
    with pytest.raises(InputError, match=words):
        photo.check_format(Path(name), "--output")


def test_a_missing_photograph_is_named() -> None:
    with pytest.raises(InputError, match=r"photograph 'no\.png' does not exist: check the path"):
        load_photograph("no.png")
