"""`dipstage run`: what it trains, draws and says, and how it ends."""

import functools
import itertools
import json
import os
import signal
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click
import imagecodecs
import numpy as np
import pytest
import torch
from small_commands import SMALL, curves, dipstage

from dipstage.documents.records import hints
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule_file import (
    Measure,
    Measured,
    OutputMeasures,
    ScheduleFile,
    save_schedule,
)
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS
from dipstage.tasks.denoise import observe
from dipstage.terminal.devices import choose_device
from dipstage.terminal.run_files import FILES
from dipstage.terminal.training import run
from dipstage.training.trainer import fit


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


def test_a_choice_of_oracle_that_the_settings_lack_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (offered,) = (option for option in run.params if option.name == "oracle_stop")
    assert isinstance(offered.type, click.Choice)
    settings = get_args(hints(TrainerSettings)["oracle_stop"])
    assert {*offered.type.choices} == {*OUTPUTS, *settings} - {True, False}
    monkeypatch.setattr(offered, "type", click.Choice(["late"]))
    result = dipstage("run", "skimage:chelsea", "--oracle-stop", "late", *SMALL)
    assert result.exit_code == 2
    assert "oracle_stop must be true or false or both or decided, got 'late'" in result.output


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
@pytest.mark.usefixtures("undrawn", "one_thread")
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
    alone = fit(observe(truth, 50, streams), truth, schedule, settings, streams)
    assert curves_of("file") == alone.trace.csv()
    assert curves_of("told", "--learning-rate", "0.01") != alone.trace.csv()
    assert curves_of("told", "--sigma", "25") != alone.trace.csv()


def test_ctrl_c_exits_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dipstage.training.trainer.fit", interrupt)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


@pytest.mark.usefixtures("undrawn")
def test_an_interrupt_after_the_last_iteration_exits_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = itertools.count()
    interrupted = nullcontext(lambda: next(asked) >= 30)
    monkeypatch.setattr("dipstage.interrupts.deferred", lambda: interrupted)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert "stopped after 30 of 30 iterations (end of the budget)" in result.stdout


def without_ssim(curves: str) -> list[list[str]]:
    """Cells of the curves up to SSIM, which is also measured at the maximum of what was trained."""
    return [line.split(",")[:7] for line in curves.splitlines()]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from dipstage.training.trainer import _Run

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
    assert "stopped after 14 of 30 iterations (interrupted)" in result.stdout
    assert titles[0].endswith("(interrupted after 14 iterations)")
    begun = without_ssim((tmp_path / "o" / "curves.csv").read_text())
    assert len(begun) == 1 + 14
    assert {path.name for path in (tmp_path / "o").iterdir()} == set(FILES)
    monkeypatch.undo()
    assert without_ssim(curves(tmp_path))[: len(begun)] == begun


@pytest.mark.parametrize("width", [16, 128, 4096])
def test_a_training_that_cannot_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("dipstage.training.memory.free_bytes", lambda device: 150_000_000)
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

    monkeypatch.setattr("dipstage.training.trainer.fit", fail)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 1
    assert result.stderr.endswith(": memory ran out on cpu: lower --size or --width\n")


@pytest.mark.usefixtures("undrawn")
def test_transparency_is_dropped_with_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "alpha.png"
    path.write_bytes(imagecodecs.png_encode(np.full((32, 32, 4), 99, np.uint8)))
    result = dipstage("run", str(path), *SMALL, "--output", str(tmp_path / "o"))
    assert result.exit_code == 0
    assert "transparency dropped" in result.output


def test_a_diverged_run_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.functional.mse_loss", lambda x, y: (x - y).mean() * torch.nan)
    result = dipstage("run", "skimage:camera", *SMALL, "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "no longer finite" in result.stderr


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


def test_a_kind_that_is_not_published_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path)
    result = dipstage("run", "skimage:camera", "--schedule", "fast", *SMALL)
    assert result.exit_code == 2
    words = "no schedule is published as fast yet: name a preset such as log10, or a schedule file"
    assert result.stderr.partition(": ")[2] == f"{words}\n"


def test_the_one_cpu_may_be_numbered() -> None:
    assert [choose_device(name) for name in ("cpu", "cpu:0")] == ["cpu", "cpu"]
