"""The figures of staged-dip.md and tasks.md, made by the product: `python docs/figures.py`.

Schedules and targets come from dipstage's own functions, curves and pictures from two runs of
`dipstage run` and three of `fit`, some 60 s of two CPU cores. The same machine gives the same bytes
each time.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from dipstage import (
    Family,
    FreeSplit,
    LogSplit,
    NoiseLevels,
    PowerSplit,
    Schedule,
    Streams,
    fit,
    load_picture,
    observe,
    parse_preset,
)
from dipstage.randomness import Stream
from dipstage.schedules.examples import EXAMPLES
from dipstage.schedules.noise import noised
from dipstage.schedules.presets import PRESETS
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.terminal.palette import BLUE, FAINT, GREEN, VERMILLION
from dipstage.terminal.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dipstage.tasks.problem import Task

IMAGES = Path(__file__).parent / "images"
PICTURE, SIGMA_255, STAGED = "skimage:chelsea", 25.0, "sharp-linear"
STYLES = [(BLUE, "-"), (VERMILLION, "--"), (GREEN, "-.")]
"""Told apart by colour and by dashes."""


def staircase(axes: Axes, schedule: Schedule, **style: Any) -> None:
    """alpha_bar of every iteration's target."""
    levels = [stage.alpha_bar for stage in schedule.stages]
    axes.step([*schedule.starts, schedule.iterations], [*levels, 1.0], where="post", **style)


def presets(iterations: int = 600) -> Figure:
    """One panel for each preset."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, name in zip(panels.flat, PRESETS, strict=True):
        schedule = parse_preset(name).schedule(iterations)
        staircase(axes, schedule, color=STYLES[0][0])
        stages = f"{len(schedule.stages)} stage{'s' * (len(schedule.stages) > 1)}"
        axes.set_title(f"{name}: {stages}, ramp {schedule.ramp}", fontsize=10)
        axes.grid(alpha=0.25)
    figure.supxlabel("iterations", fontsize=10)
    figure.supylabel("alpha_bar of the target", fontsize=10)
    return figure


def family(iterations: int = 600) -> Figure:
    """One panel for each parameter: three values of it, the others as they are."""
    free = FreeSplit((1.0, 5.0, 1.0, 1.0, 8.0, 1.0, 3.0))
    base: dict[str, Any] = {
        "stages": 8, "split": PowerSplit(1.0), "ramp": 300, "noise": NoiseLevels("linear", 1.0),
    }  # fmt: skip
    varied: dict[str, dict[str, dict[str, Any]]] = {
        "stages": {str(n): {"stages": n} for n in (2, 8, 30)},
        "ramp (iterations)": {str(n): {"ramp": n} for n in (50, 150, 350)},
        "exponent": {f"{e:g}": {"split": PowerSplit(e)} for e in (0.4, 1.0, 3.0)},
        "split": {
            "power, 1": {"split": PowerSplit(1.0)},
            "log": {"split": LogSplit()},
            "free": {"split": free},
        },
        "noise.beta": {b: {"noise": NoiseLevels(b, 1.0)} for b in ("linear", "cosine", "sigmoid")},
        "noise.max_level (t/T)": {
            f"{h:g}": {"noise": NoiseLevels("linear", h)} for h in (0.2, 0.5, 1.0)
        },
    }
    figure = Figure(figsize=(8, 5), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, (title, values) in zip(panels.flat, varied.items(), strict=True):
        for (label, change), (colour, line) in zip(values.items(), STYLES, strict=True):
            schedule = Family(**{**base, **change}).schedule(iterations)
            staircase(axes, schedule, color=colour, linestyle=line, label=label, linewidth=1.3)
        axes.set_title(title, fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        axes.grid(alpha=0.25)
    figure.supxlabel("iterations", fontsize=10)
    figure.supylabel("alpha_bar of the target", fontsize=10)
    return figure


def targets(size: int = 64, seed: int = 0) -> Figure:
    """The target of each stage of a schedule, as the trainer makes it."""
    schedule = Family(6, PowerSplit(2.0), 43, NoiseLevels("linear", 0.6)).schedule(600)
    picture = load_picture(PICTURE, size=size, multiple=16)
    streams = Streams(picture.digest, seed)
    observation = observe(picture.tensor(), SIGMA_255, streams)
    figure = Figure(figsize=(9, 2.0), layout="constrained")
    panels = figure.subplots(1, len(schedule.stages))
    for rank, (axes, stage) in enumerate(zip(panels, schedule.stages, strict=True)):
        noise = torch.randn(
            observation.shape, generator=streams.generator(Stream.STAGE_NOISE, rank)
        )
        target = observation if stage.alpha_bar == 1 else noised(
            observation, stage.alpha_bar, noise
        )  # fmt: skip
        show(axes, target[0].clamp(0, 1).numpy(), f"alpha_bar {stage.alpha_bar:.2g}\n"
             f"{stage.iterations} iterations")  # fmt: skip
    return figure


def show(axes: Axes, pixels: np.ndarray[Any, Any], title: str) -> None:
    """A picture, (C, H, W) in [0, 1]."""
    axes.imshow(np.moveaxis(pixels, 0, -1), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def run(schedule: str, folder: Path) -> None:
    """As a person types it."""
    command = [
        sys.executable,
        "-m",
        "dipstage.terminal.cli",
        "run",
        PICTURE,
        "--schedule",
        schedule,
    ]
    small = ["--size", "64", "--width", "32", "--scales", "4", "--iterations", "900"]
    subprocess.run([*command, *small, "--output", str(folder)], check=True)


def curves(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a run's curves.csv."""
    with (folder / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}


