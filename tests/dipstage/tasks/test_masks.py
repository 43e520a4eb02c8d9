"""What a mask is taken for is said, and what is no mask is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.restoration.restoring import planned
from dipstage.tasks.inpaint import Inpaint, MaskedInpaint, read_mask, shrunk
from dipstage.tasks.registry import notices_of, parse_task
from dipstage.terminal.cli import main

PICTURE = np.moveaxis(load_picture("skimage:coffee", size=32, multiple=1).pixels, 0, -1)
MASK = np.full((32, 32), 255, np.uint8)
MASK[4:8] = 0
MISSING = "128 of 1,024 pixels, 12.5%, are missing"
GRADIENT = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
HALF = np.where(MASK == 0, 64, 192).astype(np.uint8)
GREY = MASK.copy()
GREY[0, :3], GREY[1, :3] = 100, 160
RED = np.where(MASK[..., None] == 0, np.array([255, 0, 0]), 255).astype(np.uint8)
TINY = ["--width", "4", "--scales", "1", "--iterations", "3"]
READ: dict[str, tuple[NDArray[Any], str]] = {
    "black and white": (MASK, MISSING),
    "black and white as numbers of 16 bits": (MASK.astype(np.uint16) * 257, MISSING),
    "opaque": (np.dstack([MASK, MASK, MASK, np.full_like(MASK, 255)]), MISSING),
    "black and white with some grey": (
        GREY,
        "131 of 1,024 pixels, 12.8%, are missing; pixels that are neither black nor white (6) "
        "count as missing if darker than middle grey",
    ),
    "painted red": (RED, MISSING + "; pixels that are neither black nor white (128)"),
}
REFUSED: dict[str, tuple[NDArray[Any], str]] = {
    "a gradient": (GRADIENT, "is no mask: "),
    "a photograph": ((PICTURE * 255).astype(np.uint8), "pixels are neither black nor white"),
    "grey": (HALF, "1,024 of its 1,024 pixels are neither black nor white"),
    "a channel of transparency": (
        np.dstack([(PICTURE * 255).astype(np.uint8), MASK]),
        "is transparent in 128 of 1,024 pixels, and so neither black nor white there: fill",
    ),
    "transparent": (
        np.dstack([MASK, MASK, MASK, np.zeros_like(MASK)]), "is transparent in 1,024 of 1,024 pi",
    ),
    "0 and 1": (MASK // 255, "is black everywhere: its values reach 0.4% of their range"),
    "white": (np.full_like(MASK, 255), "mask 'm.png' hides nothing"),
    "black": (np.zeros_like(MASK), "mask 'm.png' hides everything"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dipstage.terminal.plots.save_figure", lambda *_, **__: None)
    Image.fromarray((PICTURE * 255).astype(np.uint8)).save("photo.png")
    return tmp_path


def restored() -> Result:
    words = ["restore", "photo.png", "--task", "inpaint", "--mask", "m.png", *TINY]
    return CliRunner().invoke(main, words)


def run() -> Result:
    words = ["run", "photo.png", "--task", "inpaint:mask=m.png", "--output", "o", *TINY]
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("command", [restored, run])
@pytest.mark.parametrize("kind", READ)
def test_how_a_mask_was_read_is_said(kind: str, command: Any) -> None:
    pixels, words = READ[kind]
    Image.fromarray(pixels).save("m.png")
    result = command()
    assert result.exit_code == 0, result.output
    assert f"notice: m.png: {words}" in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", [restored, run])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mask_is_refused(folder: Path, kind: str, command: Any) -> None:
    pixels, words = REFUSED[kind]
    Image.fromarray(pixels).save("m.png")
    result = command()
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert {path.name for path in folder.iterdir()} == {"photo.png", "m.png"}


def test_grey_pixels_are_known_above_the_middle() -> None:
    Image.fromarray(GREY).save("m.png")
    task = Inpaint(mask="m.png").loaded(None, 1)
    assert isinstance(task, MaskedInpaint)
    assert np.array_equal(task.known, (GREY >= 128).astype(np.float32))


@pytest.mark.parametrize("factor", [3, 20, 30.5, 40])
def test_a_pixel_is_missing_if_any_that_it_replaces_is(factor: float) -> None:
    height, width = (round(factor * side) for side in (16, 20))
    white = np.ones((height, width, 1), np.float32)
    rows, columns = np.arange(2, 14), np.arange(18, 6, -1)
    white[(rows * factor).astype(int), (columns * factor).astype(int)] = 0
    known = shrunk(white, (16, 20))
    assert set(np.unique(known)) == {0, 1}
    assert not known[rows, columns].any()
    Image.fromarray(np.uint8(255 * white[..., 0])).save("m.png")
    task = Inpaint(mask="m.png").loaded(16, 2)
    assert isinstance(task, MaskedInpaint)
    square = white[:, (width - height) // 2 :][:, :height]
    assert np.array_equal(task.known, shrunk(square, (16, 16))[..., 0])
    assert not task.known.all()


def test_a_mask_that_is_made_larger_keeps_what_is_missing() -> None:
    white = np.ones((9, 9, 1), np.float32)
    white[4, 4] = 0
    assert not shrunk(white, (27, 27))[13, 13].any()


def test_what_is_cut_off_a_mask_is_said() -> None:
    Image.fromarray(MASK[:, :28]).save("m.png")
    assert notices_of(Inpaint(mask="m.png").loaded(14, 2))[-1] == (
        "m.png: of 28 × 32 pixels, the centre square is taken"
    )
    assert (
        "cropped from 28 × 32 to 16 × 32" in notices_of(Inpaint(mask="m.png").loaded(None, 16))[-1]
    )


def test_a_mask_without_a_name_is_no_random_one() -> None:
    for text in ("inpaint:mask=", "inpaint:mask", "inpaint:", "inpaint:,", "inpaint:missing= "):
        with pytest.raises(InputError, match="must be KEY=VALUE"):
            parse_task(text)
    with pytest.raises(InputError, match="mask is empty"):
        parse_task('inpaint:mask=""')


def test_pictures_of_scikit_image_are_masks_too() -> None:
    text = load_picture("skimage:text", multiple=1).pixels[0]
    with pytest.raises(InputError, match="is no mask"):
        read_mask("skimage:text")
    assert text.mean() < 0.9


def test_an_array_of_many_values_is_no_mask() -> None:
    picture = PICTURE.astype(np.float32)
    assert planned(picture, task="inpaint", mask=MASK, schedule="baseline").known is not None
    with pytest.raises(InputError, match="the mask has 32 values: make it two, as in mask > 127"):
        planned(picture, task="inpaint", mask=GRADIENT, schedule="baseline")
