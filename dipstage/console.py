"""What both command lines share: one clear sentence for a wrong request, and tables."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Commands(click.Group):
    """Commands that turn InputError into one line on stderr and exit code 2, Ctrl-C into 130."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except InputError as error:
            click.echo(f"{context.info_name}: {error}", err=True)
            context.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            context.exit(130)


def make_console() -> Console:
    """A console that a terminal sizes and colours, and that a pipe gets plain and unwrapped."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def table(
    columns: Iterable[str],
    rows: Iterable[Iterable[str]],
    title: str = "",
    left: Container[int] = (0,),
) -> Table:
    """A plain table; the columns in `left` are left-justified. Nothing in it is markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title=Text(title) if title else None,
        title_justify="left",
    )
    for i, name in enumerate(columns):
        result.add_column(Text(name), justify="left" if i in left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(Text(cell) for cell in row))
    return result
