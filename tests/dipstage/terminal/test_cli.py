"""dipstage as a person types it."""

import functools
import json
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from subprocess import run as run_process

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner, Result
from published_schedules import publish

from dipstage.documents.schedule_file import (
    Measure,
    Measured,
    OutputMeasures,
    ScheduleFile,
    save_schedule,
)
from dipstage.images import load_picture
from dipstage.interrupts import deferred
from dipstage.presets import parse_preset
from dipstage.randomness import Streams
from dipstage.recipe import Recipe
from dipstage.settings import TrainerSettings
from dipstage.terminal.cli import main
from dipstage.terminal.run_files import FILES
from dipstage.trainer import fit, observe

SMALL = ["--size", "32", "--width", "4", "--scales", "2", "--iterations", "30"]


def dipstage(*arguments: str) -> Result:
    """In this process; stderr apart."""
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.long
def test_run_writes_curves_pictures_and_plot_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        result = dipstage(
            "run",
            "skimage:chelsea",
            "--schedule",
            "log10",
            *SMALL,
            "--output",
            str(tmp_path / name),
        )
        assert result.exit_code == 0, result.output
        assert "max PSNR_GT (dB)" in result.output
        assert "smoothed" in result.output
    files = {
        "curves.csv",
        "curves.png",
        "ground_truth.png",
        "observation.png",
        "best_raw.png",
        "best_smoothed.png",
    }
    assert {path.name for path in (tmp_path / "a").iterdir()} == files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    header, *rows = (tmp_path / "a" / "curves.csv").read_text().splitlines()
    assert header.startswith("iteration,stage,loss,psnr_raw_db")
    assert len(rows) == 30
    truth = load_picture(str(tmp_path / "a" / "ground_truth.png"), multiple=4)
    expected = load_picture("skimage:chelsea", size=32, multiple=4)
    assert truth.pixels == pytest.approx(expected.pixels, abs=0.51 / 255)


