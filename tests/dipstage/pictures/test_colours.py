"""Colours are converted to sRGB, by profile or by what a file states, or are refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from encoded_pictures import (
    ADOBE,
    COLOUR,
    GREY,
    P3,
    SRGB,
    Read,
    chunk,
    deep,
    levels,
    pillow,
    png,
    tiff,
)
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dipstage.errors import InputError
from dipstage.pictures.colours import profile_name, to_srgb


def lab(pixels: NDArray[np.uint8]) -> Image.Image:
    """CIE L*a*b*, D50."""
    source, target = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(Image.fromarray(pixels), source, target, outputMode="LAB")
    assert converted is not None
    return converted


MUTED = (96 + COLOUR // 4).astype(np.uint8)
MODES = {
    "CMYK TIFF": pillow(Image.fromarray(MUTED).convert("CMYK"), "TIFF"),
    "CMYK JPEG": pillow(Image.fromarray(MUTED).convert("CMYK"), "JPEG", quality=98),
    "YCbCr TIFF": pillow(Image.fromarray(MUTED).convert("YCbCr"), "TIFF"),
    "YCbCr TIFF by tifffile": tiff(
        np.asarray(Image.fromarray(MUTED).convert("YCbCr")), photometric="ycbcr"
    ),
    "LAB TIFF": pillow(lab(MUTED), "TIFF"),
    "LAB TIFF, LZW": pillow(lab(MUTED), "TIFF", compression="tiff_lzw"),
    "planar LAB TIFF": tiff(
        np.asarray(lab(MUTED)).transpose(2, 0, 1), photometric="cielab", planarconfig="separate"
    ),
    "LAB TIFF with alpha": tiff(
        np.dstack([np.asarray(lab(MUTED)), GREY]), photometric="cielab", extrasamples=[2]
    ),
    "planar CMYK TIFF": tiff(
        np.asarray(Image.fromarray(MUTED).convert("CMYK")).transpose(2, 0, 1),
        photometric="separated",
        planarconfig="separate",
    ),
    "YCbCr JPEG TIFF, subsampled": tiff(
        MUTED, photometric="rgb", compression="jpeg", subsampling=(2, 2)
    ),
    "palette PNG": pillow(Image.fromarray(MUTED).quantize(256), "PNG"),
    "palette TIFF": pillow(Image.fromarray(MUTED).quantize(256), "TIFF"),
    "palette TIFF with alpha": pillow(Image.fromarray(MUTED).quantize(256).convert("PA"), "TIFF"),
    "RGBX TIFF": pillow(Image.fromarray(MUTED).convert("RGBX"), "TIFF"),
    "planar TIFF": tiff(MUTED.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
}


@pytest.mark.parametrize(
    "data",
    [
        pillow(Image.new("CMYK", (64, 48), (20, 30, 10, 0)), "JPEG"),
        pillow(Image.new("CMYK", (64, 48), (20, 30, 10, 0)), "TIFF"),
        pillow(Image.new("LAB", (64, 48), (40, 0, 0)), "TIFF"),
    ],
    ids=["CMYK JPEG", "CMYK TIFF", "LAB TIFF"],
)
def test_little_ink_is_not_taken_for_few_bits(read: Read, data: bytes) -> None:
    assert not any("brightest" in notice for notice in read(data).notices)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_looks_like_rgb(read: Read, mode: str) -> None:
    picture = read(MODES[mode])
    assert picture.pixels.shape == (3, 48, 64)
    assert np.abs(levels(picture) - MUTED).mean() < 6


OTHERS = {
    "CFA": tiff(GREY, photometric="cfa"),
    "LOGL": tiff(GREY, photometric="logl"),
    "ICCLAB": tiff(COLOUR, photometric="icclab"),
    "16-bit CIELAB": tiff(deep(COLOUR), photometric="cielab"),
    "CIELAB colours": tiff(COLOUR, photometric="cielab", compression="zstd"),
    "YCBCR": tiff(
        COLOUR,
        photometric="ycbcr",
        extratags=[(532, 5, 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True)],
    ),
    "TIFF of a kind": tiff(
        np.dstack([COLOUR, GREY, GREY]), photometric="separated", extrasamples=[2]
    ),
    "JPEG of a kind": bytes(imagecodecs.jpeg_encode(deep(COLOUR) >> 4, bitspersample=12)),
    "3 samples for each grey pixel": tiff(COLOUR, photometric="minisblack", planarconfig="contig"),
    "5 samples for each RGB pixel": tiff(
        np.dstack([COLOUR, GREY, GREY]), photometric="rgb", extrasamples=[0, 0]
    ),
    "SEPARATED": tiff(
        np.dstack([COLOUR, GREY]), photometric="separated", extratags=[(332, 3, 1, 2, True)]
    ),
    "colours of video": png(COLOUR, chunk(b"cICP", bytes([9, 16, 0, 1]))),
    "narrow range": png(COLOUR, chunk(b"cICP", bytes([1, 13, 0, 0]))),
}


@pytest.mark.parametrize("words", sorted(OTHERS))
def test_other_colours_are_refused_by_name(read: Read, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(OTHERS[words])


PROFILED: dict[str, Callable[[bytes], bytes]] = {
    "PNG": lambda icc: pillow(COLOUR, "PNG", icc_profile=icc),
    "PNG of 16 bits": lambda icc: png(deep(COLOUR), chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))),
    "JPEG": lambda icc: pillow(COLOUR, "JPEG", icc_profile=icc, quality=100, subsampling=0),
    "WEBP": lambda icc: pillow(COLOUR, "WEBP", icc_profile=icc, lossless=True),
    "TIFF": lambda icc: tiff(COLOUR, photometric="rgb", iccprofile=icc),
    "TIFF of 16 bits": lambda icc: tiff(deep(COLOUR), photometric="rgb", iccprofile=icc),
    "TIFF with alpha": lambda icc: tiff(
        np.dstack([COLOUR, GREY]), photometric="rgb", extrasamples=[2], iccprofile=icc
    ),
    "TIFF of ZSTD": lambda icc: tiff(COLOUR, photometric="rgb", iccprofile=icc, compression="zstd"),
}


@pytest.mark.parametrize("profile", [ADOBE, P3], ids=["Adobe RGB", "P3"])
@pytest.mark.parametrize("format", sorted(PROFILED))
def test_wide_gamut_is_converted_to_srgb(read: Read, format: str, profile: bytes) -> None:
    wide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(
        Image.fromarray(COLOUR), wide, ImageCms.createProfile("sRGB")
    )
    picture = read(PROFILED[format](profile))
    off = np.abs(levels(picture) - np.asarray(expected, dtype=np.float64))
    assert off.mean() < 1.5
    assert format == "JPEG" or off.max() < 1.5
    assert any("converted to sRGB" in notice for notice in picture.notices)


@pytest.mark.parametrize("format", sorted(PROFILED))
def test_srgb_changes_nothing_and_a_bad_profile_is_noted(read: Read, format: str) -> None:
    plain = read(PROFILED[format](SRGB))
    assert not any("profile" in notice for notice in plain.notices)
    bad = read(PROFILED[format](b"no profile at all" * 20))
    assert any("not applied: it cannot be read" in notice for notice in bad.notices)
    other = read(PROFILED[format](bytes(imagecodecs.cms_profile("gray", gamma=1.0))))
    assert any("not applied: it is for grey pixels" in notice for notice in other.notices)
    assert plain.digest == bad.digest == other.digest


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_profiles_give_the_tones_of_srgb(read: Read, gamma: float) -> None:
    profile = bytes(imagecodecs.cms_profile("gray", gamma=gamma))
    linear = (GREY / 255) ** gamma
    expected = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    for data in (
        pillow(GREY, "PNG", icc_profile=profile),
        tiff(deep(GREY), photometric="minisblack", iccprofile=profile),
    ):
        assert levels(read(data))[..., 0] == pytest.approx(expected * 255, abs=0.5)


def test_a_profile_of_colour_applies_to_grey(read: Read) -> None:
    assert read(pillow(GREY, "PNG", icc_profile=SRGB)).notices == ()
    wide = read(pillow(GREY, "PNG", icc_profile=ADOBE))
    assert wide.pixels.shape[0] == 1
    assert any("converted to sRGB" in notice for notice in wide.notices)


def test_sixteen_bits_are_converted_as_exactly_as_eight() -> None:
    """Little CMS replaces 16-bit conversions by a coarse table unless it is told not to."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    eight, sixteen = to_srgb(pixels, ADOBE), to_srgb(deep(pixels), ADOBE)
    assert eight is not None
    assert sixteen is not None
    assert np.abs(eight.astype(int) - sixteen.astype(int)).max() < 100


