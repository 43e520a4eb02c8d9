"""`dipstage run`: train one network on a noised copy of a picture, and score it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dipstage.documents.whole_files import expanded
from dipstage.errors import InputError
from dipstage.terminal.asked import notice_of_task, published_for, settings_asked, task_asked
from dipstage.terminal.console import echo_json, json_option, make_console
from dipstage.terminal.devices import (
    choose_device,
    device_option,
    out_of_memory_said,
    refuse_too_large,
    use_threads,
)
from dipstage.terminal.number_types import Finite, Whole
from dipstage.terminal.run_files import (
    FILES,
    keep_snapshot,
    output_folder,
    snapshot_folder,
    write_run,
)

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from dipstage.schedules.published import Published
    from dipstage.schedules.schedule import Schedule
    from dipstage.schedules.settings import EmaRestart, TrainerSettings
    from dipstage.schedules.stopping import Output, StoppingRule
    from dipstage.tasks.problem import Task
    from dipstage.training.outcome import Outcome

_REASONS = {
    "budget": "end of the budget",
    "peak": "PSNR_GT had passed its maximum",
    "minimum": "the variance of the outputs had passed its minimum",
    "diverged": "the loss was no longer finite",
    "interrupted": "interrupted",
}
"""Reason why a training ended, for each `Stop`."""


def _expanded(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":
        raise InputError(f"{parameter.opts[0]} must name a folder, got ''")
    return None if value is None else expanded(value)


@click.command()
@click.argument("image")
@click.option(
    "--schedule",
    "schedule_name",
    default="baseline",
    show_default=True,
    metavar="PRESET|fast|best|FILE",
    help="A preset such as log10 or sharp-linear:stages=50,x=10, or a schedule file. fast and best "
    "are published schedules: fast was shown to be faster than plain DIP, best to have a higher "
    "PSNR. Those for the nearest size and noise are taken.",
)
@click.option(
    "--task",
    "task_name",
    metavar="KIND[:KEY=VALUE,…]",
    help="How IMAGE is degraded: denoise, inpaint:missing=0.8, inpaint:mask=FILE, "
    "super_resolve:factor=2, or the task of an installed package. A value with a comma is in "
    "quotes: 'inpaint:mask=\"a,b.png\"' [default: the schedule file's, else denoise].",
)
@click.option(
    "--sigma",
    type=Finite(least=0),
    help="Noise of the observation, on the 0 … 255 scale [default: the task's; 25 for denoise].",
)
@click.option(
    "--iterations",
    type=Whole(),
    help="Maximum number of iterations, the budget [default: the schedule file's, else 2000]. The "
    "last stage of a schedule file becomes longer or shorter, and the stages before it are kept. "
    "If they do not fit, all stages are shortened in proportion.",
)
@click.option(
    "--size",
    type=Whole(),
    help="Centre crop and resize to this side [default: the picture's own size, "
    "cropped so that the network can halve it].",
)
@click.option(
    "--seed",
    type=Whole(least=0),
    default=0,
    show_default=True,
    help="Seed of the observation, the weights and all noise.",
)
@click.option(
    "--example",
    metavar="NAME",
    help="Official example whose network is taken, such as inpainting-kate, with its input noise "
    "and learning rate unless the schedule has its own [default: the schedule file's network, else "
    "denoising].",
)
@click.option(
    "--width",
    type=Whole(),
    help="Channels of the network [default: the example's, else the schedule file's, else 128].",
)
@click.option(
    "--scales",
    type=Whole(),
    help="Scales of the network [default: the example's, else the schedule file's, else 5].",
)
@click.option(
    "--learning-rate",
    type=Finite(),
    help="Learning rate of Adam [default: that of the schedule's recipe, else the example's, else "
    "the schedule file's, else 0.01].",
)
@click.option(
    "--ema-restart",
    type=click.Choice(["never", "stage"]),
    help="When the moving average starts anew [default: the schedule file's, else never].",
)
@click.option(
    "--oracle-stop",
    type=click.Choice(["raw", "smoothed", "both", "decided"]),
    help="End the training in its last stage once PSNR_GT of this output has not risen for "
    "--patience iterations. both: once neither output has risen for 200 iterations, or for "
    "--patience iterations if that is more. decided: like "
    "smoothed, but only 30 iterations if PSNR_GT has fallen by 0.02 dB. This uses the ground "
    "truth.",
)
@click.option(
    "--patience",
    type=Whole(),
    help="Iterations that --oracle-stop waits for a rise. A maximum that is closer than this to "
    "the end of the run counts as censored [default: the schedule file's, else 150].",
)
@click.option(
    "--threads",
    type=Whole(1, 256),
    help="CPU threads [default: 1 up to 128 × 128 pixels, where more do not help, else all]. "
    "Results are bit-identical for the same number of threads.",
)
@device_option
@click.option(
    "--snapshots",
    type=Whole(least=1),
    metavar="N",
    help="Also keep both outputs every N iterations, in the folder snapshots.",
)
@click.option(
    "--output",
    callback=_expanded,
    metavar="DIR",
    help="Folder for curves.csv, pictures and plot "
    "[default: a new folder out/IMAGE-SCHEDULE-seedN]. The files of an earlier run there are "
    "replaced.",
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
    oracle_stop: Output | Literal["both", "decided"] | None,
    patience: int | None,
    threads: int | None,
    device: str,
    snapshots: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Train on a noised copy of IMAGE, and score the output.

    IMAGE is a PNG, JPEG, TIFF or WebP file, or skimage:NAME for a picture inside scikit-image.
    --task degrades IMAGE in another way than by noise. After Ctrl-C, the curves and pictures so far
    are written and marked as interrupted.
    """
    from dipstage.schedules.examples import NETWORK
    from dipstage.schedules.named import file_of, schedule_of
    from dipstage.schedules.stopping import OUTPUTS

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
    given["oracle_stop"] = oracle_stop in OUTPUTS or oracle_stop or False
    overridden = (*given, *NETWORK) if example is not None else given
    schedule = replace(schedule, recipe=schedule.recipe.without(overridden))
    settings = replace(
        schedule.recipe.applied_to(settings_asked(example, measured)),
        iterations=schedule.iterations,
        **given,
    )
    if snapshots is not None and snapshots > schedule.iterations:
        raise InputError(
            f"--snapshots {snapshots:,} is above the training's {schedule.iterations:,} "
            "iterations, so that nothing would be kept: lower it"
        )
    console = make_console(going_on=True)
    if found:
        console.print(f"{schedule_name}: {found.evidence}", markup=False)
    if measured:
        console.print(
            f"settings: width {settings.width}, scales {settings.scales}, "
            f"learning rate {settings.learning_rate:g}, sigma {task.noise_255:g} (from "
            f"{schedule_name}, except where options are given)",
            markup=False,
        )
    if notice := notice_of_task(schedule_name, file, task):
        console.print(f"notice: {notice}", markup=False)
    stopping = settings.stopping("raw" if oracle_stop == "raw" else "smoothed")
    outcome, folder, interrupted = _train(
        console, image, size, task, seed, schedule, settings, stopping, threads, device, snapshots,
        output, schedule_name, found,
    )  # fmt: skip
    _print_outcome(console, outcome, schedule.iterations, folder)
    if as_json:
        echo_json(_facts(outcome, folder))
    if interrupted:
        raise KeyboardInterrupt
    if outcome.stop == "diverged":
        click.echo(
            f"dipstage: the loss was no longer finite after {outcome.iterations} iterations: "
            "lower --learning-rate",
            err=True,
        )
        raise SystemExit(1)


