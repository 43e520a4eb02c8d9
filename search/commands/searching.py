"""launch, resume: the commands that search."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from dipstage.errors import InputError
from dipstage.interrupts import terminable
from dipstage.terminal.console import echo_json, json_option, make_console, wide_option
from dipstage.terminal.number_types import Finite, Whole
from search.commands.reporting import make_report
from search.commands.shared import (
    accept_changes_option,
    address_option,
    experiment_options,
    front_and_candidates,
    refuse_given_twice,
    run_options,
    runs_dir_option,
    storage_option,
)
from search.store.suggested import run_words

if TYPE_CHECKING:
    from search.execution.view import View
    from search.store.run import RunRecord

T = TypeVar("T")


@click.command()
@experiment_options
@click.option("--concurrent", type=Whole(), help="Number of trials that run at a time.")
@click.option("--seed", type=Whole(), help="Seed of the sampler.")
@wide_option
@address_option
@json_option
@storage_option
@runs_dir_option
def launch(
    experiment: Path,
    name: str | None,
    trials: int | None,
    hours: float | None,
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
    from search.experiment.reading import load_experiment

    flags = {
        "name": json.dumps(name) if name is not None else None,
        "search.trials": trials,
        "search.hours": hours,
        "resources.concurrent": concurrent,
        "search.seed": seed,
    }
    refuse_given_twice(overrides, flags)
    given = tuple(f"{key}={value}" for key, value in flags.items() if value is not None)
    loaded = load_experiment(experiment, overrides + given)

    def start(view: View) -> RunRecord:
        from search.execution.driver import launch as launch_search

        return launch_search(loaded, runs_dir=runs_dir, storage=storage, address=address, view=view)

    _run_search(start, runs_dir / loaded.name, as_json, storage)


@click.command()
@click.option(
    "--trials",
    type=Whole(least=0),
    help="Total number of sampled trials, with those of the run so far.",
)
@click.option(
    "--hours", type=Finite(), help="Total hours of search after which no further trial begins."
)
@click.option(
    "--finish",
    is_flag=True,
    help="Train nothing more: end the search early and write its front, schedule and report.",
)
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Experiment file with the new paths, if its pictures have moved.",
)
@accept_changes_option
@wide_option
@address_option
@json_option
@run_options
def resume(
    name: str,
    trials: int | None,
    hours: float | None,
    finish: bool,
    experiment: Path | None,
    accept_changes: bool,
    address: str | None,
    as_json: bool,
    storage: str | None,
    runs_dir: Path,
) -> None:
    """Continue RUN; --trials and --hours extend it."""
    from search.experiment.reading import load_experiment
    from search.store.paths import find_run

    folder = find_run(name, runs_dir)
    if finish:
        if trials is not None or hours is not None or experiment is not None:
            raise InputError("--finish trains nothing: leave out --trials, --hours, --experiment")
        from search.execution.driver import conclude
        from search.store.run import RunRecord

        run = RunRecord.at(folder, storage)
        conclude(run)
        _show_results(run, as_json)
        return
    given = None if experiment is None else load_experiment(experiment)

    def start(view: View) -> RunRecord:
        from search.execution.driver import drive
        from search.store.run import RunRecord

        run = RunRecord.at(folder, storage)
        if (words := _nothing_left(run, trials, hours)) is not None:
            view.note(words)
        return drive(
            run, trials=trials, hours=hours, address=address, view=view, given=given,
            accept_changes=accept_changes,
        )  # fmt: skip

    _run_search(start, folder, as_json, storage)


def _nothing_left(run: RunRecord, trials: int | None, hours: float | None) -> str | None:
    """Return a sentence if a run has ended and these options do not extend it."""
    from search.analysis.status import status_of

    if trials is not None and trials < run.trials_wanted:
        return None  # It is refused.
    status, is_extended = status_of(run), (trials or 0) > run.trials_wanted
    if run.attributes.ended is not None:
        is_extended = trials is not None or hours is not None
    if status.done < status.wanted or is_extended:
        return None
    more = f"; {_more(run)} continues it" if run.experiment.space is not None else ""
    return f"nothing is left to train: all {status.done} trials of {run.name} have ended{more}"


def _run_search(
    start: Callable[[View], RunRecord], folder: Path, as_json: bool, storage: str | None
) -> None:
    """Run a search under a view, then show its results and suggest the next commands."""
    try:
        run = run_with_view(start)
    except KeyboardInterrupt:
        exit_interrupted(folder, storage)
    _show_results(run, as_json)


def run_with_view(start: Callable[[View], T]) -> T:
    """Run a long task under the view that suits the console."""
    from search.terminal.progress import Lines, LiveView

    console = make_console(going_on=True)
    with terminable():
        if not console.is_terminal:
            return start(Lines(console))
        with LiveView(console) as live:
            return start(live)


def _show_state(folder: Path, storage: str | None) -> bool:
    """Print how an interrupted search stands, and the commands that write what is missing.

    Returns:
        Whether a trial is complete, so that the search can be concluded.
    """
    from search.analysis.status import sentence, status_of
    from search.presentation.unwritten import unwritten
    from search.store.run import RunRecord

    with suppress(Exception):  # The database may be why somebody interrupted.
        run = RunRecord.at(folder, storage)
        status = status_of(run)
        for line in (f"{folder.name}: {sentence(status)}", *unwritten(run)):
            click.echo(line)
        return status.complete > 0
    return False


def exit_interrupted(folder: Path, storage: str | None = None) -> NoReturn:
    """Print how an interrupted search stands and how to continue, and exit with 130."""
    if (folder / "experiment.yaml").exists():
        can_finish, words = _show_state(folder, storage), run_words(folder)
        click.echo(f"interrupted; continue with: dipsearch resume {words}", err=True)
        if can_finish:
            click.echo(f"or end it here with: dipsearch resume {words} --finish", err=True)
    else:
        click.echo("interrupted before the run was made", err=True)
    raise SystemExit(130)


def _show_results(run: RunRecord, as_json: bool) -> None:
    from search.analysis.front import front_of, nothing_yet
    from search.commands.results import write_results
    from search.presentation.repeating import first_picture
    from search.terminal.tables import print_findings

    console = make_console(going_on=True)
    records = run.records()
    for trial in records:
        if trial.state == "failed":
            console.print(f"{trial.name} failed: {trial.failure}", markup=False)
    has_front = bool(front_of(records))
    if as_json and has_front:
        echo_json(front_and_candidates(run))
    elif has_front:
        print_findings(run, console.print)
    if not as_json and (ended := run.attributes.ended) is not None:
        console.print(f"the search ended early because {ended}", markup=False)
    words = run_words(run.folder)
    more = f"dipsearch resume {words} {_more(run)}"
    if not has_front:
        make_report(run)
        click.echo(f"dipsearch: {nothing_yet(run, records)}", err=True)
        if run.experiment.space is not None and any(t.state == "complete" for t in records):
            click.echo(f"search on with: {more}", err=True)
        raise SystemExit(1)
    best, *others = write_results(run)
    console.print(f"written: {', '.join(map(str, [best, *others]))}", markup=False)
    if run.objective.is_standard and run.objective.limits:
        console.print("dipsearch verify judges without the search's constraints", markup=False)
    picture = first_picture(run, whole_paths=True)
    following = [f"dipsearch verify {words}"] * run.objective.is_standard + [
        f"dipsearch pareto {words} --plot front.svg",
        f"dipsearch export {words} --pick {run.objective.metric} --output highest.yaml",
        f"dipstage run {picture} --schedule {shlex.quote(str(best))}",
    ]
    if run.experiment.space is not None:
        following.append(more)
    console.print("next:\n  " + "\n  ".join(following), markup=False, soft_wrap=True)
    make_report(run)


def _more(run: RunRecord) -> str:
    """Return the options that continue a search that has ended."""
    attributes, hours = run.attributes, run.attributes.hours
    is_over = hours is not None and attributes.driven_s >= 3600 * hours
    options = [] if hours is None else [f"--hours {(1 + is_over) * hours:g}"]
    if attributes.ended is None:
        options.insert(0, f"--trials {2 * max(attributes.trials, 1)}")
    elif not is_over:
        options.insert(0, f"--trials {attributes.trials}")
    return " ".join(options)