def test_names_of_profiles_are_one_short_line() -> None:
    assert profile_name(SRGB).startswith("sRGB")
    assert profile_name(b"") == "without a name"
    named = ADOBE.replace("Adobe".encode("utf-16-be"), "A\n\x1b[".encode("utf-16-be") + b"\0o")
    assert profile_name(named).isprintable()


def test_colours_that_chunks_and_exif_state_are_converted(read: Read) -> None:
    linear = read(png(COLOUR, chunk(b"gAMA", struct.pack(">I", 100_000))))
    assert any("converted to sRGB" in notice for notice in linear.notices)
    assert levels(linear).mean() > COLOUR.mean() + 20
    same = read(png(COLOUR, chunk(b"gAMA", struct.pack(">I", 45_455))))
    stated = read(png(COLOUR, chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))))
    assert same.digest == stated.digest == read(png(COLOUR)).digest
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    camera = read(pillow(COLOUR, "JPEG", exif=exif))
    assert any("Adobe RGB" in notice for notice in camera.notices)


@pytest.mark.parametrize("chunks", [chunk(b"cHRM", bytes(32)), chunk(b"gAMA", bytes(4))])
def test_chunks_that_make_no_sense_are_noted(read: Read, chunks: bytes) -> None:
    picture = read(png(COLOUR, chunks))
    assert picture.digest == read(png(COLOUR)).digest
    assert any("not applied: it cannot be read" in notice for notice in picture.notices)