def _train(
    console: Console, image: str, size: int | None, task: Task, seed: int, schedule: Schedule,
    settings: TrainerSettings, stopping: StoppingRule, threads: int | None, device: str,
    snapshots: int | None, output: Path | None, schedule_name: str, found: Published | None,
) -> tuple[Outcome, Path, bool]:  # fmt: skip
    """Train and write the files; also return whether an interrupt came."""
    from dipstage.pictures.images import load_picture
    from dipstage.tasks.problem import check_problem
    from dipstage.tasks.registry import loaded, notices_of, task_files
    from dipstage.training.memory import estimated_bytes

    picture = load_picture(image, size=size, multiple=settings.multiple)
    for notice in picture.notices:
        console.print(f"notice: {notice}", markup=False)
    device = choose_device(device)
    height, width = picture.pixels.shape[1:]
    if found:
        network = settings.width, settings.scales
        if notice := found.beyond(width, height, task.noise_255, network, schedule):
            console.print(f"notice: {schedule_name} is {notice}", markup=False)
    refuse_too_large(estimated_bytes(settings, height, width), settings, height, width, device)

    from dipstage.interrupts import deferred
    from dipstage.randomness import Streams
    from dipstage.terminal.display import ProgressBar
    from dipstage.training.trainer import fit

    truth = picture.tensor()
    use_threads(threads, truth.shape[-1] * truth.shape[-2])
    streams = Streams(picture.digest, seed)
    posed = loaded(task, size, settings.multiple)
    for notice in notices_of(posed):
        console.print(f"notice: {notice}", markup=False)
    problem = posed.observe(truth, streams)
    check_problem(problem, truth, schedule.recipe.applied_to(settings))
    inputs = (image, schedule_name, *task_files(task).values())
    folder = output_folder(
        output, picture.label, schedule_name, seed, inputs, snapshots is not None
    )
    if (folder / FILES[0]).exists():
        console.print(
            f"notice: the files of an earlier run in {folder}/ are replaced", markup=False
        )
    kept = snapshot_folder(folder) if snapshots else folder

    def ends(iteration: int, pictures: Tensor) -> bool:
        if snapshots and iteration % snapshots == 0:
            keep_snapshot(kept, iteration, pictures)
        return interrupted()

    with (
        out_of_memory_said(device),
        ProgressBar(console, schedule.iterations) as bar,
        deferred() as interrupted,
    ):
        outcome = fit(
            problem, truth, schedule, settings, streams, stopping=stopping, device=device,
            progress=bar.update, each=ends,
        )  # fmt: skip
    title = f"{picture.label}, {schedule_name}, seed {seed}"
    write_run(
        folder, picture.pixels, problem.picture, outcome, schedule, title, snapshots is not None
    )
    return outcome, folder, interrupted()


def _print_outcome(console: Console, outcome: Outcome, budget: int, folder: Path) -> None:
    from dipstage.terminal.display import outcome_table

    if outcome.iterations:
        console.print(outcome_table(outcome))
    resets = f", {outcome.resets} resets to earlier weights" if outcome.resets else ""
    console.print(
        f"stopped after {outcome.iterations} of {budget} iterations "
        f"({_REASONS[outcome.stop]}){resets}; {outcome.wall_s:.1f} s, "
        f"{outcome.iterations_per_s:.1f} iterations/s on {outcome.device}, {outcome.precision}",
        markup=False,
    )
    console.print(f"written to {folder}/", markup=False)


def _facts(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return what --json prints of a training."""
    from dipstage.documents.records import to_plain
    from dipstage.schedules.stopping import OUTPUTS

    names = "stop", "iterations", "resets", "wall_s", "iterations_per_s", "device"
    scores: dict[str, Any] = {
        output: to_plain(outcome.scores(output), {}) if outcome.iterations else None
        for output in OUTPUTS
    }
    facts: dict[str, Any] = {name: getattr(outcome, name) for name in names}
    return {**facts, "arithmetic": outcome.precision, **scores, "folder": str(folder)}
