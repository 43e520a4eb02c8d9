"""Shared by both command lines: errors as one sentence with an exit code, and tables."""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import click

from dipstage.documents.plain_yaml import decoded_otherwise, forbidden_in, remedy_for
from dipstage.errors import InputError, WorkError
from dipstage.interrupts import terminable
from dipstage.renamed import FormerName

if TYPE_CHECKING:
    from rich.console import Console


F = TypeVar("F", bound=Callable[..., Any])
_WIDE = "dipstage.wide"
"""Key under which click's context holds whether `--wide` was given."""


class Commands(click.Group):
    """Commands that end errors with one line on stderr and an exit code.

    The code is 2 for InputError, 1 for WorkError and 130 for Ctrl-C. `--help` lists the commands
    by section.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """See `click.Group`."""
        super().__init__(*arguments, **options)
        self.sections: dict[str, list[str]] = {}

    def add_section(self, title: str, examples: Mapping[click.Command, str]) -> None:
        """Add the commands of a section, each with an example of its use for its help."""
        for command, example in examples.items():
            command.epilog = f"\b\nExample:\n  {example}"
            self.add_command(command)
        self.sections[title] = [str(command.name) for command in examples]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, all in columns of the same width."""
        widest = max(len(name) for name in self.commands)
        room = formatter.width - widest - 6
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(widest), self.commands[name].get_short_help_str(room))
                        for name in names
                    ]
                )

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as a program: no encoding and no closed stream ends it with a traceback."""
        before = sys.stderr
        _open_streams()
        os.environ["MPLBACKEND"] = "agg"  # Figures are files; a wrong name would end Matplotlib.
        # Matplotlib would tell of a folder of settings that it cannot write, which we do not use.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
        for stream in streams:
            if stream.errors in ("strict", "surrogateescape"):
                stream.reconfigure(errors="replace")
        try:
            return super().main(*args, **extra)
        except OSError as error:  # Of help and usage, which are printed before a command is run.
            click.echo(f"{extra.get('prog_name') or self.name}: {_reason(error)}", err=True)
            sys.exit(1)
        finally:
            for stream in streams:
                try:
                    stream.flush()
                except OSError:
                    _discard(stream)
            sys.stderr = before

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are empty or would be printed otherwise than they were typed."""
        for before, argument in zip(["", *args], args, strict=False):
            if (words := _wrong_in(argument, before)) is not None:
                click.echo(f"{context.info_name}: {InputError(words)}", err=True)
                context.exit(2)
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            return _end_usage(error, context)

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            with _former_names_as_notices(), terminable():
                _refuse_no_folder()
                _refuse_wrong_date()
                return super().invoke(context)
        except click.UsageError as error:
            _end_usage(error, context)
        except (InputError, WorkError) as error:
            click.echo(f"{context.info_name}: {error}", err=True)
            context.exit(2 if isinstance(error, InputError) else 1)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # The reader closed the pipe; click handles it.
            click.echo(f"{context.info_name}: {WorkError(_reason(error))}", err=True)
            context.exit(1)
        except MemoryError:
            click.echo(f"{context.info_name}: memory ran out", err=True)
            context.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            context.exit(130)


def confirmed(question: str, *, default: bool = False, err: bool = False) -> bool | None:
    """Ask a question whose answer is yes or no, as `click.confirm` does.

    Returns:
        The answer; None if the input has ended, as by Ctrl-D.

    Raises:
        KeyboardInterrupt: Ctrl-C came in place of an answer.
    """
    try:
        return click.confirm(question, default=default, err=err)
    except click.Abort as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        click.echo(err=True)  # The question's line has not ended.
        return None


