"""dipstage: train one picture with a schedule, and show schedules."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dipstage.errors import InputError, WorkError
from dipstage.terminal.asked import (
    file_of,
    notice_of_task,
    published_for,
    schedule_of,
    task_asked,
)
from dipstage.terminal.console import Commands, echo_json, json_option, make_console, table
from dipstage.terminal.devices import choose_device, refuse_too_large, use_threads
from dipstage.terminal.restoring import restore

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from dipstage.documents.published import Published
    from dipstage.outcome import Outcome
    from dipstage.schedules import Schedule
    from dipstage.settings import EmaRestart, TrainerSettings
    from dipstage.stopping import Output
    from dipstage.tasks.problem import Task


_FILES = (
    "curves.csv",
    "ground_truth.png",
    "observation.png",
    "best_raw.png",
    "best_smoothed.png",
    "curves.png",
)
"""Files of a run; the first three exist even if it diverged at once."""
_SNAPSHOT = re.compile(r"(raw|smoothed)-\d{7}\.png")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dipsearch", prog_name="dipstage")
def main() -> None:
    """Staged Deep Image Prior: restore one picture through a schedule of noised targets."""


def _expanded(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":
        raise InputError(f"{parameter.opts[0]} must name a folder, got ''")
    return None if value is None else Path(value).expanduser()


@click.command()
@click.argument("image")
@click.option(
    "--schedule",
    "schedule_name",
    default="baseline",
    show_default=True,
    metavar="PRESET|fast|best|FILE",
    help="A preset such as log10 or sharp-linear:stages=50,x=10, or a schedule file. fast and best "
    "are the published schedules that were shown to be faster than plain DIP, or higher in PSNR, "
    "at the size and noise that are nearest.",
)
@click.option(
    "--task",
    "task_name",
    metavar="KIND[:KEY=VALUE,…]",
    help="What is measured of IMAGE: denoise, inpaint:missing=0.8, inpaint:mask=FILE, "
    "super_resolve:factor=2, or the task of an installed package [default: the schedule file's, "
    "else denoise].",
)
@click.option(
    "--sigma",
    type=float,
    help="Noise of the observation, on the 0 … 255 scale [default: the task's; 25 for denoise].",
)
@click.option(
    "--iterations",
    type=int,
    help="Budget [default: the schedule file's, else 2000]. The last stage of a schedule file "
    "becomes longer or shorter, and the stages before it are kept.",
)
@click.option(
    "--size",
    type=int,
    help="Centre crop and resize to this side [default: the picture's own size, "
    "cropped so that the network can halve it].",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the observation, the weights and all noise.",
)
@click.option(
    "--example",
    metavar="NAME",
    help="Official example whose network is taken, such as inpainting-kate [default: the schedule "
    "file's network, else denoising].",
)
@click.option(
    "--width", type=int, help="Channels of the network [default: the schedule file's, else 128]."
)
@click.option(
    "--scales", type=int, help="Scales of the network [default: the schedule file's, else 5]."
)
@click.option(
    "--learning-rate",
    type=float,
    help="Learning rate of Adam [default: the schedule file's, else 0.01].",
)
@click.option(
    "--ema-restart",
    type=click.Choice(["never", "stage"]),
    help="When the moving average starts anew [default: the schedule file's, else never].",
)
@click.option(
    "--oracle-stop",
    type=click.Choice(["raw", "smoothed", "both"]),
    help="Stop in the last stage once PSNR_GT of this output has not risen for --patience "
    "iterations, or that of both for 200. This reads the ground truth.",
)
@click.option(
    "--patience",
    type=int,
    help="Iterations that --oracle-stop waits for a rise. A maximum that is closer than this to "
    "the end of the run counts as censored [default: the schedule file's, else 150].",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="CPU threads [default: 1 up to 128 × 128 pixels, where more do not help, else all]. "
    "Results are bit-identical for the same number of threads.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, or another device of PyTorch such as mps or xpu.",
)
@click.option(
    "--snapshots",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also keep both outputs every N iterations, in the folder snapshots.",
)
@click.option(
    "--output",
    callback=_expanded,
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Folder for curves.csv, pictures and plot "
    "[default: a new folder out/IMAGE-SCHEDULE-seedN].",
)
@json_option
def run(
    image: str,
    schedule_name: str,
    task_name: str | None,
    sigma: float | None,
    iterations: int | None,
    size: int | None,
    seed: int,
    example: str | None,
    width: int | None,
    scales: int | None,
    learning_rate: float | None,
    ema_restart: EmaRestart | None,
    oracle_stop: Output | Literal["both"] | None,
    patience: int | None,
    threads: int | None,
    device: str,
    snapshots: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Train one network on a noised copy of IMAGE and score it against IMAGE.

    IMAGE is a PNG, JPEG, TIFF or WebP file, or skimage:NAME for a picture inside scikit-image.
    --task chooses another measurement than noise. After Ctrl-C, the curves and pictures so far are
    written and marked as interrupted.
    """
    from dipstage.examples import example as official
    from dipstage.settings import TrainerSettings

    if sigma is not None and not (math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"--sigma must be a finite number, not negative, got {sigma}")
    found = published_for(schedule_name, image, size, sigma)
    file = found.file if found else file_of(schedule_name)
    measured = file.measured if file else None
    task = task_asked(task_name, sigma, None if found else measured)
    schedule = schedule_of(schedule_name, file, iterations, task.noise_255)
    if learning_rate is not None:
        recipe = replace(schedule.recipe, learning_rate=learning_rate, ramp_learning_rate=None)
        schedule = replace(schedule, recipe=recipe)
    if ema_restart is not None:
        schedule = replace(schedule, recipe=replace(schedule.recipe, ema_restart=ema_restart))
    options = {"width": width, "scales": scales, "patience": patience}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    schedule = replace(schedule, recipe=schedule.recipe.without(given))
    settings = measured.trainer if measured else TrainerSettings()
    settings = replace(
        schedule.recipe.applied_to(official(example) if example else settings),
        iterations=schedule.iterations,
        oracle_stop="both" if oracle_stop == "both" else oracle_stop is not None,
        **given,
    )
    console = make_console(going_on=True)
    if found:
        console.print(f"{schedule_name}: {found.evidence}", markup=False)
    if measured:
        console.print(
            f"trainer of {schedule_name}, unless told otherwise: width {settings.width}, "
            f"scales {settings.scales}, learning rate {settings.learning_rate:g}, "
            f"sigma {task.noise_255:g}",
            markup=False,
        )
    if notice := notice_of_task(schedule_name, file, task):
        console.print(f"notice: {notice}", markup=False)
    outcome, folder = _train(
        console,
        image,
        size,
        task,
        seed,
        schedule,
        settings,
        oracle_stop,
        threads,
        device,
        snapshots,
        output,
        schedule_name,
        found,
    )
    if as_json:
        echo_json(_facts(outcome, folder))
    if outcome.stop == "interrupted":
        raise KeyboardInterrupt
    if outcome.stop == "diverged":
        click.echo(
            f"dipstage: the loss was no longer finite after {outcome.iterations} iterations: "
            "lower --learning-rate",
            err=True,
        )
        raise SystemExit(1)


