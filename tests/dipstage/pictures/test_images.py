"""Every kind of picture file that is promised, and every refusal."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from written_pictures import save_png

from dipstage.errors import InputError
from dipstage.pictures.images import SKIMAGE_PICTURES, expand, load_picture, resized

RAMP8 = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
RAMP16 = (np.arange(64 * 64 * 3, dtype=np.uint32) * 5).reshape(64, 64, 3).astype(np.uint16)


DIGESTS = {
    "astronaut": "f0102496e786499d",
    "brick": "4f1e64cebad4a69d",
    "camera": "7d8e665140a73ef4",
    "chelsea": "e9bc39cc08e84170",
    "coffee": "5370a4b73440e04d",
    "coins": "77323df0e518ac62",
    "grass": "b2a564a0dedebbb4",
    "gravel": "cdd4d38f8e4de825",
    "hubble": "c559bd22601fa892",
    "ihc": "13ecb39691a18987",
    "moon": "3b8fc0a37cf70107",
    "motorcycle": "81b456eda68aa641",
    "page": "c540535ebca82277",
    "retina": "c05b8ff5fcdf0206",
    "rocket": "f3431e71c16a58b2",
    "text": "f3b39f2e9031eb4b",
}
"""Of scikit-image's pictures at 64 × 64. Runs that are resumed and compared depend on them."""


def write(path: Path, pixels: NDArray[np.generic]) -> None:
    """Lossless, by the ending."""
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path, lossless=True)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_and_tiff_are_read_exactly(
    tmp_path: Path, suffix: str, depth: int, channels: int
) -> None:
    ramp = RAMP8 if depth == 8 else RAMP16
    pixels = {1: ramp[..., 0], 3: ramp, 4: np.concatenate([ramp, ramp[..., :1]], axis=2)}[channels]
    write(tmp_path / f"a{suffix}", pixels)
    picture = load_picture(str(tmp_path / f"a{suffix}"), multiple=16)
    expected = ramp[..., :1] if channels == 1 else ramp
    back = np.rint(picture.pixels.transpose(1, 2, 0) * (2**depth - 1)).astype(np.uint32)
    assert np.array_equal(back, expected)
    assert picture.pixels.dtype == np.float32
    assert bool(picture.notices) == (channels == 4)
    assert all("transparency dropped" in notice for notice in picture.notices)


def test_webp_is_read_exactly_and_jpeg_nearly(tmp_path: Path) -> None:
    write(tmp_path / "a.webp", RAMP8)
    back = load_picture(str(tmp_path / "a.webp"), multiple=16).pixels.transpose(1, 2, 0)
    assert np.array_equal(np.rint(back * 255).astype(np.uint8), RAMP8)
    smooth = np.full((64, 64, 3), 90, np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    picture = load_picture(str(tmp_path / "a.jpg"), multiple=16)
    assert picture.pixels == pytest.approx(90 / 255, abs=0.01)


def test_a_palette_is_resolved(tmp_path: Path) -> None:
    Image.fromarray(RAMP8).quantize(16).save(tmp_path / "p.png")
    assert load_picture(str(tmp_path / "p.png"), multiple=16).pixels.shape == (3, 64, 64)


def test_compressed_and_planar_tiff_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "lzw.tif", RAMP16, compression="lzw")
    tifffile.imwrite(
        tmp_path / "planar.tif",
        RAMP8.transpose(2, 0, 1),
        planarconfig="separate",
        photometric="rgb",
    )
    for name, pixels, top in (("lzw", RAMP16, 65535), ("planar", RAMP8, 255)):
        back = load_picture(str(tmp_path / f"{name}.tif"), multiple=16).pixels.transpose(1, 2, 0)
        assert np.array_equal(np.rint(back * top).astype(np.uint32), pixels)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(SKIMAGE_PICTURES))
def test_every_picture_of_scikit_image_loads_without_a_download(name: str) -> None:
    picture = load_picture(f"skimage:{name}", size=64, multiple=16)
    assert picture.pixels.shape in ((1, 64, 64), (3, 64, 64))
    assert picture.pixels.std() > 0.01
    assert picture.label == name
    assert picture.notices == ()


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(SKIMAGE_PICTURES))
def test_the_pixels_of_scikit_image_are_taken_as_they_are(name: str) -> None:
    """Rocket and page too, whose files have other colour profiles than sRGB."""
    import skimage
    from skimage.io import imread

    assert load_picture(f"skimage:{name}", size=64).digest.startswith(DIGESTS[name])
    stored = imread(Path(skimage.__file__).parent / "data" / SKIMAGE_PICTURES[name])
    picture = load_picture(f"skimage:{name}", multiple=1).pixels.transpose(1, 2, 0)
    assert np.array_equal(np.rint(picture * 255).squeeze(), stored)