def early_peak(plain: Path) -> Figure:
    """Plain DIP: what it is trained to rises, what is wanted rises and falls."""
    columns = curves(plain)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    lines = {
        "raw output against the observation": ("psnr_raw_db", "0.45", ":"),
        "raw output against the ground truth": ("psnr_gt_raw_db", *STYLES[0]),
        "smoothed output against the ground truth": ("psnr_gt_smoothed_db", *STYLES[1]),
    }
    for label, (key, colour, line) in lines.items():
        axes.plot(columns[key], line, color=colour, label=label, linewidth=1.3)
        if "_gt_" in key:
            mark_maximum(axes, columns[key], colour)
    return labelled(figure, axes, "PSNR (dB)")


def plain_and_staged(plain: Path, staged: Path) -> Figure:
    """PSNR_GT of the raw output, and where the staged run changes its target."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, start in enumerate(parse_preset(STAGED).schedule(900).starts[1:]):
        label = "stage switch" if i == 0 else None
        axes.axvline(start, color=FAINT, linewidth=0.8, label=label)
    for (name, folder), (colour, line) in zip(
        {"plain DIP": plain, STAGED: staged}.items(), STYLES, strict=False
    ):
        psnr = curves(folder)["psnr_gt_raw_db"]
        axes.plot(psnr, line, color=colour, label=name, linewidth=1.3)
        mark_maximum(axes, psnr, colour)
    return labelled(figure, axes, "PSNR against ground truth, raw output (dB)")


def mark_maximum(axes: Axes, psnr: np.ndarray[Any, Any], colour: str) -> None:
    """A point, with its figures in the legend."""
    peak = int(np.argmax(psnr))
    axes.plot(peak, psnr[peak], "o", color=colour, label=f"{psnr[peak]:.2f} dB at {peak}")


def labelled(figure: Figure, axes: Axes, words: str) -> Figure:
    """With axes named."""
    axes.set_xlabel("iterations")
    axes.set_ylabel(words)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def restored(plain: Path, staged: Path) -> Figure:
    """Ground truth, observation, and each run's best outputs."""
    pictures = {
        "ground truth": plain / "ground_truth.png",
        "observation": plain / "observation.png",
        "plain DIP,\nbest raw": plain / "best_raw.png",
        "plain DIP,\nbest smoothed": plain / "best_smoothed.png",
        f"{STAGED},\nbest raw": staged / "best_raw.png",
        f"{STAGED},\nbest smoothed": staged / "best_smoothed.png",
    }
    figure = Figure(figsize=(9, 2.0), layout="constrained")
    panels = figure.subplots(1, len(pictures))
    for axes, (title, path) in zip(panels, pictures.items(), strict=True):
        show(axes, load_picture(str(path), multiple=1).pixels, title)
    return figure


def tasks() -> Figure:
    """What is measured in each task, and the smoothed output of plain DIP at its maximum."""
    posed: dict[str, tuple[Task, str]] = {
        "Poisson noise, peak 30": (Denoise(peak=30.0), "denoising"),
        "half of the pixels missing": (Inpaint(missing=0.5), "inpainting-kate"),
        "super-resolution, factor 4": (SuperResolve(factor=4), "super-resolution"),
    }
    picture = load_picture(PICTURE, size=64, multiple=16)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    panels = figure.subplots(3, 3)
    for row, (words, (task, example)) in zip(panels, posed.items(), strict=True):
        network = replace(EXAMPLES[example], width=32, scales=4)
        settings = replace(network, skip_channels=min(network.skip_channels, 32))
        problem = task.observe(truth, streams)
        outcome = fit(problem, truth, Schedule.plain(500), settings, streams)
        assert outcome.smoothed is not None
        own, best = outcome.observation_psnr_gt_db, outcome.smoothed.max_psnr_gt_db
        show(row[0], picture.pixels, "ground truth")
        show(row[1], problem.picture[0].numpy(), f"{words}\n{own:.2f} dB")
        show(row[2], outcome.best_smoothed, f"restored\n{best:.2f} dB")
    return figure


def main() -> None:
    """Write all of them."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        plain, staged = Path(made) / "plain", Path(made) / "staged"
        run("baseline", plain)
        run(STAGED, staged)
        figures = {
            "presets": presets(),
            "family": family(),
            "targets": targets(),
            "early-peak": early_peak(plain),
            "plain-and-staged": plain_and_staged(plain, staged),
            "restored": restored(plain, staged),
            "tasks": tasks(),
        }
        for name, figure in figures.items():
            save_figure(figure, IMAGES / f"{name}.png", own=True)


if __name__ == "__main__":
    main()
