"""`dipstage check` and `dipstage schedules`."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_commands import dipstage

from dipstage.pictures.images import load_picture


def test_a_former_name_is_read_with_one_notice(tmp_path: Path) -> None:
    old = dipstage("schedules", "log10:heaviest=0.5", "--json")
    new = dipstage("schedules", "log10:max_level=0.5", "--json")
    assert json.loads(old.stdout)["stages"] == json.loads(new.stdout)["stages"]
    assert old.stderr == (
        "notice: the parameter heaviest of preset log10 is now called max_level\n"
    )
    assert new.stderr == ""


def test_check_says_once_that_a_size_is_wrong() -> None:
    result = dipstage("check", "skimage:moon", "skimage:page", "--size", "48")
    assert result.exit_code == 2
    assert result.stderr == (
        "dipstage: size must be a multiple of 32 (2 ** scales) and above 0, got 48\n"
    )


def test_check_shows_what_pictures_are_taken_for(tmp_path: Path) -> None:
    pixels = np.arange(70 * 93, dtype=np.uint16).reshape(70, 93) % 4096
    tifffile.imwrite(tmp_path / "a.tif", np.stack([pixels, pixels]), photometric="minisblack")
    name = f"{tmp_path}/a.tif#page=2#bits=12"
    shown = dipstage("check", name, "skimage:moon", "--scales", "2")
    assert shown.exit_code == 0
    picture = load_picture(name, multiple=4)
    for words in (
        "TIFF, 93 × 70, page 2 of 2", "grey, 12 bits, from 0 to 4095", "none, taken as sRGB",
        "92 × 68, channels: 1", picture.digest, "cropped from 93 × 70 to 92 × 68", "skimage:moon",
    ):  # fmt: skip
        assert words in shown.stdout
    [one, moon] = json.loads(
        dipstage("check", name, "skimage:moon", "--size", "32", "--json").stdout
    )
    assert (one["bits"], one["highest"], one["pages"], one["used_width"]) == (12, 4095, 2, 32)
    assert moon["digest"] == load_picture("skimage:moon", size=32).digest


def test_check_says_why_a_picture_is_refused_and_shows_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    result = dipstage("check", str(tmp_path / "bad.png"), "skimage:moon", f"{tmp_path}/*.gif")
    assert result.exit_code == 2
    assert "skimage:moon" in result.stdout
    first, second = result.stderr.splitlines()
    assert "is not a PNG, JPEG, TIFF or WebP picture" in first
    assert "no picture matches" in second


def test_schedules_lists_presets_and_draws_one() -> None:
    listed = dipstage("schedules")
    assert all(name in listed.output for name in ("baseline", "uniform", "sharp-linear", "log10"))
    drawn = dipstage("schedules", "log10", "--iterations", "100")
    assert "ramp 32 of 100" in drawn.output
    assert "█" in drawn.output
    stages = json.loads(dipstage("schedules", "log10", "--iterations", "100", "--json").stdout)
    assert [stage["start"] for stage in stages["stages"]] == [0, 1, 4, 32]


@pytest.mark.usefixtures("published")
def test_published_schedules_are_shown_for_a_size() -> None:
    result = dipstage("schedules", "fast", "--size", "70", "--iterations", "40")
    assert result.exit_code == 0, result.output
    assert "fast: denoise-sigma25-64-fast (trial 12 of a-search)" in result.output
    shown = json.loads(dipstage("schedules", "fast", "--size", "64", "--json").stdout)
    assert [stage["iterations"] for stage in shown["stages"]] == [10, 20]
    noisier = json.loads(
        dipstage("schedules", "fast", "--size", "16", "--sigma", "30", "--json").stdout
    )
    assert noisier["stages"][0]["alpha_bar"] == pytest.approx(0.2 / (0.2 + 1.44 * 0.8))
    result = dipstage("schedules", "fast")
    assert result.exit_code == 2
    assert "fast is chosen by the size of the picture: give --size" in result.stderr


def test_a_pattern_is_like_the_list_of_its_files(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    shown = np.arange(4096, dtype=np.uint8).reshape(64, 64)
    tifffile.imwrite(tmp_path / "b.tif", shown)
    pattern = dipstage("check", f"{tmp_path}/*")
    listed = dipstage("check", *(str(tmp_path / name) for name in ("a.png", "b.tif", "c.png")))
    assert pattern.exit_code == listed.exit_code == 2
    assert (pattern.stdout, pattern.stderr) == (listed.stdout, listed.stderr)
    assert pattern.stderr.count("is not a PNG") == 2
    slash = dipstage("check", f"{tmp_path}/b.tif/")
    assert slash.exit_code == 2
    assert "ends as a folder does, and is a file: leave the slash out" in slash.stderr
    page = dipstage("check", f"{tmp_path}/b.tif#page=99999999999999999999")
    assert "#page must be at most 999,999" in page.stderr


def test_a_library_says_nothing_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="webp")
    result = dipstage("check", f"{tmp_path}/a.tif")
    assert result.exit_code == 2
    assert "is damaged or of a kind that is not read" in result.stderr
    assert capfd.readouterr().err == ""
