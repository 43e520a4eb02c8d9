"""What `dipstage run` makes of --task, --sigma and --example, and of a schedule file's task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blur_package import install_blur
from click.testing import CliRunner, Result

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture, png
from dipstage.randomness import Streams
from dipstage.schedules.examples import EXAMPLES
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import (
    Measure,
    Measured,
    OutputMeasures,
    ScheduleFile,
    save_schedule,
)
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint
from dipstage.tasks.registry import task_kind
from dipstage.terminal.asked import notice_of_task, task_asked
from dipstage.terminal.cli import main
from dipstage.training.trainer import fit

PICTURE = load_picture("skimage:chelsea", size=32, multiple=4)
NETWORK = ["--width", "4", "--scales", "2"]
TRAINER = TrainerSettings(iterations=20, width=4, scales=2)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave out the plot, which takes longer than a small run."""
    monkeypatch.setattr("dipstage.terminal.plots.save_figure", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)


def run(*options: str) -> Result:
    words = ["run", "skimage:chelsea", "--size", "32", "--output", "o", *options]
    return CliRunner().invoke(main, words)


def measured(task: dict[str, object] | None) -> Measured:
    """Evidence of a search on a task; None is how files were written before there were tasks."""
    one = Measure(25.0, 1)
    scores = OutputMeasures(one, one, one, one, 0)
    return Measured(["a.png"], 30.0, [0], TRAINER, "raw", scores, scores, 32, 0.0, task)


@pytest.mark.parametrize(
    ("text", "sigma", "file", "expected"),
    [
        (None, None, None, Denoise(sigma_255=25)),
        (None, 40.0, None, Denoise(sigma_255=40)),
        ("denoise:peak=9", None, None, Denoise(peak=9.0)),
        ("inpaint:missing=0.8", 5.0, None, Inpaint(missing=0.8, sigma_255=5.0)),
        (None, None, measured(None), Denoise(sigma_255=30)),
        (None, None, measured({"kind": "inpaint", "missing": 0.3}), Inpaint(missing=0.3)),
        ("denoise", None, measured({"kind": "inpaint", "missing": 0.3}), Denoise()),
    ],
)
def test_the_task_is_that_of_the_options_or_of_the_file(
    text: str | None, sigma: float | None, file: Measured | None, expected: object
) -> None:
    assert task_asked(text, sigma, file) == expected


