"""dipstage: train one picture with a schedule, restore a photograph, and show schedules."""

from __future__ import annotations

import click

from dipstage.terminal.console import Commands
from dipstage.terminal.looking import check, schedules
from dipstage.terminal.restoring import restore
from dipstage.terminal.training import run


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dipsearch", prog_name="dipstage")
def main() -> None:
    """Staged Deep Image Prior: train on one picture with a schedule of noisy targets."""


main.add_section(
    "Train",
    {
        run: "dipstage run skimage:chelsea --schedule fast --size 64",
        restore: "dipstage restore photo.jpg --size 192 --width 32 --scales 4",
    },
)
main.add_section(
    "Look at pictures and schedules",
    {
        check: "dipstage check 'photos/*.tif'",
        schedules: "dipstage schedules log10 --iterations 600",
    },
)


if __name__ == "__main__":
    main()
