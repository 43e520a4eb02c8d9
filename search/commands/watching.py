"""dashboard: a study in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from search.commands.shared import of_a_run


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on [default: 8080, or a free one where that is taken].",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. Whoever reaches another than loopback sees the study: there is "
    "no password.",
)
@of_a_run
def dashboard(name: str, port: int | None, host: str, storage: str | None, runs_dir: Path) -> None:
    """Show RUN in a browser while it runs and after: with optuna-dashboard.

    It serves a copy that follows the study: nothing there can change a search. Ctrl-C ends it.
    """
    from search.dashboard.server import LOOPBACK
    from search.dashboard.server import dashboard as served
    from search.store.run import RunRecord

    run = RunRecord.open(name, runs_dir, storage)
    with served(run, host, port) as server:
        if host not in (LOOPBACK, "localhost", "::1"):
            click.echo(
                f"notice: whoever reaches {host} sees this study, without a password", err=True
            )
        click.echo(f"{name}: {server.url}  (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended; the study is as it was")
