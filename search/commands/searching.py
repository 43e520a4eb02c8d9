"""launch, resume, verify: the commands that train."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from dipstage.errors import InputError
from dipstage.interrupts import terminable
from dipstage.terminal.console import echo_json, json_option, make_console
from search.commands.reporting import make_report
from search.commands.shared import (
    accept_changes_option,
    address_option,
    experiment_options,
    front_and_candidates,
    resources_option,
    run_options,
    runs_dir_flag,
    runs_dir_option,
    storage_option,
    with_run,
)
from search.presentation.rows import write_rows

if TYPE_CHECKING:
    from search.execution.view import View
    from search.store.run import RunRecord

T = TypeVar("T")
N = TypeVar("N", int, float)


@click.command()
@experiment_options
@click.option("--concurrent", type=int, help="Number of trials that run at a time.")
@click.option("--seed", type=int, help="Seed of the sampler.")
@address_option
@json_option
@storage_option
@runs_dir_option
def launch(
    experiment: Path,
    name: str | None,
    trials: int | None,
    concurrent: int | None,
    seed: int | None,
    overrides: tuple[str, ...],
    address: str | None,
    as_json: bool,
    storage: str | None,
    runs_dir: Path,
) -> None:
    """Start the search that EXPERIMENT describes.

    EXPERIMENT is a file, or the name of an experiment that comes with the package, such as
    quickstart.
    """
    from search.experiment.packaged import experiment_file
    from search.experiment.reading import load_experiment

    flags = {
        "name": json.dumps(name) if name is not None else None,
        "search.trials": trials,
        "resources.concurrent": concurrent,
        "search.seed": seed,
    }
    given = tuple(f"{key}={value}" for key, value in flags.items() if value is not None)
    loaded = load_experiment(experiment_file(experiment), overrides + given)

    def start(view: View) -> RunRecord:
        from search.execution.driver import launch as launch_search

        return launch_search(loaded, runs_dir=runs_dir, storage=storage, address=address, view=view)

    _run_search(start, loaded.name, runs_dir, as_json)


@click.command()
@click.option("--trials", type=int, help="Total number of sampled trials to continue to.")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The experiment with new paths, if its pictures have moved.",
)
@accept_changes_option
@address_option
@json_option
@run_options
def resume(
    name: str,
    trials: int | None,
    experiment: Path | None,
    accept_changes: bool,
    address: str | None,
    as_json: bool,
    storage: str | None,
    runs_dir: Path,
) -> None:
    """Continue RUN after an interruption, or with more trials than first asked for."""
    from search.experiment.reading import load_experiment
    from search.store.paths import find_run

    folder = find_run(name, runs_dir)
    given = None if experiment is None else load_experiment(experiment)

    def start(view: View) -> RunRecord:
        from search.execution.driver import drive
        from search.store.run import RunRecord

        return drive(
            RunRecord.at(folder, folder.name, storage), trials=trials, address=address, view=view,
            given=given, accept_changes=accept_changes,
        )  # fmt: skip

    _run_search(start, folder.name, folder.parent, as_json)


def _run_search(
    start: Callable[[View], RunRecord], name: str, runs_dir: Path, as_json: bool
) -> None:
    """Run a search under a view, then show its results and suggest the next commands."""
    try:
        run = _run_with_view(start)
    except KeyboardInterrupt:
        _exit_interrupted("resume", name, runs_dir)
    _show_results(run, runs_dir, as_json)


def _run_with_view(start: Callable[[View], T]) -> T:
    """Run a long task under the view that suits the console."""
    from search.terminal.progress import Lines, LiveView

    console = make_console(going_on=True)
    with terminable():
        if not console.is_terminal:
            return start(Lines(console))
        with LiveView(console) as live:
            return start(live)


def _exit_interrupted(command: str, name: str, runs_dir: Path) -> NoReturn:
    """Print how to continue, and exit with 130."""
    if (runs_dir / name / "experiment.yaml").exists():
        there = runs_dir_flag(runs_dir)
        click.echo(f"interrupted; continue with: dipsearch {command} {name}{there}", err=True)
    else:
        click.echo("interrupted before the run was made", err=True)
    raise SystemExit(130)


def _show_results(run: RunRecord, runs_dir: Path, as_json: bool = False) -> None:
    from dipstage.terminal.plots import save_figure
    from search.plots import plot_front
    from search.terminal.tables import print_findings
    from search.verification.export import choose
    from search.verification.export import export as export_choice

    console = make_console(going_on=True)
    failed = [trial for trial in run.records() if trial.state == "failed"]
    for trial in failed:
        console.print(f"{trial.name} failed: {trial.failure}", markup=False)
    from search.analysis.front import front_of

    if not front_of(run.records()):
        make_report(run)
        click.echo("dipsearch: no trial is complete", err=True)
        raise SystemExit(1)
    rows = front_and_candidates(run)
    if as_json:
        echo_json(rows)
    else:
        print_findings(run, console.print)
    write_rows(rows, run.folder / "pareto.csv")
    # The figure comes last: if it fails, the schedule is written already.
    best = export_choice(run, choose(run, "knee"))
    save_figure(plot_front(run), run.folder / "front.png")
    here = runs_dir_flag(runs_dir)
    console.print(
        f"written: {best}, {run.folder / 'pareto.csv'}, {run.folder / 'front.png'}", markup=False
    )
    size = f" --size {run.experiment.size}" if run.experiment.size else ""
    following = [
        f"dipsearch verify {run.name}{here}",
        f"dipsearch pareto {run.name}{here} --plot front.svg",
        f"dipsearch export {run.name}{here} --pick psnr --output mine.yaml",
        f"dipstage run {shlex.quote(run.experiment.images[0])} --schedule "
        f"{shlex.quote(str(best))}{size}",
    ]
    if run.experiment.space is not None:
        more = 2 * max(run.trials_wanted, 1)
        following.append(f"dipsearch resume {run.name}{here} --trials {more}")
    console.print("next:\n  " + "\n  ".join(following), markup=False, soft_wrap=True)
    make_report(run)


@click.command()
@click.option(
    "--images",
    multiple=True,
    metavar="IMAGE",
    help="A picture that the search has not used: skimage:NAME, a file or a quoted glob. Can be "
    "repeated [default: four pictures of scikit-image].",
)
@click.option(
    "--seeds",
    metavar="N|[A, B, …]",
    help="Number of seeds, or a list of them [default: 4 that the search has not used].",
)
@click.option(
    "--fast",
    metavar="SCHEDULE",
    help="Schedule that is claimed to be faster than plain DIP: a trial's number, a candidate, or "
    "knee, psnr or steps [default: as confirmed, else the front's knee].",
)
@click.option(
    "--best",
    metavar="SCHEDULE",
    help="Schedule that is claimed to have a higher maximum PSNR_GT than plain DIP [default: as "
    "confirmed, else the front's highest PSNR].",
)
@click.option(
    "--claims",
    type=int,
    metavar="N",
    help="Number of claims that the correction counts, with those of other verifications that are "
    "published together [default: those of this run].",
)
@click.option(
    "--alpha",
    type=float,
    metavar="P",
    help="Significance level. Give a part of 0.05 if more looks are planned [default: 0.05].",
)
@click.option(
    "--baseline-iterations",
    type=int,
    metavar="N",
    help="Budget of plain DIP [default and minimum: 1.5 times that of the search].",
)
@click.option(
    "--learning-rates",
    metavar="[A, B, …]",
    help="Learning rates that plain DIP is tuned over, on the search's pictures [default: 0.02, "
    "0.01, 0.005, 0.003, 0.002 and the experiment's].",
)
@click.option(
    "--references",
    type=int,
    metavar="N",
    help="Number of recipes that plain DIP is tuned over, with different learning rates, input "
    "noise and averaging [default and minimum: a quarter of the search's schedules].",
)
@click.option(
    "--smallest-db",
    type=float,
    metavar="DB",
    help="Smallest gain in PSNR_GT that is of interest [default: 0.2].",
)
@click.option(
    "--smallest-ratio",
    type=float,
    metavar="R",
    help="Largest ratio of times that is of interest [default: 0.85].",
)
@click.option(
    "--controls",
    is_flag=True,
    help="Also train each claimed schedule with its stages reversed, shuffled, and with targets of "
    "reduced contrast and no noise.",
)
@click.option(
    "--allow-seen",
    is_flag=True,
    help="Allow pictures and seeds that the search has used. Every output then says so.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Discard the existing verification, and begin one on other pictures.",
)
@resources_option
@accept_changes_option
@address_option
@json_option
@with_run
def verify(
    run: RunRecord,
    images: tuple[str, ...],
    seeds: str | None,
    fast: str | None,
    best: str | None,
    claims: int | None,
    alpha: float | None,
    baseline_iterations: int | None,
    learning_rates: str | None,
    references: int | None,
    smallest_db: float | None,
    smallest_ratio: float | None,
    controls: bool,
    allow_seen: bool,
    restart: bool,
    resources: tuple[str, ...],
    accept_changes: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Test whether schedules of RUN are better than plain DIP, on held-out pictures and seeds.

    What is claimed is declared before anything is trained. dipsearch verify RUN continues an
    interrupted verification, and shows the results of a finished one again.
    """
    from search.store.paths import verification_path
    from search.terminal.verification_tables import print_verification
    from search.verification.result import Verification
    from search.verification.rows import verification_rows

    runs_dir = run.folder.parent
    _refuse_while_searching(run)
    from search.verification.declared import Request
    from search.verification.drive import Hardware
    from search.verification.drive import verify as verify_run

    request = Request(
        images=images or None,
        seeds=_seeds(seeds),
        fast=fast,
        best=best,
        claims=claims,
        alpha=alpha,
        baseline_iterations=baseline_iterations,
        learning_rates=_numbers("--learning-rates", learning_rates, float),
        references=references,
        smallest_db=smallest_db,
        smallest_ratio=smallest_ratio,
        controls=controls,
        allow_seen=allow_seen,
        restart=restart,
    )
    hardware = Hardware(resources, address, accept_changes)
    planned = _written_at(verification_path(run.folder))
    try:
        _run_with_view(lambda view: verify_run(run, request, hardware=hardware, view=view))
    except KeyboardInterrupt:
        now = _written_at(verification_path(run.folder))
        if now is None or (restart and now == planned):
            click.echo("interrupted before the verification began; nothing has changed", err=True)
            raise SystemExit(130) from None
        _exit_interrupted("verify", run.name, runs_dir)
    verification = Verification.open(run)
    assert verification is not None
    rows = verification_rows(verification)
    if as_json:
        echo_json({"verdict": verification.verdict_of_search.value, "comparisons": rows})
    else:
        print_verification(verification, make_console(going_on=True).print)
    path = run.folder / "verification.csv"
    write_rows(rows, path)
    click.echo(f"written: {path}")
    click.echo(f"next:\n  dipsearch export {run.name}{runs_dir_flag(runs_dir)}")
    make_report(run)


