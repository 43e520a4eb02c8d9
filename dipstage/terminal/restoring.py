"""`dipstage restore`: restore a photograph."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.arguments import point_for_comma
from dipstage.errors import InputError, WorkError
from dipstage.terminal.console import confirmed, echo_json, json_option, make_console
from dipstage.terminal.devices import (
    choose_device,
    device_option,
    out_of_memory_said,
    refuse_too_large,
    use_threads,
)
from dipstage.terminal.number_types import Finite, Whole
from dipstage.terminal.numbers import duration
from dipstage.terminal.restored_files import Files
from dipstage.terminal.restored_words import (
    LONG_S,
    advice,
    chosen,
    comparison,
    comparison_table,
    cost,
)

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from dipstage.pictures.photographs import Photograph
    from dipstage.restoration.choosing import StopName, TaskName
    from dipstage.restoration.restoring import Plan, Restored
    from dipstage.tasks.inpaint import Mask

_PREVIEW_EVERY = 50


class _Sigma(click.ParamType[float | None]):
    """`auto`, which becomes None, or a number."""

    name = "auto|N"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float | None:
        try:
            return None if value == "auto" else Finite().convert(value, parameter, context)
        except InputError:
            raise InputError(
                f"--sigma must be auto or a number in plain digits, got {value!r}"
                + point_for_comma(value)
            ) from None


_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("photo")
@click.option(
    "--task",
    type=click.Choice(["denoise", "inpaint", "super_resolve"]),
    default="denoise",
    show_default=True,
    help="What to undo: noise, missing pixels (--mask) or a low resolution (--factor).",
)
@click.option(
    "--sigma",
    type=_Sigma(),
    default="auto",
    show_default=True,
    help="Standard deviation of the noise, on the 0 … 255 scale. auto estimates it for denoise. "
    "For inpaint, auto leaves the known pixels unchanged, and a number restores them as well.",
)
@click.option("--mask", metavar="FILE", help="White where a pixel is known, black where missing.")
@click.option("--factor", type=Whole(), help="How many times larger the sides become: 2 or 4.")
@click.option(
    "--schedule",
    "schedule_name",
    default="auto",
    show_default=True,
    metavar="auto|PRESET|fast|best|FILE",
    help="Noise levels to train through. For denoise, auto takes the published schedule for the "
    "nearest size and noise, and prefers best to fast where both are equally near. For other "
    "tasks, it takes baseline, plain DIP.",
)
@click.option(
    "--stop",
    type=click.Choice(["emv", "wmv", "none"]),
    default="emv",
    show_default=True,
    help="Stopping rule. emv and wmv stop at the minimum variance of the outputs: emv gives "
    "earlier outputs exponentially decreasing weights, wmv takes the last 100. none trains over "
    "the whole budget.",
)
@click.option(
    "--iterations",
    type=Whole(),
    help="Maximum number of iterations, the budget [default: the schedule file's, or more if there "
    "is less noise; 2000 for presets]. The run ends earlier once the variance has reached no new "
    "minimum for a tenth of the budget, or for 150 iterations if that is more.",
)
@click.option(
    "--size", type=Whole(), metavar="N", help="Shrink PHOTO so that its longer side has N pixels."
)
@click.option(
    "--runs",
    type=Whole(least=1),
    default=1,
    show_default=True,
    help="Number of networks whose results are averaged. As many are trained at the same time as "
    "memory and, on a CPU, threads allow.",
)
@click.option(
    "--seed",
    type=Whole(least=0),
    default=0,
    show_default=True,
    help="Seed of the first run.",
)
@click.option("--width", type=Whole(), help="Channels of the network at each scale.")
@click.option("--scales", type=Whole(), help="Number of scales of the network.")
@click.option(
    "--threads",
    type=Whole(1, 256),
    help="CPU threads of all runs, of which each has an equal share [default: one for each core, "
    "but for up to 128 × 128 pixels only one for each run].",
)
@device_option
@click.option(
    "--output",
    type=_FILE,
    metavar="FILE",
    help="The restored photograph, .png, .jpg, .tif or .webp [default: a new file PHOTO-restored "
    "beside it].",
)
@click.option("--output-raw", type=_FILE, metavar="FILE", help="Also write the raw output.")
@click.option(
    "--preview",
    type=_FILE,
    metavar="FILE",
    help=f"Write the current smoothed output to FILE every {_PREVIEW_EVERY} iterations.",
)
@click.option(
    "--yes", is_flag=True, help="Start without asking, even if it takes more than five minutes."
)
@click.option(
    "--compare",
    is_flag=True,
    help="Also denoise with scikit-image's non-local means and wavelets. Their times are printed, "
    "and their pictures are written beside --output.",
)
@click.option(
    "--truth",
    metavar="FILE",
    help="The clean photograph, if there is one: PSNR is printed, and nothing else changes.",
)
@json_option
def restore(
    photo: str,
    task: TaskName,
    sigma: float | None,
    mask: str | None,
    factor: int | None,
    schedule_name: str,
    stop: StopName,
    iterations: int | None,
    size: int | None,
    runs: int,
    seed: int,
    width: int | None,
    scales: int | None,
    threads: int | None,
    device: str,
    output: Path | None,
    output_raw: Path | None,
    preview: Path | None,
    yes: bool,
    compare: bool,
    truth: str | None,
    as_json: bool,
) -> None:
    """Restore PHOTO without a clean original.

    PHOTO is a PNG, JPEG, TIFF or WebP file. Its depth, transparency and Exif are kept. After
    Ctrl-C, the result so far is written.
    """
    from dipstage.pictures.images import resized
    from dipstage.pictures.photographs import load_photograph
    from dipstage.restoration.choosing import check_task
    from dipstage.restoration.restoring import planned
    from dipstage.tasks.inpaint import read_mask, shrunk

    check_task(task, sigma, mask, factor)
    if compare and task != "denoise":
        raise InputError("--compare is only for --task denoise")
    given = load_photograph(photo)
    known = read_mask(mask) if mask is not None else None
    clean = load_photograph(truth, "ground truth") if truth is not None else None
    _check_sides(given, known, clean, factor)
    small = given.resized(size) if size is not None else given
    files = Files.checked(small, factor or 1, output, output_raw, preview, compare)
    files.refuse_inputs(photo, mask, truth, schedule_name)
    console = make_console(going_on=True)
    for notice in [n for each in (given, known, clean) if each for n in each.notices]:
        console.print(f"notice: {notice}", markup=False)
    network = {"width": width, "scales": scales}
    plan = planned(
        small.pixels,
        task=task,
        sigma_255=sigma,
        mask=None if known is None else shrunk(known.white, small.pixels.shape[:2])[..., 0],
        factor=factor,
        schedule=schedule_name,
        stop=stop,
        iterations=iterations,
        network={key: value for key, value in network.items() if value is not None},
    )
    device = choose_device(device)
    for line in chosen(plan, given, small, sigma, compare):
        console.print(line, markup=False)
    restored, interrupted = _train(console, plan, small, files, runs, seed, threads, device, yes)
    finished = small.with_sides(restored.picture)
    files.write_output(finished)
    if files.raw is not None:
        files.write(files.raw, finished.with_sides(restored.raw))
    console.print(f"stopped: {restored.why}", markup=False)
    console.print(
        f"{restored.iterations} iterations in {restored.wall_s:.1f} s on "
        f"{restored.outcomes[0].device}, written to {files.output}",
        markup=False,
    )
    methods = {f"dipstage, {plan.schedule_name}": (restored.picture, restored.wall_s)}
    if compare:
        from dipstage.restoration.classical import classical

        methods |= classical(small, plan.sigma_255 or 0.0)
        for name, path in files.compared.items():
            if name in methods:
                files.write(path, small.with_sides(methods[name][0]))
                console.print(f"{name} written to {path}", markup=False)
    aim = None if clean is None else resized(clean.pixels, plan.sides)
    compared = comparison(plan, methods, aim)
    if compare or clean is not None:
        console.print(comparison_table(compared))
    if not interrupted:
        has_stopped = restored.stop != "budget" or plan.found_minimum(restored.outcomes[0])
        for line in advice(task, stop, compare, has_stopped):
            console.print(line, markup=False)
    if as_json:
        echo_json(
            {
                "output": str(files.output),
                "sigma_255": plan.sigma_255,
                "schedule": plan.schedule_name,
                "stop": "interrupted" if interrupted else restored.stop,
                "iterations": restored.iterations,
                "wall_s": restored.wall_s,
                "device": restored.outcomes[0].device,
                "methods": compared,
            }
        )
    if interrupted:
        raise KeyboardInterrupt


def _check_sides(
    photo: Photograph, mask: Mask | None, truth: Photograph | None, factor: int | None
) -> None:
    """Raise InputError if mask or ground truth do not fit the photograph."""
    height, width, channels = photo.pixels.shape
    if mask is not None and mask.white.shape[:2] != (height, width):
        raise InputError(
            f"the mask is {mask.white.shape[1]} × {mask.white.shape[0]} and the photograph "
            f"{width} × {height}: give a mask of the photograph's size"
        )
    wanted = height * (factor or 1), width * (factor or 1), channels
    if truth is not None and truth.pixels.shape != wanted:
        found, colours = truth.pixels.shape, {1: "in grey", 3: "in colour"}
        raise InputError(
            f"--truth is {found[1]} × {found[0]} {colours[found[2]]}: it must be {wanted[1]} × "
            f"{wanted[0]} {colours[wanted[2]]}, as the photograph is"
            + (f", {factor} times larger" if factor else "")
        )


def _train(
    console: Console, plan: Plan, photo: Photograph, files: Files, runs: int, seed: int,
    threads: int | None, device: str, yes: bool,
) -> tuple[Restored, bool]:  # fmt: skip
    """Estimate, ask and train; also return whether an interrupt came, in whichever run."""
    from dipstage.interrupts import deferred
    from dipstage.terminal.display import RestorationBar

    height, width = plan.problem.picture.shape[2:]
    use_threads(threads, height * width, runs)
    refuse_too_large(plan.estimated_bytes(), plan.settings, height, width, device)
    at_once = plan.at_once(runs, device)
    failed = False

    def show(iteration: int, pictures: Tensor) -> bool:
        nonlocal failed
        if files.preview and iteration % _PREVIEW_EVERY == 0:
            picture = plan.cropped([pictures[1].cpu().numpy()])
            try:
                files.try_write(files.preview, photo.with_sides(picture))
            except (InputError, WorkError, OSError) as error:
                if not failed:
                    console.print(f"notice: {error}; the training goes on", markup=False)
                failed = True
        return interrupted()

    lower = "--size, --width or --runs" if runs > 1 else "--size or --width"
    with out_of_memory_said(device, lower):
        with console.status("measuring how long this takes"):
            seconds = plan.estimated_s(runs, at_once, device)
            alone = None
            if seconds > LONG_S and runs == 1 and threads is None and device == "cpu":
                alone = _one_thread_s(plan)
        console.print(cost(plan, seconds, runs, at_once, device, alone), markup=False)
        if seconds > LONG_S and not yes:
            _ask(seconds)
        with (
            RestorationBar(console, plan.schedule.iterations, runs, plan.rule) as bar,
            deferred() as interrupted,
        ):
            restored = plan.run(
                runs=runs, at_once=at_once, seed=seed, device=device, progress=bar.update, each=show
            )
    return restored, interrupted()


def _one_thread_s(plan: Plan) -> float | None:
    """Return how long a run takes with one thread, where more would be used."""
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        return None
    torch.set_num_threads(1)
    try:
        return plan.estimated_s(1, 1, "cpu")
    finally:
        torch.set_num_threads(threads)


def _ask(seconds: float) -> None:
    if not sys.stdin.isatty():
        raise InputError(
            f"this takes up to {duration(seconds)}: lower --size or --iterations, or confirm it "
            "by --yes"
        )
    if not confirmed("Continue?", default=True):
        raise InputError("nothing was done: lower --size or --iterations to take less time")
