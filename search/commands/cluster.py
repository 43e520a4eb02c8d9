"""submit, logs, stop, fetch, and the status of a job: searches on a remote cluster."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError, WorkError
from dipstage.terminal.console import echo_json
from search.commands.shared import (
    accept_changes_option,
    experiment_options,
    refuse_given_twice,
    runs_dir_option,
)
from search.remote import CLUSTER_VARIABLE
from search.store import STORAGE_VARIABLE
from search.store.paths import refuse_unwritable, run_folder
from search.store.suggested import runs_dir_flag

if TYPE_CHECKING:
    from search.remote.jobs import State

_TAIL = 10

cluster_option = click.option(
    "--address",
    envvar=CLUSTER_VARIABLE,
    required=True,
    metavar="URL",
    help="The cluster's dashboard, such as http://HEAD:8265 [default: the environment variable "
    f"{CLUSTER_VARIABLE}]. If the cluster asks for a token, set RAY_AUTH_MODE=token and "
    "RAY_AUTH_TOKEN.",
)


@click.command()
@experiment_options
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run of that name on the cluster. Of EXPERIMENT, only its pictures and the "
    "files of its task are used; --trials and --hours extend the run.",
)
@accept_changes_option
@click.option(
    "--runs-dir",
    metavar="DIR|URL",
    help="Folder of runs on the cluster's head, relative to its user's home, or s3://… "
    "[default: dipsearch-runs].",
)
@cluster_option
def submit(
    experiment: Path,
    name: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    hours: float | None,
    resume: bool,
    accept_changes: bool,
    runs_dir: str | None,
    address: str,
) -> None:
    """Start the search of EXPERIMENT on a remote Ray cluster.

    EXPERIMENT is a file, or the name of an experiment that comes with the package. The command
    first checks the packages of the head, and whether it has a run of that name. Then it sends the
    experiment, the pictures, schedule files and runs that it names, and the code of this program.
    It prints the id of the job and does not wait for the job to end.
    """
    from search.experiment.reading import load_experiment
    from search.remote.head import check as check_head
    from search.remote.jobs import Cluster
    from search.remote.upload import RUNS_DIR, Submission, check

    cluster = Cluster(address)
    totals = {"search.trials": trials, "search.hours": hours}
    refuse_given_twice(overrides, {"name": name, **totals})
    given = [] if name is None else [f"name={json.dumps(name)}"]
    if resume:  # Both are the run's own: what it learns from was copied when it began.
        overrides = tuple(each for each in overrides if not each.startswith("search.learn_from="))
        _say_what_has_no_effect(overrides)
        given += ["search.learn_from=[]", "search.until=null"]
    else:
        given += [f"{key}={total}" for key, total in totals.items() if total is not None]
    loaded = load_experiment(experiment, (*overrides, *given))
    submission = Submission(loaded, runs_dir or RUNS_DIR, resume, trials, hours, accept_changes)
    notices = check(loaded, resume=resume)
    notices += check_head(cluster.ask(submission), submission)
    for notice in notices:
        click.echo(f"notice: {notice}", err=True)
    if os.environ.get(STORAGE_VARIABLE):
        click.echo(
            f"notice: {STORAGE_VARIABLE} is not forwarded: set it where Ray is started on the "
            "cluster's head, or the study will be stored in SQLite there",
            err=True,
        )
    job = cluster.submit(submission)
    click.echo(job)
    lines = (f"status {job}", f"logs {job} --follow", f"fetch {job}", f"stop {job}")
    click.echo("next:" + "".join(f"\n  dipsearch {line}{_address_flag(address)}" for line in lines))


def _say_what_has_no_effect(overrides: tuple[str, ...]) -> None:
    """Say of which `--set` a resume takes nothing; InputError if an option gives the same."""
    from search.store.changes import ACCEPTABLE, ASKED_FOR

    for key in (override.partition("=")[0] for override in overrides):
        words = f"--set {key} has no effect with --resume"
        if key in ASKED_FOR:
            raise InputError(f"{words}: give {ASKED_FOR[key]}")
        if key.startswith(ACCEPTABLE):
            words += ": the run's experiment.yaml on the head can be changed, and --accept-changes"
        if key not in ("name", "images", "task") and not key.startswith("task."):
            click.echo(f"notice: {words}", err=True)


@click.command()
@click.argument("job", metavar="ID")
@click.option(
    "--follow", is_flag=True, help="Keep printing until the job ends. Ctrl-C does not affect it."
)
@cluster_option
def logs(job: str, follow: bool, address: str) -> None:
    """Show what the driver of a submitted search has printed."""
    from search.remote.jobs import Cluster

    cluster = Cluster(address)
    cluster.state(job)
    if follow:
        printed = False
        for piece in cluster.follow(job):
            click.echo(piece, nl=False)
            printed = True
        if (state := cluster.state(job)).state == "failed":
            why = "" if printed else f": {_reason(state, '')}"
            click.echo(f"dipsearch: {job} failed{why}", err=True)
            raise SystemExit(1)
    else:
        click.echo(cluster.log(job), nl=False)


@click.command()
@click.argument("job", metavar="ID")
@cluster_option
def stop(job: str, address: str) -> None:
    """Stop a submitted search, and wait until it has ended.

    All recorded replicates are kept. The command that continues the search is printed.
    """
    from search.remote.jobs import GRACE_S, Cluster

    cluster = Cluster(address)
    if (before := cluster.state(job)).ended:
        click.echo(f"{job}: already {before.state}")
        return
    after = cluster.stop(job)
    if not after.ended:
        raise WorkError(f"{job} was asked to end but is still {after.state}")
    log = cluster.log(job)
    if after.state == "stopped" and before.state == "running" and "interrupted" not in log:
        how = f"killed, because it did not end within {GRACE_S} s"
    else:
        how = after.state
    click.echo(f"{job}: {how}")
    if "interrupted before the run was made" not in log and after.state != "succeeded":
        click.echo(f"continue with: {_resume_line(after, address)}")


@click.command()
@click.argument("job", metavar="ID")
@click.option(
    "--replace", is_flag=True, help="Replace a run here that was fetched from another job."
)
@cluster_option
@runs_dir_option
def fetch(job: str, replace: bool, address: str, runs_dir: Path) -> None:
    """Copy the run of a submitted search to this machine.

    The search can still be running. Fetch the run again to refresh the copy.
    """
    from search.remote.fetching import DamagedError
    from search.remote.jobs import Cluster

    refuse_unwritable(runs_dir)
    try:
        folder = Cluster(address).fetch(job, runs_dir, replace=replace)
    except DamagedError as error:
        raise WorkError(f"the run of {job} could not be fetched: {error}") from None
    click.echo(f"written: {folder}")
    if not (folder / "study.db").exists():
        click.echo(f"its study is in a database: set {STORAGE_VARIABLE} to its address here too")
    click.echo(f"next:\n  dipsearch pareto {folder.name}{runs_dir_flag(runs_dir)}")


def job_address(name: str, address: str | None, runs_dir: Path) -> str | None:
    """Return the cluster on which `status NAME` looks for a job; None if NAME is a run here.

    NAME is a job if --address is given. It is also one if it looks like a job's id, no run here
    has that name, and the environment names a cluster.
    """
    if address is not None:
        return address
    if not re.fullmatch(r"[\w.-]+-[0-9a-f]{8}", name) or run_folder(name, runs_dir).exists():
        return None
    return os.environ.get(CLUSTER_VARIABLE) or None


def show_job(job: str, address: str, *, as_json: bool) -> None:
    """Print the state of a job and the last line of its search; exit with 1 if the job failed."""
    from search.remote.jobs import Cluster

    cluster = Cluster(address)
    state = cluster.state(job)
    log = cluster.log(job)
    found = re.findall(
        rf"^\d\d:\d\d:\d\d ({re.escape(state.origin.name)}: .*)$", log, flags=re.MULTILINE
    )
    progress = found[-1] if found else None
    failed = state.state == "failed"
    if as_json:
        content: dict[str, Any] = {
            "job": job,
            "run": state.origin.name,
            "runs_dir": state.origin.runs_dir,
            "state": state.state,
            "progress": progress,
            "reason": _reason(state, log) if failed else None,
        }
        echo_json(content)
    else:
        click.echo(f"{job}: {state.state}")
        if progress is not None:
            click.echo(progress)
        if failed:
            click.echo(_reason(state, log), err=True)
        if failed or state.state == "stopped":
            click.echo(f"continue with: {_resume_line(state, address)}")
    if failed:
        raise SystemExit(1)


def _reason(state: State, log: str) -> str:
    """Return the last lines of a failed job's log, or Ray's message if the log is empty."""
    own = [line for line in log.splitlines() if not line.startswith("Running entrypoint for job")]
    return "\n".join((own or state.reason.splitlines())[-_TAIL:])


def _resume_line(state: State, address: str) -> str:
    from search.remote.upload import RUNS_DIR

    origin = state.origin
    runs_dir = origin.runs_dir
    folder = "" if runs_dir == RUNS_DIR else f" --runs-dir {shlex.quote(runs_dir)}"
    return (
        f"dipsearch submit EXPERIMENT --resume --name {origin.name}{folder}{_address_flag(address)}"
    )


def _address_flag(address: str) -> str:
    """Return ` --address …` for a suggested command, unless the environment has that address."""
    return (
        "" if os.environ.get(CLUSTER_VARIABLE) == address else f" --address {shlex.quote(address)}"
    )
