"""The command dipsearch: search for schedules, verify, analyse and export them."""

from __future__ import annotations

import click

from dipstage.terminal.console import Commands
from search.commands import analysing, cluster, drawing, reporting, searching, watching


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dipsearch", prog_name="dipsearch")
def main() -> None:
    """Search for better training schedules of staged Deep Image Prior."""


for command in (
    searching.launch,
    searching.resume,
    searching.confirm,
    searching.verify,
    cluster.submit,
    cluster.logs,
    cluster.stop,
    cluster.fetch,
    analysing.status,
    watching.dashboard,
    analysing.trials,
    analysing.pareto,
    analysing.compare,
    drawing.plot,
    analysing.export,
    reporting.report,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
