"""What dipstage restore refuses before anything is computed."""

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from typed_restorations import CLEAN, NOISY, names, typed

from dipstage.errors import InputError
from dipstage.pictures.photographs import load_photograph
from dipstage.restoration.restoring import Plan, planned
from dipstage.terminal.restored_files import Files
from dipstage.terminal.restoring import _ask

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("first", "second"),
    [("X.png", "x.PNG"), ("x.png", "./x.png"), ("link.png", "x.png"), ("a.png", "b.png"),
     ("\u00e9.png", "e\u0301.png")],
)  # fmt: skip
def test_outputs_that_are_one_file_are_refused(folder: Path, first: str, second: str) -> None:
    Path("link.png").symlink_to("x.png")
    Path("a.png").touch()
    Path("b.png").hardlink_to("a.png")
    before = names(folder)
    for options in (("--output", "--output-raw"), ("--output-raw", "--preview")):
        result = typed("photo.png", options[0], first, options[1], second)
        assert result.exit_code == 2, result.output
        assert f"{options[0]} and {options[1]} are the same file" in result.stderr
    assert names(folder) == before


def test_the_window_of_outputs_counts_in_the_memory_that_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(NOISY.astype(np.float32), schedule="baseline", network={"width": 4, "scales": 2})
    free = int(0.7 * plan.estimated_bytes()) + 1
    monkeypatch.setattr("dipstage.training.memory.free_bytes", lambda device: free)
    before = names(folder)
    result = typed("photo.png", "--schedule", "baseline", "--stop", "wmv")
    assert result.exit_code == 2
    assert "0.1 GB are free on cpu: lower --size or --width" in result.stderr
    assert names(folder) == before
    result = typed("photo.png", "--schedule", "baseline")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["photo.png", "--output", "~coffee.gif"], "--output ~coffee.gif must end in .png"),
        (["no.png"], "photograph 'no.png' does not exist: check the path"),
        (["photo.png", "--sigma", "0"], "sigma must be from 0.001 to 1000, got 0"),
        (["photo.png", "--sigma", "-5"], "sigma must be from 0.001 to 1000, got -5"),
        (["photo.png", "--sigma", "12,5"], "got '12,5': write 12.5"),
        (["photo.png", "--sigma", "much"], "--sigma must be auto or a number in plain digits"),
        (["photo.png", "--task", "inpaint"], "task inpaint needs a mask"),
        (["photo.png", "--task", "inpaint", "--mask", "no.png"], "mask 'no.png' does not exist"),
        (["photo.png", "--task", "inpaint", "--mask", "small.png"], "the mask is 9 × 7 and the"),
        (
            ["photo.png", "--task", "inpaint", "--mask", "white.png"],
            "mask 'white.png' hides nothing",
        ),
        (
            ["photo.png", "--task", "inpaint", "--mask", "black.png"],
            "mask 'black.png' hides everything",
        ),
        (["photo.png", "--mask", "mask.png"], "task denoise takes no mask: choose task inpaint"),
        (["photo.png", "--task", "super_resolve", "--factor", "3"], "factor must be 2 or 4, got 3"),
        (["photo.png", "--task", "super_resolve"], "needs a factor"),
        (["photo.png", "--output", "o.gif"], "--output o.gif must end in .png"),
        (["photo.png", "--output-raw", "o"], "--output-raw o must end in .png"),
        (["photo.png", "--output", "no/o.png"], "/no does not exist"),
        *(
            (["photo.png", option, "x" * 300 + ".png"], f"{option} xxx")
            for option in ("--output", "--output-raw", "--preview")
        ),
        (["photo.png", "--output", "x" * 300 + ".png"], ".png cannot be written: its name is too"),
        (["photo.png", "--output", "link.png"], "no does not exist"),
        (["photo.png", "--preview", "link.png"], "no does not exist"),
        (["photo.png", "--output", "photo.png"], "photo.png would be overwritten"),
        (["photo.png", "--output", "notes.png"], "notes.png exists and is not a PNG"),
        (["photo.png", "--output", "white.png"], "white.png exists and is a PNG that this command"),
        (["photo.png", "--preview", "o.tif"], "o.tif exists and is a TIFF that this command"),
        (["photo.png", "--output-raw", "o.jpg"], "o.jpg exists and is a JPEG that this command"),
        (["photo.png", "--output", "o.png", "--preview", "o.png"], "are the same file, o.png"),
        (["photo.png", "--size", "0"], "size must be from 1 to the longer side"),
        (["photo.png", "--schedule", "log11"], "unknown schedule 'log11'"),
        (["photo.png", "--device", "tpu"], "--device 'tpu' cannot be used"),
        (["photo.png", "--truth", "small.png"], "--truth is 9 × 7 in grey: it must be "),
        (
            ["photo.png", "--compare", "--task", "super_resolve", "--factor", "2"],
            "--compare is only for --task denoise",
        ),
        ([""], "the argument after 'restore' is empty"),
        (["photo.png", "--output", ""], "--output is empty"),
        (["photo.png", "--mask", ""], "--mask is empty"),
        (["file:///photo.png"], "leave file:// out"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_a_bad_request_gets_one_sentence_and_writes_nothing(
    folder: Path, arguments: list[str], words: str
) -> None:
    shape = CLEAN.shape[:2]
    for name, values in (
        ("small.png", np.eye(7, 9, dtype=np.uint8) * 255),
        ("white.png", np.full(shape, 255, np.uint8)),
        ("black.png", np.zeros(shape, np.uint8)),
    ):
        Path(name).write_bytes(imagecodecs.png_encode(values))
    Path("notes.png").write_text("no picture")
    for name in ("o.jpg", "o.tif"):
        Image.fromarray(np.zeros(shape, np.uint8)).save(name)
    Path("link.png").symlink_to("no/o.png")
    before = names(folder)
    result = typed(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("dipstage: ")
    assert names(folder) == before


def test_a_format_must_hold_the_sides_of_the_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dipstage.pictures.photographs._LONGEST", {"WEBP": 30})
    twice = ("--task", "super_resolve", "--factor", "2", "--output", "o.webp")
    for options in (("--output", "o.webp"), (*twice, "--size", "20")):
        refused = typed("photo.png", *options)
        assert refused.exit_code == 2
        assert "--output o.webp can have sides of at most 30 pixels" in refused.stderr
    assert not names(folder)
    accepted = typed("photo.png", "--output", "o.webp", "--size", "30")
    assert accepted.exit_code == 0, accepted.output


@pytest.mark.parametrize("closed", ["folder", "file"])
def test_an_earlier_output_can_be_replaced_only_where_files_can_be_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    assert typed("photo.png", "--output", "o.png").exit_code == 0
    shut = folder if closed == "folder" else folder / "o.png"
    monkeypatch.setattr(
        "os.access", lambda path, mode: mode == os.R_OK or Path(path).resolve() != shut
    )
    refused = typed("photo.png", "--output", "o.png")
    assert refused.exit_code == 2
    assert "--output o.png cannot be written: choose another folder" in refused.stderr


def test_a_pipe_needs_no_folder_to_make_files_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo("pipe.png")
    monkeypatch.setattr("os.access", lambda path, _: Path(path).resolve() != folder)
    photo = load_photograph("photo.png")
    checked = Files.checked(photo, 1, Path("pipe.png"), None, None, compare=False)
    assert checked.output == Path("pipe.png")


class Terminal:
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


def test_where_memory_runs_out_it_is_said_what_to_lower(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Plan, "run", run)
    said = {runs: typed("photo.png", "--runs", runs, "--yes").stderr for runs in ("1", "2")}
    assert "memory ran out on cpu: lower --size or --width\n" in said["1"]
    assert "memory ran out on cpu: lower --size, --width or --runs\n" in said["2"]


def test_long_work_is_confirmed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "estimated_s", lambda *_: 720.0)
    refused = typed("photo.png")
    assert refused.exit_code == 2
    assert "this takes up to 12 min 00 s: lower --size or --iterations, or confirm it by --yes" in (
        refused.stderr
    )
    assert not names(folder)
    assert typed("photo.png", "--yes").exit_code == 0
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    with pytest.raises(InputError, match="nothing was done"):
        _ask(720)


@pytest.mark.parametrize(
    ("given", "raised"), [(EOFError, InputError), (KeyboardInterrupt, KeyboardInterrupt)]
)
def test_ctrl_d_is_taken_for_no_where_long_work_is_to_be_confirmed(
    monkeypatch: pytest.MonkeyPatch, given: type[BaseException], raised: type[BaseException]
) -> None:
    """Neither ends with click's own word, which says nothing and exits with 1."""

    def answer(prompt: str) -> str:
        raise given

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("click.termui.visible_prompt_func", answer)
    with pytest.raises(raised) as caught:
        _ask(720)
    assert given is KeyboardInterrupt or "nothing was done: lower --size" in str(caught.value)


def test_a_photograph_with_a_long_name_needs_a_shorter_output(folder: Path) -> None:
    Path("photo.png").rename("x" * 250 + ".png")
    result = typed("x" * 250 + ".png", "--sigma", "25")
    assert result.exit_code == 2
    assert "-restored.png cannot be written: its name is too long" in result.stderr
