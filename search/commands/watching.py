"""dashboard: show a study in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dipstage.terminal.number_types import Whole
from search.commands.shared import with_run

if TYPE_CHECKING:
    from search.store.run import RunRecord


@click.command()
@click.option(
    "--port",
    type=Whole(0, 65535),
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
@with_run
def dashboard(run: RunRecord, port: int | None, host: str) -> None:
    """Show RUN in a browser, while it runs and afterwards.

    The page is that of optuna-dashboard. It serves a copy that follows the study, so nothing in it
    can change a search. Ctrl-C stops the dashboard.
    """
    from search.dashboard.server import dashboard as served
    from search.dashboard.server import is_loopback

    with served(run, host, port) as server:
        if not is_loopback(host):
            click.echo(
                f"notice: anyone who can reach {host} can see this study without a password",
                err=True,
            )
        click.echo(f"{run.name}: {server.url}  (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped; the study is unchanged")
