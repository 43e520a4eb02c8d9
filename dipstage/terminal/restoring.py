"""`dipstage restore`: restore a photograph."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError, WorkError
from dipstage.terminal.console import echo_json, json_option, make_console, table
from dipstage.terminal.devices import choose_device, refuse_too_large, use_threads
from dipstage.terminal.restored_files import Files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from torch import Tensor

    from dipstage.choosing import StopName, Task
    from dipstage.photographs import Photograph
    from dipstage.restoring import Plan, Restored
    from dipstage.terminal.fitted import FittedTable

_ASKED_ABOVE_S = 300
_PREVIEW_EVERY = 50
_LITTLE_NOISE_255 = 5.0


class _Sigma(click.ParamType[float | None]):
    """`auto`, which becomes None, or a number."""

    name = "auto|N"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float | None:
        if value == "auto" or isinstance(value, float):
            return None if value == "auto" else value
        try:
            return float(value)
        except ValueError:
            raise InputError(f"--sigma must be auto or a number, got {value!r}") from None


_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("photo")
@click.option(
    "--task",
    type=click.Choice(["denoise", "inpaint", "super_resolve"]),
    default="denoise",
    show_default=True,
    help="What is wrong with PHOTO: noise, missing pixels (--mask), or too few (--factor).",
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
@click.option("--factor", type=int, help="How many times larger the sides become: 2 or 4.")
@click.option(
    "--schedule",
    "schedule_name",
    default="auto",
    show_default=True,
    metavar="auto|PRESET|fast|best|FILE",
    help="For denoise, auto takes the published schedule for the nearest size and noise, best "
    "rather than fast. Without one, and for other tasks, it takes baseline, plain DIP.",
)
@click.option(
    "--stop",
    type=click.Choice(["emv", "wmv", "none"]),
    default="emv",
    show_default=True,
    help="Stop at the minimum of the outputs' variance: emv weights outputs exponentially, wmv "
    "takes the last 100. none trains over the whole budget.",
)
@click.option(
    "--iterations",
    type=int,
    help="Budget [default: the schedule file's, else 2000]. The run ends once the variance "
    "has not fallen for a tenth of it, at least 150.",
)
@click.option("--size", type=int, metavar="N", help="Shrink PHOTO to a longer side of N pixels.")
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of networks whose outputs are averaged. They are trained at the same time on a "
    "GPU, one after the other on a CPU.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the first run.",
)
@click.option("--width", type=int, help="Channels of the network, as in dipstage run.")
@click.option("--scales", type=int, help="Scales of the network, as in dipstage run.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads, as in dipstage run.")
@click.option("--device", default="auto", show_default=True, help="As in dipstage run.")
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
    help="Also denoise with non-local means and wavelets of scikit-image: a table, and their "
    "pictures beside --output.",
)
@click.option(
    "--truth",
    metavar="FILE",
    help="The clean photograph, if there is one: PSNR is printed, and nothing else changes.",
)
@json_option
def restore(
    photo: str,
    task: Task,
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
    Ctrl-C, the best output so far is written.
    """
    from dipstage.photographs import load_photograph
    from dipstage.restoring import planned

    if compare and task != "denoise":
        raise InputError("--compare is only for --task denoise")
    given = load_photograph(photo)
    known = load_photograph(mask, "mask") if mask else None
    clean = load_photograph(truth, "ground truth") if truth else None
    files = Files.checked(given, task, output, output_raw, preview, compare)
    files.refuse_inputs(photo, mask, truth, schedule_name)
    _check_sides(given, known, clean, factor)
    small = given.resized(size) if size is not None else given
    console = make_console(going_on=True)
    for notice in given.notices:
        console.print(f"notice: {notice}", markup=False)
    network = {"width": width, "scales": scales}
    plan = planned(
        small.pixels,
        task=task,
        sigma_255=sigma,
        mask=None if known is None else _known_pixels(known, small),
        factor=factor,
        schedule=schedule_name,
        stop=stop,
        iterations=iterations,
        network={key: value for key, value in network.items() if value is not None},
    )
    device = choose_device(device)
    _announce(console, plan, sigma, small is not given)
    restored = _train(console, plan, small, files, runs, seed, threads, device, yes)
    finished = small.with_sides(restored.picture)
    files.write(files.output, finished)
    if files.raw is not None:
        files.write(files.raw, finished.with_sides(restored.raw))
    console.print(f"stopped: {restored.why}", markup=False)
    wall_s = sum(outcome.wall_s for outcome in restored.outcomes)
    console.print(
        f"{restored.iterations} iterations in {wall_s:.1f} s on {restored.outcomes[0].device}, "
        f"written to {files.output}",
        markup=False,
    )
    methods = {f"dipstage, {plan.schedule_name}": (restored.picture, wall_s)}
    if compare:
        from dipstage.classical import classical

        methods |= classical(small, plan.sigma_255 or 0.0)
        for name, path in files.compared.items():
            if name in methods:
                files.write(path, small.with_sides(methods[name][0]))
    aim = clean and (clean.resized(size * (factor or 1)) if size is not None else clean)
    compared = _compared(plan, methods, aim)
    if compare or clean:
        console.print(_comparison(compared))
    if as_json:
        echo_json(
            {
                "output": str(files.output),
                "sigma_255": plan.sigma_255,
                "schedule": plan.schedule_name,
                "stop": restored.stop,
                "iterations": restored.iterations,
                "wall_s": wall_s,
                "device": restored.outcomes[0].device,
                "methods": compared,
            }
        )
    if restored.stop == "interrupted":
        raise KeyboardInterrupt