def curves(tmp_path: Path, *options: str) -> str:
    """curves.csv of a small run with these options."""
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"), *options)
    assert result.exit_code == 0, result.output
    return (tmp_path / "o" / "curves.csv").read_text()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the plot, which takes longer than a small run."""
    monkeypatch.setattr("dipstage.terminal.plots.save_figure", lambda *_, **__: None)


@functools.cache
def plain_curves() -> str:
    """curves.csv of a small run without further options."""
    with tempfile.TemporaryDirectory() as folder:
        return curves(Path(folder))


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "options",
    [
        ("--sigma", "50"),
        ("--seed", "1"),
        ("--learning-rate", "0.001"),
        ("--width", "5"),
        ("--scales", "3"),
        ("--schedule", "uniform"),
        ("--iterations", "31"),
        ("--size", "48"),
    ],
    ids=lambda options: options[0],
)
def test_every_option_has_an_effect(tmp_path: Path, options: tuple[str, str]) -> None:
    assert curves(tmp_path, *options) != plain_curves()


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_oracle_stop_and_patience_end_a_run_early(tmp_path: Path) -> None:
    rows = curves(
        tmp_path,
        "--iterations",
        "400",
        "--learning-rate",
        "0.05",
        "--oracle-stop",
        "raw",
        "--patience",
        "10",
    ).splitlines()
    assert len(rows) < 300


@pytest.mark.usefixtures("undrawn")
def test_a_schedule_file_brings_its_budget_and_is_rescaled_to_another(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    save_schedule(path, ScheduleFile(parse_preset("log10").schedule(40)))
    small = [option for option in SMALL if option not in ("--iterations", "30")]
    result = dipstage(
        "run", "skimage:camera", "--schedule", str(path), *small, "--output", str(tmp_path / "o")
    )
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "o" / "curves.csv").read_text().splitlines()) == 41
    shown = dipstage("schedules", str(path), "--iterations", "400", "--json")
    assert json.loads(shown.stdout)["iterations"] == 400


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_schedule_file_s_recipe_gives_way_to_options(tmp_path: Path) -> None:
    recipe = Recipe(learning_rate=0.02, ramp_learning_rate=0.05, ema_restart="stage")
    path = tmp_path / "s.yaml"
    schedule = replace(parse_preset("log10").schedule(30), recipe=recipe)
    save_schedule(path, ScheduleFile(schedule))

    def curves_of(name: str, *options: str) -> str:
        folder = tmp_path / "".join(options) / Path(name).stem
        result = dipstage(
            "run", "skimage:camera", "--schedule", name, *SMALL, "--output", str(folder), *options
        )
        assert result.exit_code == 0, result.output
        return (folder / "curves.csv").read_text()

    by_file = curves_of(str(path))
    for options in (["--learning-rate", "0.02"], ["--ema-restart", "never"]):
        assert curves_of(str(path), *options) != by_file
    all_given = curves_of(str(path), "--learning-rate", "0.01", "--ema-restart", "never")
    assert all_given == curves_of("log10")


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_schedule_file_brings_the_trainer_it_was_measured_with(tmp_path: Path) -> None:
    settings = TrainerSettings(
        iterations=40, width=4, scales=2, learning_rate=0.02, ema=0.9, patience=7
    )
    measure = OutputMeasures(Measure(1.0, 1), Measure(1.0, 1), Measure(1.0, 1), Measure(1.0, 1), 0)
    measured = Measured(["a.png"], 50.0, [0], settings, "raw", measure, measure)
    path = tmp_path / "s.yaml"
    schedule = parse_preset("log10").schedule(40)
    save_schedule(path, ScheduleFile(schedule, measured=measured))

    def curves_of(name: str, *options: str) -> str:
        folder = tmp_path / name
        result = dipstage(
            "run", "skimage:camera", "--size", "32", "--schedule", str(path),
            "--output", str(folder), *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "width 4, scales 2" in result.output
        return (folder / "curves.csv").read_text()

    picture = load_picture("skimage:camera", size=32, multiple=4)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    torch.set_num_threads(1)
    alone = fit(observe(truth, 50, streams), truth, schedule, settings, streams)
    assert curves_of("file") == alone.trace.csv()
    assert curves_of("told", "--learning-rate", "0.01") != alone.trace.csv()
    assert curves_of("told", "--sigma", "25") != alone.trace.csv()


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


def test_a_former_name_is_read_with_one_notice(tmp_path: Path) -> None:
    old = dipstage("schedules", "log10:heaviest=0.5", "--json")
    new = dipstage("schedules", "log10:max_level=0.5", "--json")
    assert json.loads(old.stdout)["stages"] == json.loads(new.stdout)["stages"]
    assert old.stderr == (
        "notice: the parameter heaviest of preset log10 is now called max_level\n"
    )
    assert new.stderr == ""


def test_ctrl_c_exits_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dipstage.trainer.fit", interrupt)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from dipstage.trainer import _Run

    aim, titles = _Run._aim, []

    def interrupted_aim(self: _Run) -> None:
        if self.launched == 13:
            os.kill(os.getpid(), number)
        aim(self)

    monkeypatch.setattr(_Run, "_aim", interrupted_aim)
    monkeypatch.setattr(
        "matplotlib.axes.Axes.set_title", lambda self, title, **rest: titles.append(title)
    )
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert "interrupted after 14 of 30" in result.stdout
    assert titles[0].endswith("(interrupted after 14 iterations)")
    assert len((tmp_path / "o" / "curves.csv").read_text().splitlines()) == 1 + 14
    assert {path.name for path in (tmp_path / "o").iterdir()} == set(FILES)
    monkeypatch.undo()
    assert curves(tmp_path).startswith((tmp_path / "o" / "curves.csv").read_text()[:200])


def test_a_second_interrupt_ends_at_once() -> None:
    with deferred() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.long
@pytest.mark.parametrize("every", [1, 7, 10, 31])
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


@pytest.mark.parametrize("width", [16, 128, 4096])
def test_a_training_that_cannot_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("dipstage.memory.free_bytes", lambda device: 150_000_000)
    options = ["--width", str(width), "--size", "256", "--output", str(tmp_path / "o")]
    result = dipstage("run", "skimage:camera", *options)
    assert result.exit_code == 2
    assert "0.1 GB are free on cpu: lower --size or --width" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("MPS backend out of memory"),
    ],
    ids=str,
)
def test_memory_that_runs_out_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("dipstage.trainer.fit", fail)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 1
    assert result.stderr.endswith(": memory ran out on cpu: lower --size or --width\n")


@pytest.mark.long
def test_free_memory_is_at_most_the_limit_of_the_process() -> None:
    """In a process of its own, which keeps the limit."""
    program = """
