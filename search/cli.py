"""The command dipsearch: search for schedules, verify, analyse and export them."""

from __future__ import annotations

import click

from dipstage.terminal.console import Commands
from search.commands import (
    analysing,
    cluster,
    drawing,
    keeping,
    reporting,
    searching,
    starting,
    status,
    verifying,
    watching,
)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nBegin with:\n  dipsearch launch quickstart\n  dipsearch docs first-search",
)
@click.version_option(package_name="dipsearch", prog_name="dipsearch")
def main() -> None:
    """Search for better training schedules of staged Deep Image Prior."""


main.add_section(
    "Search",
    {
        starting.init: "dipsearch init quickstart --output mine.yaml",
        searching.launch: "dipsearch launch mine.yaml --name first --set search.trials=20",
        searching.resume: "dipsearch resume first --trials 40",
        verifying.confirm: "dipsearch confirm first --images 'photos/*.png'",
        verifying.verify: "dipsearch verify first --images 'others/*.png' --seeds 2",
    },
)
main.add_section(
    "Look at runs",
    {
        keeping.list_runs: "dipsearch list",
        status.status: "dipsearch status first --watch",
        analysing.trials: "dipsearch trials first --csv trials.csv",
        analysing.pareto: "dipsearch pareto first --plot front.svg",
        analysing.compare: "dipsearch compare first second",
        drawing.plot: "dipsearch plot first curves --output curves.pdf --style paper",
        reporting.report: "dipsearch report first --output first.html",
        watching.dashboard: "dipsearch dashboard first",
    },
)
main.add_section(
    "Use what was found, and tidy up",
    {
        analysing.export: "dipsearch export first --pick fast --output fast.yaml",
        keeping.remove: "dipsearch remove first second",
    },
)
main.add_section("Read", {starting.docs: "dipsearch docs experiment-file"})
main.add_section(
    "Search on a remote cluster",
    {
        cluster.submit: "dipsearch submit mine.yaml --address http://HEAD:8265",
        cluster.logs: "dipsearch logs mine-3f2a91c0 --follow --address http://HEAD:8265",
        cluster.stop: "dipsearch stop mine-3f2a91c0 --address http://HEAD:8265",
        cluster.fetch: "dipsearch fetch mine-3f2a91c0 --address http://HEAD:8265",
    },
)


if __name__ == "__main__":
    main()
