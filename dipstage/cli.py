"""dipstage: train one picture with a schedule, and show schedules."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dipstage.console import Commands, make_console, table
from dipstage.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dipstage.outcome import Outcome
    from dipstage.schedules import Schedule
    from dipstage.settings import TrainerSettings
    from dipstage.stopping import Output
    from dipstage.trainer import Progress


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dipsearch", prog_name="dipstage")
def main() -> None:
    """Staged Deep Image Prior: restore one picture through a schedule of noised targets."""


@main.command()
@click.argument("image")
@click.option(
    "--schedule",
    "schedule_name",
    default="baseline",
    show_default=True,
    metavar="PRESET|FILE",
    help="A preset such as log10 or sharp-linear:stages=50,x=10, or a schedule file.",
)
@click.option(
    "--sigma",
    type=float,
    default=25.0,
    show_default=True,
    help="Noise of the observation, on the 0 … 255 scale.",
)
@click.option(
    "--iterations",
    type=int,
    help="Budget [default: the schedule file's, else 2000]. A schedule file is rescaled to it.",
)
@click.option(
    "--size",
    type=int,
    help="Centre crop and resize to this side [default: keep, cropped to the network's multiple].",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of observation, weights and all noise.",
)
@click.option("--width", type=int, default=128, show_default=True, help="Channels of the network.")
@click.option("--scales", type=int, default=5, show_default=True, help="Scales of the network.")
@click.option(
    "--learning-rate", type=float, help="Adam's [default: the schedule file's, else 0.01]."
)
@click.option(
    "--oracle-stop",
    type=click.Choice(["raw", "smoothed"]),
    help="Stop in the last stage once PSNR_GT of this output has not risen for "
    "--patience iterations. Looks at the ground truth.",
)
@click.option(
    "--patience",
    type=int,
    default=150,
    show_default=True,
    help="Iterations without a rise; also the distance from the end within which a "
    "maximum counts as censored.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads [default: 1 up to 128 × 128 pixels, where more do not help, else all]. "
    "Results are the same bytes for the same number.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for curves.csv, pictures and plot [default: out/IMAGE-SCHEDULE-seedN].",
)
def run(
    image: str,
    schedule_name: str,
    sigma: float,
    iterations: int | None,
    size: int | None,
    seed: int,
    width: int,
    scales: int,
    learning_rate: float | None,
    oracle_stop: Output | None,
    patience: int,
    threads: int | None,
    device: str,
    output: Path | None,
) -> None:
    """Train one network on IMAGE, noised, and score it against IMAGE itself.

    IMAGE is a PNG, JPEG, TIFF or WebP file, or skimage:NAME for a picture that scikit-image
    carries.
    """
    from dipstage.settings import TrainerSettings

    if not (math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"--sigma must be a finite number, not negative, got {sigma}")
    schedule, learning_rate = _load(schedule_name, iterations, learning_rate)
    settings = TrainerSettings(
        iterations=schedule.iterations,
        width=width,
        scales=scales,
        learning_rate=learning_rate,
        patience=patience,
        oracle_stop=oracle_stop is not None,
    )
    console = make_console()
    outcome = _train(
        console,
        image,
        size,
        sigma,
        seed,
        schedule,
        settings,
        oracle_stop,
        threads,
        device,
        output,
        schedule_name,
    )
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
    sigma: float,
    seed: int,
    schedule: Schedule,
    settings: TrainerSettings,
    oracle_stop: Output | None,
    threads: int | None,
    device: str,
    output: Path | None,
    schedule_name: str,
) -> Outcome:
    from dipstage.images import load_picture, save_png

    picture = load_picture(image, size=size, multiple=settings.multiple)
    for notice in picture.notices:
        console.print(f"notice: {notice}", markup=False)
    device = _choose_device(device)
    label = Path(schedule_name).stem.replace(":", "-").replace("=", "").replace(",", "-")
    folder = output or Path("out") / f"{picture.label}-{label}-seed{seed}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be made: {error.strerror}") from None

    from dipstage.plots import plot_curves, save_figure
    from dipstage.randomness import Streams
    from dipstage.stopping import FullBudget, OraclePeak
    from dipstage.trainer import fit, observe

    truth = picture.tensor()
    _use_threads(threads, truth.shape[-1] * truth.shape[-2])
    streams = Streams(picture.digest, seed)
    observation = observe(truth, sigma, streams)
    with _ProgressBar(console, schedule.iterations) as bar:
        outcome = fit(
            observation,
            truth,
            schedule,
            settings,
            streams,
            stopping=OraclePeak(oracle_stop, settings.patience)
            if oracle_stop
            else FullBudget(settings.patience),
            device=device,
            progress=bar.update,
        )

    from dipstage.documents import write_whole

    write_whole(folder / "curves.csv", outcome.trace.csv())
    save_png(folder / "ground_truth.png", picture.pixels)
    save_png(folder / "observation.png", observation[0].numpy())
    if outcome.iterations:
        save_png(folder / "best_raw.png", outcome.best_raw)
        save_png(folder / "best_smoothed.png", outcome.best_smoothed)
        title = f"{picture.label}, {schedule_name}, seed {seed}"
        save_figure(plot_curves(outcome, schedule, title), folder / "curves.png")
        console.print(_outcome_table(outcome))
    console.print(
        f"stopped: {outcome.stop.value} after {outcome.iterations} of {schedule.iterations} "
        f"iterations, {outcome.resets} resets, {outcome.wall_s:.1f} s "
        f"({outcome.iterations_per_s:.1f} iterations/s on {outcome.device})",
        markup=False,
    )
    console.print(f"written to {folder}/", markup=False)
    return outcome


def _outcome_table(outcome: Outcome) -> Table:
    from dipstage.stopping import OUTPUTS

    rows = []
    for output in OUTPUTS:
        scores = outcome.scores(output)
        rows.append(
            [
                output,
                f"{scores.steps_to_max}{' (censored)' if scores.censored else ''}",
                f"{scores.max_psnr_gt_db:.2f}",
                str(scores.steps_to_max_ssim_gt),
                f"{scores.max_ssim_gt:.3f}",
                f"{scores.final_psnr_gt_db:.2f}",
            ]
        )
    return table(
        [
            "output",
            "steps to max PSNR_GT",
            "max PSNR_GT (dB)",
            "steps to max SSIM_GT",
            "max SSIM_GT",
            "final PSNR_GT (dB)",
        ],
        rows,
    )


def _load(name: str, iterations: int | None, learning_rate: float | None) -> tuple[Schedule, float]:
    """The schedule for the budget, and the learning rate it wants."""
    from dipstage.presets import PRESETS, parse_preset
    from dipstage.settings import TrainerSettings

    default = TrainerSettings()
    if name.partition(":")[0] in PRESETS:
        budget = default.iterations if iterations is None else iterations
        schedule = parse_preset(name).schedule(budget)
    else:
        path = Path(name)
        if not path.suffix and not path.exists():
            raise InputError(
                f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}, or a schedule file"
            )
        from dipstage.files import read_schedule_file

        content = read_schedule_file(path)
        schedule = content.schedule
        if iterations is not None and iterations != schedule.iterations:
            schedule = schedule.scaled(iterations)
        if learning_rate is None and content.measured is not None:
            learning_rate = content.measured.trainer.learning_rate
    return schedule, default.learning_rate if learning_rate is None else learning_rate


def _use_threads(threads: int | None, pixels: int) -> None:
    import torch

    if threads is None and pixels <= 128 * 128:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)


def _choose_device(name: str) -> str:
    import torch

    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs")
    return name


class _ProgressBar:
    """Iteration, stage, PSNR_GT, best so far and time left; silent where nobody watches."""

    def __init__(self, console: Console, iterations: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[scores]}"),
            TimeLeft(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=iterations, scores="")

    def __enter__(self) -> _ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, now: Progress) -> None:
        """Show a block's progress."""
        best = f"{now.best_psnr_gt_db['raw']:.2f} at {now.best_iteration['raw']}"
        self._bar.update(
            self._task,
            completed=now.iteration + 1,
            description=f"stage {now.stage + 1}/{now.stages}",
            scores=f"PSNR_GT {now.psnr_gt_db['raw']:.2f} dB, best {best}",
        )


