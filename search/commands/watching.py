"""dashboard: show a study in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from search.commands.shared import run_options


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on [default: 8080, or a free port if that is taken].",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. There is no password: anyone who can reach an address other than "
    "loopback can see the study.",
)
@run_options
def dashboard(name: str, port: int | None, host: str, storage: str | None, runs_dir: Path) -> None:
    """Show RUN in a browser with optuna-dashboard, while it runs and afterwards.

    The dashboard serves a copy that follows the study, so nothing in it can change a search. Ctrl-C
    stops the dashboard.
    """
    from search.dashboard.server import LOOPBACK
    from search.dashboard.server import dashboard as served
    from search.store.run import RunRecord

    run = RunRecord.open(name, runs_dir, storage)
    with served(run, host, port) as server:
        if host not in (LOOPBACK, "localhost", "::1"):
            click.echo(
                f"notice: anyone who can reach {host} can see this study without a password",
                err=True,
            )
        click.echo(f"{name}: {server.url}  (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped; the study is unchanged")