def _end_usage(error: click.UsageError, context: click.Context) -> NoReturn:
    """End with click's message on one line; without arguments, with the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    path = (error.ctx or context).command_path
    if error.ctx is None and context.invoked_subcommand:  # click's parser names no command.
        path += f" {context.invoked_subcommand}"
    words = " ".join(error.format_message().split()).rstrip(".")
    words = re.sub(r"\. \(?Did (you mean .*\?)\)?$", r" (did \1)", words)
    click.echo(f"{path}: {words[:1].lower()}{words[1:]}; see {path} --help", err=True)
    context.exit(2)


def _refuse_no_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the working folder has been removed: change to another one") from None


def _refuse_wrong_date() -> None:
    """Refuse a date of the build that NumPy and Matplotlib cannot read; an empty one is none."""
    date = os.environ.get("SOURCE_DATE_EPOCH")
    if date is not None and not date.strip():
        del os.environ["SOURCE_DATE_EPOCH"]
    elif date is not None and not re.fullmatch("[0-9]{1,11}", date):
        raise InputError(
            f"the variable SOURCE_DATE_EPOCH must be whole seconds since 1970, got {date!r}: "
            "correct it, or unset it"
        )


def _wrong_in(argument: str, before: str) -> str | None:
    """Say what is wrong with an argument behind another, whatever it means; None if nothing is."""
    if not argument.strip() or re.fullmatch(r"--[\w-]+=\s*", argument):
        option = argument.strip() or before
        where = f"argument after {before!r}" if before else "first argument"
        what = option.rstrip("=") if option[:1] == "-" else f"the {where}"
        return f"{what} is empty: give a value, or leave it out"
    found = forbidden_in(re.sub("[\t\n\ud800-\udfff]", "", argument))
    if found is None or decoded_otherwise(argument) is not None:
        return None
    return f"{found} in the argument {argument!r}: {remedy_for(argument)}"


def _reason(error: OSError) -> str:
    """Return what failed. An error of no file is one of the output."""
    where = error.filename or "the output cannot be written"
    return f"{where}: {error.strerror or error}"


class _Unfailing(io.RawIOBase):
    """The file descriptor of standard error: what cannot be written is lost, and is no error."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return os.write(self._descriptor, data)
        return len(data)


def _open_streams() -> None:
    """Open closed streams, so that no other file gets their number, and let stderr not fail."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Writing to what is open for reading fails, as writing to a closed stream should.
            os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    error = sys.stderr
    raw = getattr(error.buffer, "raw", error.buffer) if hasattr(error, "buffer") else None
    if isinstance(error, io.TextIOWrapper) and isinstance(raw, io.FileIO):
        error.flush()
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Unfailing(error.fileno())), error.encoding, error.errors,
            line_buffering=True,
        )  # fmt: skip


@contextmanager
def _former_names_as_notices() -> Iterator[None]:
    """Print each former name that the user gives as one line on stderr, once."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
        if not issubclass(category, FormerName):
            show_others(message, category, *rest, **options)
        elif str(message) not in told:
            told.add(str(message))
            click.echo(f"notice: {message}", err=True)

    with warnings.catch_warnings():
        show_others = warnings.showwarning
        warnings.simplefilter("always", FormerName)
        warnings.showwarning = show
        yield


def _discard(stream: TextIO) -> None:
    """Send what is still to be written to a stream nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def make_console(*, going_on: bool = False) -> Console:
    """Return a console with the size and colours of the terminal; pipes get plain long lines.

    Args:
        going_on: Whether the command goes on in silence when its output is no longer read, as one
            that trains does. Others end.
    """
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            if not going_on:
                super().on_broken_pipe()
            _discard(sys.stdout)

    # `markup=False` does not keep Rich from reading names such as :o: as emoji.
    make = partial(PipedConsole, highlight=False, emoji=False)
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_WIDE):
        return make(width=1000, soft_wrap=True)
    console = make()
    return console if console.is_terminal else make(width=200, soft_wrap=True)


def _json(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Send everything else that the command prints to standard error."""
    if value:
        context.meta[_STDOUT] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return value


_STDOUT = "dipstage.stdout"

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_json,
    help="Print JSON on standard output, and everything else on standard error.",
)
"""Option of commands that print a table. They call `echo_json`; docs/json.md lists the keys."""


def echo_json(content: Any) -> None:
    """Print the result of a command with --json; numbers such as NaN become null."""
    text = json.dumps(_finite(content), indent=2, allow_nan=False)
    click.echo(text, file=click.get_current_context().meta[_STDOUT])


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(each) for each in content]
    if hasattr(content, "item"):  # A number of NumPy.
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content


def wide_option(command: F) -> F:
    """Add the option that shows all columns of tables, whatever the width of the terminal."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[_WIDE] = value

    return click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show all columns of tables, even if they do not fit the terminal.",
    )(command)