def _train(
    console: Console,
    image: str,
    size: int | None,
    task: Task,
    seed: int,
    schedule: Schedule,
    settings: TrainerSettings,
    oracle_stop: Output | Literal["both"] | None,
    threads: int | None,
    device: str,
    snapshots: int | None,
    output: Path | None,
    schedule_name: str,
    found: Published | None,
) -> tuple[Outcome, Path]:
    from dipstage.images import load_picture, png
    from dipstage.tasks.registry import loaded, task_files

    picture = load_picture(image, size=size, multiple=settings.multiple)
    for notice in picture.notices:
        console.print(f"notice: {notice}", markup=False)
    device = choose_device(device)
    height, width = picture.pixels.shape[1:]
    if found:
        network = settings.width, settings.scales
        if notice := found.beyond(width, height, task.noise_255, network, schedule):
            console.print(f"notice: {schedule_name} is {notice}", markup=False)
    refuse_too_large(settings, height, width, device)
    folder = _output_folder(output, f"{picture.label}-{_label(schedule_name)}-seed{seed}")
    inputs = (image, schedule_name, *task_files(task).values())
    _refuse_to_destroy(folder, inputs, snapshots is not None)

    from dipstage.documents.whole_files import write_asked
    from dipstage.interrupts import deferred
    from dipstage.memory import is_out_of_memory
    from dipstage.randomness import Streams
    from dipstage.stopping import OUTPUTS
    from dipstage.terminal.display import ProgressBar, outcome_table
    from dipstage.terminal.plots import plot_curves, save_figure
    from dipstage.trainer import fit

    truth = picture.tensor()
    use_threads(threads, truth.shape[-1] * truth.shape[-2])
    streams = Streams(picture.digest, seed)
    problem = loaded(task, size, settings.multiple).observe(truth, streams)
    kept = _snapshot_folder(folder) if snapshots else folder

    def keep(iteration: int, pictures: Tensor) -> None:
        for output_name, pixels in zip(OUTPUTS, pictures.cpu().numpy(), strict=True):
            write_asked(kept / f"{output_name}-{iteration:07d}.png", png(pixels), own=True)

    def ends(iteration: int, pictures: Tensor) -> bool:
        if snapshots and iteration % snapshots == 0:
            keep(iteration, pictures)
        return interrupted()

    try:
        with ProgressBar(console, schedule.iterations) as bar, deferred() as interrupted:
            outcome = fit(
                problem,
                truth,
                schedule,
                settings,
                streams,
                stopping=settings.stopping("smoothed" if oracle_stop == "smoothed" else "raw"),
                device=device,
                progress=bar.update,
                each=ends,
            )
    except Exception as error:
        if is_out_of_memory(error):
            raise WorkError(f"memory ran out on {device}: lower --size or --width") from None
        raise

    write_asked(folder / "curves.csv", outcome.trace.csv(), own=True)
    write_asked(folder / "ground_truth.png", png(picture.pixels), own=True)
    write_asked(folder / "observation.png", png(problem.picture[0].numpy()), own=True)
    derived = [folder / name for name in _FILES[3:]]
    if not outcome.iterations:
        # Files of an earlier run would be mistaken for this run's.
        for path in derived:
            path.unlink(missing_ok=True)
    else:
        write_asked(folder / "best_raw.png", png(outcome.best_raw), own=True)
        write_asked(folder / "best_smoothed.png", png(outcome.best_smoothed), own=True)
        title = f"{picture.label}, {schedule_name}, seed {seed}"
        if outcome.stop == "interrupted":
            title += f" (interrupted after {outcome.iterations} iterations)"
        save_figure(plot_curves(outcome, schedule, title), folder / "curves.png", own=True)
        console.print(outcome_table(outcome))
    console.print(
        f"stopped: {outcome.stop.value} after {outcome.iterations} of {schedule.iterations} "
        f"iterations, {outcome.resets} resets, {outcome.wall_s:.1f} s "
        f"({outcome.iterations_per_s:.1f} iterations/s on {outcome.device}, {outcome.arithmetic})",
        markup=False,
    )
    console.print(f"written to {folder}/", markup=False)
    return outcome, folder