import resource
from dipstage.memory import free_bytes
free = free_bytes("cpu")
resource.setrlimit(resource.RLIMIT_AS, (5 * 10**9,) * 2)
assert free_bytes("cpu") < min(5 * 10**9, free + 10**9)
"""
    run_process([sys.executable, "-c", program], check=True)


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
        ([""], "a picture has no name: give that of a file"),
        (["http://example.com/a.png?x=1"], "does not exist: download it"),
        (["skimage:camera", "--schedule", ""], "unknown preset '': choose one of"),
        (["skimage:camera", "--output", "/dev/null"], "--output /dev/null is no folder"),
        (["skimage:camera", "--output", "/dev/null/x"], "--output /dev/null/x is no folder"),
        (["skimage:camera", "--output", __file__], "is no folder: name one"),
        (["skimage:camera", "--seed", str(2**63)], "is not in the range"),
        (["skimage:camera", "--task", "inpaint:mask=no.png"], "'no.png' does not exist"),
        (["skimage:camera", "--task", "inpaint:mask=skimage:brick"], "the mask hides everything"),
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


@pytest.mark.parametrize("name", ["ground_truth.png", "observation.png", "best_raw.png"])
def test_the_picture_that_is_trained_on_is_not_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(imagecodecs.png_encode(np.full((64, 64), 99, np.uint8)))
    content = path.read_bytes()
    result = dipstage("run", str(path), *SMALL, "--output", str(tmp_path))
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr
    assert path.read_bytes() == content


@pytest.mark.usefixtures("undrawn")
def test_transparency_is_dropped_with_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "alpha.png"
    path.write_bytes(imagecodecs.png_encode(np.full((32, 32, 4), 99, np.uint8)))
    result = dipstage("run", str(path), *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 0
    assert "transparency dropped" in result.output


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


def test_a_diverged_run_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.functional.mse_loss", lambda x, y: (x - y).mean() * torch.nan)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "no longer finite" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.png"], "picture 'none.png' does not exist"),
        (["run", "skimage:lena"], "unknown picture 'skimage:lena'"),
        (["run", "skimage:camera", "--schedule", "log11"], "unknown preset 'log11'"),
        (["run", "skimage:camera", "--schedule", "none.yaml"], "none.yaml does not exist"),
        (["run", "skimage:camera", "--schedule", "uniform:stages=0"], "stages must be"),
        (["run", "skimage:camera", "--iterations", "0"], "iterations must be at least 1, got 0"),
        (
            ["run", "skimage:camera", "--schedule", "sharp-linear", "--iterations", "60"],
            "more than the ramp of 70, got 60",
        ),
        (["run", "skimage:camera", "--size", "50"], "size must be a multiple of 32"),
        (["run", "skimage:camera", "--size", "0"], "and above 0, got 0"),
        (["run", "skimage:camera", "--threads", "257"], "257 is not in the range"),
        (["run", "skimage:camera", "--output", ""], "--output must name a folder, got ''"),
        (
            ["run", "skimage:camera", "--task", "inpaint:missing=0.5,missing=0.9"],
            "gives missing twice",
        ),
        (
            ["run", "skimage:camera", "--task", "denoise:sigma_255=5", "--sigma", "9"],
            "--sigma 9 and sigma_255 in --task are both given",
        ),
        (["run", "skimage:camera", "--sigma", "nan"], "--sigma must be a finite number"),
        (["run", "skimage:camera", "--sigma", "-1"], "--sigma must be a finite number"),
        (
            ["run", "skimage:camera", "--learning-rate", "0"],
            "learning_rate must be in (0, 1], got 0",
        ),
        (["run", "skimage:camera", "--scales", "0"], "scales must be from 1 to 8, got 0"),
        (["run", "skimage:camera", "--seed", "-1"], "seed"),
        (["run", "skimage:camera", "--device", "tpu9"], "this machine has cpu"),
        *(
            (["run", "skimage:camera", "--device", name], "this machine has cpu")
            for name in (
                "mps:7",
                "xpu:9",
                "meta",
                "hpu",
                "vulkan",
                "CPU",
                "",
                "gpu",
                "0",
                "cuda:-1",
            )
        ),
        (["run", "skimage:camera", "--device", "cuda:99"], "this machine has cpu"),
        (["schedules", "log11"], "unknown preset 'log11'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_requests_get_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dipstage(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_dipstage_stands_without_ray_optuna_and_pydantic(tmp_path: Path) -> None:
    """In a process where importing any of them fails."""
    program = f"""
import sys
for name in ("ray", "optuna", "pydantic"):
    sys.modules[name] = None
from dipstage.terminal.cli import main
main(["run", "skimage:camera", *{SMALL}, "--output", {str(tmp_path)!r}])
"""
    run_process([sys.executable, "-c", program], check=True)
    assert (tmp_path / "curves.csv").exists()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published schedules in the place of the package's."""
    publish(tmp_path / "published")
    monkeypatch.setattr("dipstage.documents.published.FOLDER", tmp_path / "published")


@pytest.mark.long
@pytest.mark.usefixtures("undrawn", "published")
def test_fast_trains_the_nearest_published_schedule_and_says_what_was_shown(
    tmp_path: Path,
) -> None:
    def run(name: str, *options: str) -> tuple[str, str]:
        folder = tmp_path / "out"
        command = ("run", "skimage:camera", "--schedule", name, "--output", str(folder))
        result = dipstage(*command, *options)
        assert result.exit_code == 0, result.output
        return (folder / "curves.csv").read_text(), " ".join(result.output.split())

    curves, words = run("fast", "--size", "16")
    assert "fast: denoise-sigma25-16-fast (trial 12 of a-search), better (PSNR not" in words
    assert "time ratio 0.74 [0.68, 0.81]" in words
    assert "notice" not in words
    file = str(tmp_path / "published/denoise-sigma25-16-fast.yaml")
    assert run(file, "--size", "16")[0] == curves
    curves, words = run("fast", "--size", "32", "--sigma", "20")
    assert "notice: fast is not verified for 32 × 32 pixels, sigma 20: the evidence is" in words
    assert run("fast", "--size", "32")[0] != curves
    _, words = run("best", "--size", "64", "--width", "8")
    assert "best: denoise-sigma25-64-best" in words
    assert "not verified for a network of width 8 and 1 scales:" in words


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


def test_a_kind_that_is_not_published_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dipstage.documents.published.FOLDER", tmp_path)
    result = dipstage("run", "skimage:camera", "--schedule", "fast", *SMALL)
    assert result.exit_code == 2
    words = "no schedule is published as fast yet: name a preset such as log10, or a schedule file"
    assert result.stderr.partition(": ")[2] == f"{words}\n"