@main.command()
@click.argument("name", required=False, metavar="[PRESET|FILE]")
@click.option("--iterations", type=int, help="Budget [default: the schedule file's, else 2000].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def schedules(name: str | None, iterations: int | None, as_json: bool) -> None:
    """List the presets, or show one schedule as a staircase."""
    from dipstage.presets import PRESETS

    console = make_console()
    names = [name] if name else list(PRESETS)
    loaded = {each: _load(each, iterations, None)[0] for each in names}
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
        click.echo(json.dumps(content[0] if name else content, indent=2))
    elif name:
        console.print(_staircase(name, loaded[name]))
    else:
        rows = [
            [each, str(len(s.stages)), str(s.ramp), str(s.iterations)] for each, s in loaded.items()
        ]
        console.print(table(["preset", "stages", "ramp (iterations)", "iterations"], rows))
        console.print("Show one: dipstage schedules log10 --iterations 600", markup=False)


def _staircase(name: str, schedule: Schedule) -> Table:
    cells = 40
    rows = []
    for i, (stage, start) in enumerate(zip(schedule.stages, schedule.starts, strict=True)):
        left = start * cells // schedule.iterations
        length = max(1, (start + stage.iterations) * cells // schedule.iterations - left)
        bar = " " * min(left, cells - 1) + "█" * length
        rows.append(
            [
                str(i + 1),
                f"{stage.alpha_bar:.4g}",
                str(start),
                str(stage.iterations),
                f"{stage.iterations / schedule.iterations:.1%}",
                bar,
            ]
        )
    return table(
        ["stage", "alpha_bar", "first iteration", "iterations", "share", "over the budget"],
        rows,
        title=f"{name}: {len(schedule.stages)} stages, ramp {schedule.ramp} of "
        f"{schedule.iterations} iterations",
        left=(0, 5),
    )


if __name__ == "__main__":
    main()