def _facts(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return what --json prints of a training."""
    from dipstage.documents.records import to_plain
    from dipstage.stopping import OUTPUTS

    names = (
        "stop", "iterations", "resets", "wall_s", "iterations_per_s", "device", "arithmetic"
    )  # fmt: skip
    scores: dict[str, Any] = {
        output: to_plain(outcome.scores(output), {}) if outcome.iterations else None
        for output in OUTPUTS
    }
    return {**{name: getattr(outcome, name) for name in names}, **scores, "folder": str(folder)}


def _label(schedule_name: str) -> str:
    """Return the name of a preset or a file for use in a folder's name."""
    from dipstage.presets import is_preset

    text = schedule_name if is_preset(schedule_name) else Path(schedule_name).stem
    return text.replace(":", "-").replace("=", "").replace(",", "-")


def _output_folder(output: Path | None, name: str) -> Path:
    """Make and return the folder that was asked for, or a new one under out/."""
    folder = output or Path("out") / name
    number = 1
    while output is None and folder.exists():
        number += 1
        folder = Path("out") / f"{name}-{number}"
    _make_folder(folder)
    return folder


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--output {folder} cannot be written: choose another folder")


def _snapshot_folder(folder: Path) -> Path:
    """Make the folder of snapshots, without those of an earlier run."""
    kept = folder / "snapshots"
    _make_folder(kept)
    for path in kept.iterdir():
        if _SNAPSHOT.fullmatch(path.name):
            path.unlink()
    return kept


def _refuse_to_destroy(folder: Path, inputs: Iterable[str], snapshots: bool) -> None:
    """Raise InputError for what this run would destroy: its own inputs, and files of others.

    Pictures are only replaced beside the curves of an earlier run.
    """
    from dipstage.documents.whole_files import refuse_to_replace
    from dipstage.images import expand_path, split_options
    from dipstage.outcome import Trace

    outputs = [folder / name for name in _FILES]
    for given in inputs:
        source = Path(expand_path(split_options(given)[0]))
        snapshot = snapshots and _SNAPSHOT.fullmatch(source.name)
        replaced = [*outputs, folder / "snapshots" / source.name] if snapshot else outputs
        if source.exists() and any(path.exists() and source.samefile(path) for path in replaced):
            raise InputError(f"{given} would be overwritten: choose another --output")
    header = ",".join(["iteration", *Trace.__dataclass_fields__])
    refuse_to_replace(outputs[0], "a CSV table", header.encode())
    for path in outputs[1:]:
        if path.is_dir() or (path.exists() and not outputs[0].exists()):
            raise InputError(f"{path} exists, and no run has written it: choose another --output")


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--size", type=int, help="As in dipstage run [default: keep].")
@click.option(
    "--scales",
    type=click.IntRange(1, 8),
    help="Scales of the network, which decide the crop [default: 5].",
)
@json_option
def check(images: tuple[str, ...], size: int | None, scales: int | None, as_json: bool) -> None:
    """Show what each IMAGE is taken for: size, colours, range, profile, crop and notices.

    IMAGE is a PNG, JPEG, TIFF or WebP file, a pattern, or skimage:NAME.
    """
    from dipstage.images import expand, load_picture
    from dipstage.settings import TrainerSettings

    multiple = TrainerSettings().multiple if scales is None else 2**scales
    console = make_console()
    refused = []
    facts: list[dict[str, Any]] = []
    for image in images:
        try:
            facts += [
                load_picture(name, size=size, multiple=multiple).facts() for name in expand([image])
            ]
        except InputError as error:
            refused.append(str(error))
    if as_json:
        echo_json(facts)
    for each in [] if as_json else facts:
        rows = [
            ["file", "{format}, {width} × {height}, page {page} of {pages}"],
            ["values", "{colours}, {bits} bits, from {lowest} to {highest}"],
            ["profile", "{profile}"],
            ["orientation", "{orientation}"],
            ["used as", "{used_width} × {used_height}, channels: {used_channels}"],
            ["digest", "{digest}"],
        ]
        words = {**each, "profile": each["profile"] or "none, taken as sRGB"}
        cells = [[head, text.format_map(words)] for head, text in rows]
        cells += [["notice", notice] for notice in each["notices"]]
        console.print(table(["", each["name"]], cells, left=(0, 1), flow=(1,)))
    for sentence in refused:
        click.echo(f"dipstage: {sentence}", err=True)
    if refused:
        raise SystemExit(2)


@click.command()
@click.argument("name", required=False, metavar="[PRESET|fast|best|FILE]")
@click.option(
    "--iterations", type=int, help="Iterations to train [default: the schedule file's, else 2000]."
)
@click.option(
    "--size", type=click.IntRange(min=1), help="Side of the picture, by which fast and best choose."
)
@click.option(
    "--sigma",
    type=click.FloatRange(min=0),
    help="Noise of the observation, to which a schedule file is rescaled [default: the file's].",
)
@json_option
def schedules(
    name: str | None, iterations: int | None, size: int | None, sigma: float | None, as_json: bool
) -> None:
    """List the presets, or show one schedule as a staircase."""
    from dipstage.documents.published import is_published, published
    from dipstage.presets import PRESETS

    console = make_console()
    names = [name] if name else list(PRESETS)
    found = None
    if name and is_published(name):
        if size is None:
            raise InputError(f"{name} is chosen by the size of the picture: give --size")
        found = published(name, size, 25.0 if sigma is None else sigma)
    loaded = {
        each: schedule_of(each, found.file if found else file_of(each), iterations, sigma)
        for each in names
    }
    if as_json:
        content = [
            {
                "name": each,
                "iterations": schedule.iterations,
                "ramp": schedule.ramp,
                "stages": [
                    {"alpha_bar": stage.alpha_bar, "start": start, "iterations": stage.iterations}
                    for stage, start in zip(schedule.stages, schedule.starts, strict=True)
                ],
            }
            for each, schedule in loaded.items()
        ]
        echo_json(content[0] if name else content)
    elif name:
        from dipstage.terminal.display import staircase_table

        if found:
            console.print(f"{name}: {found.evidence}", markup=False)
        console.print(staircase_table(name, loaded[name]))
    else:
        rows = [
            [each, str(len(s.stages)), str(s.ramp), str(s.iterations)] for each, s in loaded.items()
        ]
        console.print(table(["preset", "stages", "ramp (iterations)", "iterations"], rows))
        console.print("Show one: dipstage schedules log10 --iterations 600", markup=False)


main.add_section(
    "Train",
    {
        run: "dipstage run skimage:chelsea --schedule fast --size 64",
        restore: "dipstage restore photo.jpg --size 256 --width 32 --scales 4",
    },
)
main.add_section(
    "Look at pictures and schedules",
    {
        check: "dipstage check 'photos/*.tif'",
        schedules: "dipstage schedules log10 --iterations 600",
    },
)


if __name__ == "__main__":
    main()
