"""The folder of `dipstage run`: what is written, replaced and left alone."""

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from small_commands import SMALL, curves, dipstage

from dipstage.errors import InputError
from dipstage.terminal.run_files import output_folder


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_results_are_never_overwritten_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for schedule in ("log10:max_level=0.5", "log10:max_level=0.5", "log10:max_level=0.7"):
        assert dipstage("run", "skimage:camera", "--schedule", schedule, *SMALL).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "camera-log10-max_level0.5-seed0",
        "camera-log10-max_level0.5-seed0-2",
        "camera-log10-max_level0.7-seed0",
    ]


def test_runs_that_begin_at_the_same_time_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mkdir = Path.mkdir

    def second(path: Path, *arguments: Any, **options: Any) -> None:
        os.makedirs("out/camera-baseline-seed0", exist_ok=True)
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", second)
    folder = output_folder(None, "camera", "baseline", 0, [], snapshots=False)
    assert folder == Path("out/camera-baseline-seed0-2")
    assert folder.is_dir()


@pytest.mark.long
@pytest.mark.parametrize("every", [1, 7, 30])
def test_snapshots_keep_the_outputs_of_this_run(tmp_path: Path, every: int) -> None:
    kept = tmp_path / "o" / "snapshots"
    kept.mkdir(parents=True)
    (kept / "raw-0000999.png").write_bytes(b"")
    (kept / "mine.png").write_bytes(b"")
    plain = curves(tmp_path)
    assert curves(tmp_path, "--snapshots", str(every)) == plain
    numbers = range(every, 31, every)
    assert {path.name for path in kept.iterdir()} == {"mine.png"} | {
        f"{name}-{number:07d}.png" for name in ("raw", "smoothed") for number in numbers
    }


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("curves.csv", b"name: mine"),
        ("curves.csv", b"day,iteration,loss\n1,2,3\n"),
        ("best_raw.png", b"GIF89a"),
        ("observation.png", b"\x89PNG\r\n\x1a\nmine"),
        ("curves.png", None),
    ],
)
def test_files_of_others_in_the_folder_are_kept(
    tmp_path: Path, name: str, holds: bytes | None
) -> None:
    path = tmp_path / name
    path.mkdir() if holds is None else path.write_bytes(holds)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path))
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert holds is None or path.read_bytes() == holds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "the argument after 'run' is empty"),
        (["http://example.com/a.png?x=1"], "does not exist: download it"),
        (["skimage:camera", "--schedule", ""], "--schedule is empty: give a value"),
        (["skimage:camera", "--example", ""], "--example is empty: give a value"),
        (["skimage:camera", "--output", "/dev/null"], "--output /dev/null is no folder"),
        (["skimage:camera", "--output", "/dev/null/x"], "--output /dev/null/x is no folder"),
        (["no.png", "--output", "~coffee"], "picture 'no.png' does not exist"),
        (["skimage:camera", "--output", __file__], "is no folder: name one"),
        (["skimage:camera", "--seed", str(2**63)], "--seed must be at most 9,223,372"),
        (["skimage:camera", "--task", "inpaint:mask=no.png"], "'no.png' does not exist"),
        (["skimage:camera", "--task", "inpaint:mask=skimage:brick"], "is no mask: "),
        (["skimage:camera", "--task", "inpaint:missing=0.999999"], "leaves no pixel of 32 × 32"),
        (["skimage:camera", "--task", "inpaint:missing=0_8"], "write a number in plain digits"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_request_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dipstage("run", *arguments, *SMALL)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("undrawn")
def test_an_earlier_run_is_replaced_but_not_its_pictures_that_are_trained_on(
    tmp_path: Path,
) -> None:
    line = ["--snapshots", "10", "--output", str(tmp_path)]
    for _ in range(2):
        assert dipstage("run", "skimage:camera", *SMALL, *line).exit_code == 0
    hidden = np.full_like(imagecodecs.png_decode((tmp_path / "best_raw.png").read_bytes()), 255)
    hidden[:8] = 0
    (tmp_path / "best_raw.png").write_bytes(imagecodecs.png_encode(hidden))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    mask = f"inpaint:mask={tmp_path / 'best_raw.png'}"
    for given in (
        [str(tmp_path / "observation.png")],
        [str(tmp_path / "snapshots" / "raw-0000010.png")],
        ["skimage:camera", "--task", mask],
    ):
        result = dipstage("run", *given, *SMALL, *line)
        assert result.exit_code == 2
        assert "would be overwritten" in result.stderr
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_snapshots_removes_those_of_an_earlier_one(tmp_path: Path) -> None:
    output, kept = ["--output", str(tmp_path)], tmp_path / "snapshots"
    line = ["run", "skimage:camera", *SMALL, *output]
    assert dipstage(*line, "--snapshots", "15").exit_code == 0
    assert len(list(kept.iterdir())) == 4
    result = dipstage("run", str(kept / "raw-0000015.png"), *SMALL, *output)
    assert "would be overwritten" in result.stderr
    assert len(list(kept.iterdir())) == 4
    assert dipstage(*line).exit_code == 0
    assert not kept.exists()
    kept.mkdir()
    (kept / "mine.png").write_bytes(b"")
    assert dipstage(*line).exit_code == 0
    assert [path.name for path in kept.iterdir()] == ["mine.png"]


@pytest.mark.parametrize("name", ["ground_truth.png", "observation.png", "best_raw.png"])
def test_the_picture_that_is_trained_on_is_not_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(imagecodecs.png_encode(np.full((64, 64), 99, np.uint8)))
    content = path.read_bytes()
    result = dipstage("run", str(path), *SMALL, "--output", str(tmp_path))
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr
    assert path.read_bytes() == content


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_fails_the_work_and_leaves_whole_files_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["run", "skimage:camera", *SMALL, "--output", str(tmp_path)]
    assert dipstage(*line).exit_code == 0

    def full(path: Path, content: bytes | str, *, own: bool = False) -> None:
        if path.name == fails_at:
            raise InputError(f"{path} cannot be written: No space left on device")
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    monkeypatch.setattr("dipstage.documents.whole_files.write_asked", full)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fails_at = "curves.csv"
    result = dipstage(*line)
    assert result.exit_code == 1
    assert f"No space left on device; nothing is kept of this training, and {tmp_path} is as" in (
        result.stderr
    )
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fails_at = "observation.png"
    result = dipstage(*line)
    assert result.exit_code == 1
    assert "holds curves.csv, ground_truth.png of this training: make room" in result.stderr
    assert "the files of an earlier run" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"curves.csv", "ground_truth.png"}