@click.command()
@click.option(
    "--images",
    multiple=True,
    metavar="IMAGE",
    help="A picture that the search has not used: skimage:NAME, a file or a quoted glob. At least "
    "six are needed.",
)
@click.option(
    "--seeds",
    metavar="N|[A, B, …]",
    help="Number of seeds, or a list of them [default: 2 that the search has not used].",
)
@click.option(
    "--top", type=int, default=8, show_default=True, metavar="K", help="Number of schedules."
)
@resources_option
@accept_changes_option
@address_option
@json_option
@with_run
def confirm(
    run: RunRecord,
    images: tuple[str, ...],
    seeds: str | None,
    top: int,
    resources: tuple[str, ...],
    accept_changes: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Choose what to verify: train the best schedules of RUN again on other pictures.

    The scores that selected them are optimistic. dipsearch verify takes the schedule that is
    fastest, and the one with the highest maximum PSNR_GT, on these pictures.
    """
    from search.terminal.verification_tables import print_confirmation
    from search.verification.confirmation import Confirmation
    from search.verification.drive import Hardware
    from search.verification.drive import confirm as confirm_run
    from search.verification.rows import confirmation_rows

    _refuse_while_searching(run)
    runs_dir = run.folder.parent
    hardware = Hardware(resources, address, accept_changes)
    try:
        _run_with_view(
            lambda view: confirm_run(run, images, _seeds(seeds), top, hardware=hardware, view=view)
        )
    except KeyboardInterrupt:
        _exit_interrupted("confirm", run.name, runs_dir)
    confirmation = Confirmation.open(run)
    assert confirmation is not None
    picked = {"fast": confirmation.pick("time"), "best": confirmation.pick("psnr")}
    if as_json:
        chosen = {which: found and found.schedule for which, found in picked.items()}
        echo_json({**chosen, "comparisons": confirmation_rows(confirmation)})
    else:
        print_confirmation(confirmation, make_console().print)
    here = runs_dir_flag(runs_dir)
    following = [f"dipsearch verify {run.name}{here}"] + [
        f"dipsearch export {run.name}{here} --pick {which} --output {which}.yaml"
        for which, found in picked.items()
        if found is not None
    ]
    click.echo("next:\n  " + "\n  ".join(following))


def _written_at(path: Path) -> float | None:
    """Return when a file was written; None if it does not exist."""
    return path.stat().st_mtime if path.exists() else None


def _seeds(text: str | None) -> int | tuple[int, ...] | None:
    """Parse a number of seeds, or a list of seeds."""
    if text is not None and text.strip().isdecimal():
        return int(text)
    return _numbers("--seeds", text, int)


def _numbers(option: str, text: str | None, kind: type[N]) -> tuple[N, ...] | None:
    """Parse a list of numbers in YAML; brackets are optional."""
    from dipstage.documents.plain_yaml import parse_yaml

    if text is None:
        return None
    values = parse_yaml(text if text.lstrip().startswith("[") else f"[{text}]", option)
    allowed = (int, float) if kind is float else (int,)
    example = "[0.01, 0.003]" if kind is float else "[7, 8]"
    for value in values:
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise InputError(f"{option} must be a list of numbers such as {example}, got {text!r}")
    if not values:
        raise InputError(f"{option} must not be empty")
    return tuple(kind(value) for value in values)


def _refuse_while_searching(run: RunRecord) -> None:
    """Raise InputError if a driver has the run: its front may still change."""
    if (driver := run.driver()) is not None:
        raise InputError(
            f"run {run.name!r} is still searching ({driver}): wait for its end, or end it with "
            "Ctrl-C"
        )