def test_tiff_colours_are_not_taken_for_others(tmp_path: Path) -> None:
    """Palette, CMYK and white-is-zero TIFF look like the PNG of the same picture."""
    picture = Image.fromarray(RAMP8 // 8 * 8)
    picture.save(tmp_path / "rgb.png")
    expected = load_picture(str(tmp_path / "rgb.png"), multiple=16).pixels
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    cmyk = load_picture(str(tmp_path / "cmyk.tif"), multiple=16)
    assert cmyk.pixels == pytest.approx(expected, abs=0.02)
    assert "without a profile" in cmyk.notices[0]
    grey = Image.fromarray(RAMP8[..., 0] // 16)
    grey.putpalette([value for k in range(256) for value in (k, 255 - k, k // 2)])
    grey.save(tmp_path / "palette.tif")
    palette = load_picture(str(tmp_path / "palette.tif"), multiple=16).pixels
    assert palette.shape == (3, 64, 64)
    assert palette[1] == pytest.approx(1 - palette[0], abs=0.01)
    tifffile.imwrite(tmp_path / "white.tif", 255 - RAMP8[..., 0], photometric="miniswhite")
    white = load_picture(str(tmp_path / "white.tif"), multiple=16).pixels
    assert np.array_equal(np.rint(white[0] * 255).astype(np.uint8), RAMP8[..., 0])


def test_without_a_size_the_centre_is_cropped_to_the_multiple(tmp_path: Path) -> None:
    write(tmp_path / "a.png", RAMP8[:50, :45])
    picture = load_picture(str(tmp_path / "a.png"), multiple=16)
    assert picture.pixels.shape == (3, 48, 32)
    back = np.rint(picture.pixels.transpose(1, 2, 0) * 255).astype(np.uint8)
    assert np.array_equal(back, RAMP8[1:49, 6:38])


@pytest.mark.parametrize("turned", [False, True])
def test_a_row_of_pixels_is_shrunk_without_aliases(turned: bool) -> None:
    stripes = np.tile(np.array([0, 1], np.float32), 450)[None, :, None]
    pixels = stripes.swapaxes(0, 1) if turned else stripes
    small = resized(pixels, (100, 1) if turned else (1, 100))
    assert small == pytest.approx(np.full(small.shape, 0.5), abs=0.05)


def test_with_a_size_a_square_centre_is_resized(tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 32:96] = 200
    write(tmp_path / "a.png", pixels)
    picture = load_picture(str(tmp_path / "a.png"), size=32, multiple=16)
    assert picture.pixels == pytest.approx(200 / 255)


def test_the_digest_is_of_the_content_and_not_of_the_name(tmp_path: Path) -> None:
    write(tmp_path / "a.png", RAMP8)
    write(tmp_path / "b.tif", RAMP8)
    write(tmp_path / "c.png", RAMP8[::-1])
    a, b, c = (
        load_picture(str(tmp_path / n), multiple=16).digest for n in ("a.png", "b.tif", "c.png")
    )
    assert a == b != c


def test_globs_expand_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.tif"):
        write(tmp_path / name, RAMP8)
    assert expand(["skimage:moon", f"{tmp_path}/*.png"]) == [
        "skimage:moon",
        f"{tmp_path}/a.png",
        f"{tmp_path}/b.png",
    ]
    with pytest.raises(InputError, match=r"is a folder: name its pictures, as in '.*/\*\.png'"):
        expand([str(tmp_path)])
    with pytest.raises(InputError, match=r"cannot be read: it is a folder, name a file in it"):
        load_picture(tmp_path)
    with pytest.raises(InputError, match=r"no picture matches '.*\.webp'"):
        expand([f"{tmp_path}/*.webp"])


def test_refusals_name_the_picture_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    whole = imagecodecs.png_encode(RAMP8)
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.tif").write_bytes(b"II*\0abc")
    write(tmp_path / "tiny.png", RAMP8[:20, :20])
    tifffile.imwrite(tmp_path / "float.tif", RAMP8.astype(np.float32), photometric="rgb")
    cases = {
        "none.png": "does not exist",
        "text.png": "is not a PNG, JPEG, TIFF or WebP picture",
        "cut.png": "is damaged",
        "cut.tif": "is damaged",
        "tiny.png": "is 20 × 20, smaller than the network's multiple 32",
        "float.tif": "pixels of type float32",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            load_picture(str(tmp_path / name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="unknown picture 'skimage:lena': scikit-image has"):
        load_picture("skimage:lena")
    with pytest.raises(InputError, match="would be 8 × 8: SSIM needs sides of at least 11"):
        load_picture("skimage:camera", size=8, multiple=8)
    with pytest.raises(InputError, match="size must be a multiple of 32"):
        load_picture("skimage:camera", size=50)
    with pytest.raises(InputError, match="smaller than size 1024"):
        load_picture("skimage:camera", size=1024)
    with pytest.raises(InputError, match="cannot be read"):
        load_picture(str(tmp_path))


def test_a_picture_with_too_many_pixels_is_refused_before_decoding(tmp_path: Path) -> None:
    header = imagecodecs.png_encode(np.zeros((4, 4, 3), np.uint8))
    wide = bytearray(header)
    wide[16:24] = (200_000).to_bytes(4, "big") * 2
    import zlib

    wide[29:33] = zlib.crc32(bytes(wide[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(wide)
    with pytest.raises(InputError, match="more than 100,000,000 pixels"):
        load_picture(str(tmp_path / "bomb.png"))


@pytest.mark.parametrize("channels", [1, 3])
def test_saved_pictures_read_back(tmp_path: Path, channels: int) -> None:
    pixels = np.linspace(-0.1, 1.1, channels * 32 * 32, dtype=np.float32).reshape(channels, 32, 32)
    save_png(tmp_path / "o.png", pixels)
    back = load_picture(str(tmp_path / "o.png"), multiple=32).pixels
    assert back == pytest.approx(np.clip(pixels, 0, 1), abs=0.5 / 255 + 1e-6)
