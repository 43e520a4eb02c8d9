"""status: how far a run, or a submitted job, has come."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dipstage.errors import InputError
from dipstage.terminal.console import echo_json, json_option, make_console
from search.commands.cluster import job_address, show_job
from search.commands.shared import run_options
from search.store.paths import awaited_folder, verification_path
from search.store.suggested import run_words

if TYPE_CHECKING:
    from search.store.run import RunRecord


@click.command()
@json_option
@click.option(
    "--address",
    metavar="URL",
    help="A cluster's dashboard, such as http://HEAD:8265. RUN is then the id of a job there.",
)
@click.option(
    "--watch", "watching", is_flag=True, help="Keep updating until the run is done, or Ctrl-C."
)
@run_options
def status(
    name: str,
    as_json: bool,
    address: str | None,
    watching: bool,
    storage: str | None,
    runs_dir: Path,
) -> None:
    """Show how far RUN, or a submitted job, has come.

    It shows the trials by state, the best score so far, the trials per hour and the time left.
    """
    if watching and as_json:
        raise InputError("--watch and --json cannot be combined: give one of them")
    if (cluster := job_address(name, address, runs_dir)) is not None:
        if watching:
            raise InputError(f"{name} is a job: follow it with dipsearch logs {name} --follow")
        show_job(name, cluster, as_json=as_json)
        return
    from search.analysis.status import pace, sentence, status_of
    from search.presentation.unwritten import unwritten
    from search.store.run import RunRecord
    from search.verification.parts import is_finished, verifier

    def opened() -> RunRecord:
        return RunRecord.open(name, runs_dir, storage)

    if watching:
        from search.terminal.watch import wait_for, watch

        begins = awaited_folder(name, runs_dir) / "experiment.yaml"
        run = wait_for(opened, begins, make_console())
        watch(run, make_console(), lambda current: _resume_line(current, run.folder))
    else:
        run = opened()
    name = run.name
    now, driver, verifying = status_of(run), run.driver(), verifier(run)
    parts = {part.name: status_of(part) for part in _verification_parts(run)}
    if as_json:
        verification = {part: asdict(status) for part, status in parts.items()}
        held = driver or verifying
        content = {
            "run": name,
            "driver": held and {**asdict(held), "since": held.since.isoformat()},
            **asdict(now),
            "accepted_changes": [asdict(each) for each in run.attributes.accepted],
            "verification": verification,
        }
        echo_json(content)
        return
    click.echo(f"{name}: {sentence(now)}")
    for words in pace(now):
        click.echo(words)
    if driver is not None:
        click.echo(f"driver: {driver}")
    elif now.done < now.wanted:
        click.echo(_resume_line(run, run.folder))
        for line in unwritten(run):
            click.echo(line)
    for accepted in run.attributes.accepted:
        click.echo(f"changed {accepted.date}: {'; '.join(accepted.changes)}")
    for part, status in parts.items():
        click.echo(f"{part}: {sentence(status)}")
    if verifying is not None:
        click.echo(f"driver: {verifying}")
    elif verification_path(run.folder).exists() and not is_finished(run):
        words = run_words(run.folder)
        click.echo(f"the verification is not finished; continue with: dipsearch verify {words}")


def _resume_line(run: RunRecord, folder: Path) -> str:
    """Return the line for a search, or a part of its verification, that no driver is running."""
    command = "verify" if "/" in run.name else "resume"
    return f"no driver is running; continue with: dipsearch {command} {run_words(folder)}"


def _verification_parts(run: RunRecord) -> list[RunRecord]:
    """Return the parts of a verification that have begun."""
    if not verification_path(run.folder).exists():
        return []
    from search.verification.parts import HELD_OUT, TUNING, part

    return [made for name in (TUNING, HELD_OUT) if (made := part(run, name))]