@pytest.mark.parametrize(
    ("text", "sigma", "file", "words"),
    [
        ("denoise:peak=9", 5.0, None, "Gaussian noise and peak Poisson noise: give one"),
        ("denoise", 2000.0, None, "sigma_255 must be from 0 to 1000, got 2000"),
        (None, None, measured({"kind": "inpaint", "mask": "m.png"}),
         "measured with mask m.png: give --task inpaint:mask=FILE"),
        (None, None, measured({"kind": "of another package"}), "kind must be one of denoise"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_made_is_refused(
    text: str | None, sigma: float | None, file: Measured | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        task_asked(text, sigma, file)


def test_run_trains_what_the_library_trains(tmp_path: Path) -> None:
    result = run("--task", "inpaint:missing=0.6", "--example", "inpainting-vase", *NETWORK,
                 "--iterations", "20")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "notice" not in result.output, "plain DIP is for any task"
    settings = replace(EXAMPLES["inpainting-vase"], width=4, scales=2)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    problem = Inpaint(missing=0.6).observe(truth, streams)
    outcome = fit(problem, truth, Schedule.plain(20), settings, streams)
    assert (tmp_path / "o/curves.csv").read_text() == outcome.trace.csv()
    own = f"PSNR_GT of the observation: {outcome.observation_psnr_gt_db:.2f} dB"
    assert own in " ".join(result.output.split())
    assert (tmp_path / "o/observation.png").read_bytes() == png(problem.picture[0].numpy())


def trained_with(monkeypatch: pytest.MonkeyPatch, *options: str) -> TrainerSettings:
    """Return the settings that would be trained with; nothing is."""
    seen: list[TrainerSettings] = []

    def looked_at(*arguments: Any, **_: Any) -> None:
        _, _, schedule, settings, _ = arguments
        seen.append(schedule.recipe.applied_to(settings))
        raise InputError("looked at")

    monkeypatch.setattr("dipstage.training.trainer.fit", looked_at)
    assert "looked at" in run(*options).stderr
    return seen[0]


def test_the_network_of_an_example_goes_before_that_of_a_schedule_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to no network stays the file's, and so does its recipe's learning rate."""
    recipe = Recipe(width=16, first_width=8, skip_channels=2, learning_rate=0.003, warmup=7)
    schedule = replace(parse_preset("log10").schedule(20), recipe=recipe)
    file = ScheduleFile(schedule, measured=measured(None))
    assert file.measured is not None
    trainer = replace(TRAINER, patience=33, ema=0.9, precision="fp32")
    file = replace(file, measured=replace(file.measured, trainer=trainer))
    save_schedule(tmp_path / "s.yaml", file)
    common: dict[str, Any] = {
        "iterations": 20, "learning_rate": 0.003, "warmup": 7, "patience": 33, "ema": 0.9,
        "precision": "fp32",
    }  # fmt: skip
    options: tuple[str, ...] = ("--schedule", "s.yaml")
    assert trained_with(monkeypatch, *options) == replace(
        trainer, **{**common, "width": 16, "first_width": 8, "skip_channels": 2}
    )
    kate = replace(EXAMPLES["inpainting-kate"], **common)
    options = (*options, "--example", "inpainting-kate")
    assert trained_with(monkeypatch, *options) == kate
    options = (*options, "--width", "64", "--learning-rate", "0.02", "--patience", "9")
    given = replace(kate, width=64, learning_rate=0.02, patience=9)
    assert trained_with(monkeypatch, *options) == given


def test_a_preset_takes_all_of_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--schedule", "log10", "--example", "restoration-barbara", "--iterations", "20")
    expected = replace(EXAMPLES["restoration-barbara"], iterations=20)
    assert trained_with(monkeypatch, *options) == expected


def test_a_mask_file_hides_pixels(tmp_path: Path) -> None:
    mask = np.ones((1, 40, 40), np.float32)
    mask[:, :20] = 0
    (tmp_path / "m.png").write_bytes(png(mask))
    result = run("--task", "inpaint:mask=m.png", *NETWORK, "--iterations", "11")
    assert result.exit_code == 0, result.output
    observation = load_picture("o/observation.png", multiple=4).pixels
    assert not observation[:, :15].any()
    assert observation[:, 17:].min() > 0


def test_a_task_of_an_installed_package_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    install_blur(tmp_path / "package", monkeypatch)
    result = run("--task", "blur:sigma_255=5", *NETWORK, "--iterations", "11")
    assert result.exit_code == 0, result.output
    kind: Any = task_kind("blur")
    problem = kind(sigma_255=5).observe(PICTURE.tensor(), Streams(PICTURE.digest, 0))
    assert (tmp_path / "o/observation.png").read_bytes() == png(problem.picture[0].numpy())


def test_schedules_of_another_task_are_trained_and_said(tmp_path: Path) -> None:
    file = ScheduleFile(parse_preset("log10").schedule(20), measured=measured(None))
    save_schedule(tmp_path / "s.yaml", file)
    for name in ("log10", "s.yaml"):
        result = run("--schedule", name, "--task", "super_resolve:factor=2", *NETWORK,
                     "--iterations", "20")  # fmt: skip
        assert result.exit_code == 0, result.output
        said = " ".join(result.output.split())
        sigma = 25 if name == "log10" else 30
        assert (
            f"notice: {name} was measured on another task (denoise, sigma {sigma}) than this one "
            "(super_resolve, factor 2)" in said
        )
    assert notice_of_task("baseline", None, Inpaint()) == ""
    assert notice_of_task("log10", None, Denoise(sigma_255=50)) == ""
    inpainted = replace(file, measured=measured({"kind": "inpaint", "missing": 0.5}))
    assert notice_of_task("s", inpainted, Inpaint()) == ""
    assert "(inpaint, missing 0.5) than this one" in notice_of_task("s", inpainted, Denoise())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "deblur"], "task 'deblur': kind must be one of denoise, inpaint"),
        (["--task", "inpaint:missing=1"], "missing must be a share in (0, 1), got 1"),
        (["--task", "inpaint:mask=no.png"], "no.png"),
        (["--example", "inpaint"], "example must be one of denoising, inpainting-kate"),
    ],
)
def test_wrong_options_get_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    result = run(*options, *NETWORK)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "o/curves.csv").exists()
