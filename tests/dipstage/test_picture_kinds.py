"""What a file holds is read as it is meant, or is refused by name: every format, every property."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from dipstage.colours import profile_name, to_srgb
from dipstage.errors import InputError
from dipstage.images import Picture, load_picture

GREY = (np.add.outer(np.arange(48), 2 * np.arange(64)) * 255 // 173).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY[:, ::-1]], axis=-1)
ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = bytes(
    imagecodecs.cms_profile(
        "rgb",
        whitepoint=(0.3127, 0.329),
        primaries=(0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
        gamma=2.2,
    )
)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(pixels: NDArray[Any], *chunks: bytes) -> bytes:
    """Of 8 or 16 bits, with chunks behind the header."""
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    return data[:33] + b"".join(chunks) + data[33:]


def pillow(pixels: NDArray[Any] | Image.Image, format: str, **options: Any) -> bytes:
    """By Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """By tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def deep(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The same picture in 16 bits."""
    return pixels.astype(np.uint16) * 257


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Picture]:
    """Loads bytes as a picture."""

    def load(data: bytes, options: str = "", **settings: Any) -> Picture:
        (tmp_path / "picture").write_bytes(data)
        return load_picture(f"{tmp_path}/picture{options}", **{"multiple": 2, **settings})

    return load


Read = Callable[..., Picture]


def levels(picture: Picture) -> NDArray[np.float64]:
    """(H, W, C) from 0 to 255."""
    return np.asarray(picture.pixels.transpose(1, 2, 0).astype(np.float64) * 255)


# Pages and frames

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


# Bits


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
    packed = np.packbits(
        np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(48, -1), axis=1
    )
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, bits, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    picture = read(data)
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


# Orientation


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


# Colours


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
}


@pytest.mark.parametrize("words", sorted(OTHERS))
def test_other_colours_are_refused_by_name(read: Read, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(OTHERS[words])


def test_depth_that_is_lost_is_noted(read: Read) -> None:
    picture = read(tiff(deep(COLOUR), photometric="rgb", compression="zstd"))
    assert any("read with 8 of its 16 bits" in notice for notice in picture.notices)


# Profiles

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
    assert profile_name(b"") == "a profile without a name"
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


# Transparency


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
    assert " pixels are fully transparent and now show the colour" in notice
    expected = GREY[..., None] if "grey" in kind else COLOUR
    assert "palette" in kind or np.array_equal(np.rint(levels(picture)), expected)


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


# Crop


def test_a_crop_is_noted_with_both_sizes(read: Read) -> None:
    odd = COLOUR[:47, :61]
    assert read(png(COLOUR), multiple=16).notices == ()
    [notice] = read(png(odd), multiple=4).notices
    assert "cropped from 61 × 47 to 60 × 44, multiples of 4" in notice
    assert read(png(odd), multiple=4, size=32).notices == ()


@pytest.mark.parametrize("chunks", [chunk(b"cHRM", bytes(32)), chunk(b"gAMA", bytes(4))])
def test_chunks_that_make_no_sense_are_noted(read: Read, chunks: bytes) -> None:
    picture = read(png(COLOUR, chunks))
    assert picture.digest == read(png(COLOUR)).digest
    assert any("not applied: it cannot be read" in notice for notice in picture.notices)


def test_a_cut_off_second_picture_does_not_spoil_a_jpeg(read: Read) -> None:
    whole = pillow(FRAMES[0], "MPO", save_all=True, append_images=[FRAMES[1]])
    assert read(whole[:-300]).pixels.shape == (3, 48, 64)