def _check_sides(
    photo: Photograph, mask: Photograph | None, truth: Photograph | None, factor: int | None
) -> None:
    """Raise InputError if mask or ground truth do not fit the photograph."""
    height, width, channels = photo.pixels.shape
    if mask is not None and mask.pixels.shape[:2] != (height, width):
        raise InputError(
            f"the mask is {mask.pixels.shape[1]} × {mask.pixels.shape[0]} and the photograph "
            f"{width} × {height}: give a mask of the photograph's size"
        )
    wanted = height * (factor or 1), width * (factor or 1), channels
    if truth is not None and truth.pixels.shape != wanted:
        found = truth.pixels.shape
        raise InputError(
            f"--truth is {found[1]} × {found[0]} with {found[2]} channels, and the restored "
            f"photograph would be {wanted[1]} × {wanted[0]} with {wanted[2]}"
        )


def _known_pixels(mask: Photograph, photo: Photograph) -> NDArray[np.bool_]:
    """Return (H, W) of the photograph: whether a pixel is known."""
    from dipstage.photographs import resized

    white = (mask.pixels.mean(axis=2, keepdims=True) >= 0.5).astype(mask.pixels.dtype)
    # A pixel that was shrunk from known and missing ones is missing.
    known: NDArray[np.bool_] = resized(white, photo.pixels.shape[:2])[..., 0] > 0.999
    return known


def _announce(console: Console, plan: Plan, sigma: float | None, is_smaller: bool) -> None:
    """Say what was chosen."""
    if plan.sigma_255 is not None:
        how = "estimated" if sigma is None else "as given"
        console.print(f"noise: sigma {plan.sigma_255:.1f}, {how}", markup=False)
        if plan.sigma_255 < _LITTLE_NOISE_255:
            console.print(
                "notice: little noise, so that the network may remove more detail than noise"
                + (" (--size averages noise away)" if is_smaller else ""),
                markup=False,
            )
    settings = plan.settings
    console.print(
        f"schedule: {plan.evidence or plan.schedule_name}; at most {plan.schedule.iterations} "
        f"iterations, width {settings.width}, {settings.scales} scales",
        markup=False,
    )


def _train(
    console: Console, plan: Plan, photo: Photograph, files: Files, runs: int, seed: int,
    threads: int | None, device: str, yes: bool,
) -> Restored:  # fmt: skip
    """Estimate, ask and train."""
    from dipstage.interrupts import deferred
    from dipstage.memory import is_out_of_memory
    from dipstage.stopping import VarianceMinimum
    from dipstage.terminal.display import RestorationBar

    height, width = plan.problem.picture.shape[2:]
    use_threads(threads, height * width)
    side_by_side = runs if device.startswith("cuda") else 1
    wanted = refuse_too_large(plan.settings, height, width, device, together=side_by_side)
    if plan.rule.windowed:
        wanted += 400 * plan.problem.picture[0].numel() * side_by_side

    def show(iteration: int, pictures: Tensor) -> bool:
        if files.preview and iteration % _PREVIEW_EVERY == 0:
            picture = plan.cropped([pictures[1].cpu().numpy()])
            files.write(files.preview, photo.with_sides(picture))
        return interrupted()

    try:
        seconds = plan.seconds_per_iteration(device) * plan.schedule.iterations * runs
        early = "at most " if isinstance(plan.rule, VarianceMinimum) else ""
        console.print(
            f"takes {early}{_duration(seconds)} and about {wanted / 1e9:.1f} GB on {device}",
            markup=False,
        )
        if seconds > _ASKED_ABOVE_S and not yes:
            _ask(seconds)
        with (
            RestorationBar(console, plan.schedule.iterations, runs, plan.rule) as bar,
            deferred() as interrupted,
        ):
            return plan.run(runs=runs, seed=seed, device=device, progress=bar.update, each=show)
    except Exception as error:
        if is_out_of_memory(error):
            raise WorkError(f"memory ran out on {device}: lower --size or --width") from None
        raise


def _ask(seconds: float) -> None:
    if not sys.stdin.isatty():
        raise InputError(
            f"this takes up to {_duration(seconds)}: lower --size or --iterations, or confirm it "
            "by --yes"
        )
    if not click.confirm("Continue?", default=True):
        raise InputError("nothing was done: lower --size or --iterations to take less time")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _compared(
    plan: Plan,
    methods: dict[str, tuple[NDArray[np.float32], float]],
    truth: Photograph | None,
) -> list[dict[str, Any]]:
    """Return the time of each method, and its PSNR if there is a ground truth."""
    import numpy as np

    rows: list[dict[str, Any]] = []
    unrestored = plan.cropped([plan.problem.picture[0].numpy()])
    for name, (picture, seconds) in {"photograph": (unrestored, None), **methods}.items():
        rows.append({"name": name, "wall_s": seconds})
        if truth is not None:
            mse = float(np.mean((picture.astype(np.float64) - truth.pixels) ** 2))
            rows[-1]["psnr_db"] = -10 * math.log10(mse) if mse else math.inf
    return rows


def _comparison(compared: list[dict[str, Any]]) -> FittedTable:
    """Return the table of times, and of PSNR if there is a ground truth."""
    rows = [
        [
            each["name"],
            "" if each["wall_s"] is None else f"{each['wall_s']:.2f}",
            *([f"{each['psnr_db']:.2f}".replace("inf", "∞")] if "psnr_db" in each else []),
        ]
        for each in compared
    ]
    columns = ["", "time (s)"] + (["PSNR (dB)"] if "psnr_db" in compared[0] else [])
    return table(columns, rows)
