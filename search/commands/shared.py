"""Options, files and suggested command lines that the commands share."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from dipstage.errors import InputError
from dipstage.terminal.number_types import Finite, Whole
from search.store import STORAGE_VARIABLE

if TYPE_CHECKING:
    from search.store.run import RunRecord

F = TypeVar("F", bound=Callable[..., Any])


def _runs_dir(context: click.Context, parameter: click.Parameter, value: str | None) -> Path:
    from search.store.paths import runs_path

    return runs_path(value)


def _storage(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a password on the command line, where every process list shows it."""
    source = context.get_parameter_source(parameter.name or "")
    if value is not None and source is ParameterSource.COMMANDLINE:
        from search.store.database_address import refuse_password

        refuse_password(value)
    return value


runs_dir_option = click.option(
    "--runs-dir",
    callback=_runs_dir,
    metavar="DIR",
    help="Folder of runs, or an address on object storage such as s3://BUCKET/PREFIX [default: the "
    "environment variable DIPSEARCH_RUNS_DIR, or else runs].",
)

storage_option = click.option(
    "--storage",
    callback=_storage,
    envvar=STORAGE_VARIABLE,
    metavar="URL",
    help="Database of the study, such as postgresql://USER@HOST/NAME [default: SQLite in the run's "
    "folder]. If the address contains a password, set it in the environment "
    f"variable {STORAGE_VARIABLE} instead.",
)

address_option = click.option(
    "--address",
    metavar="ADDRESS",
    help="Address of a running Ray cluster [default: start one here].",
)


_EXPERIMENT_OPTIONS = (
    click.option("--name", help="Name of the run [default: the name in the experiment]."),
    click.option(
        "--trials", type=Whole(), help="Number of schedules to sample, not counting the candidates."
    ),
    click.option(
        "--hours",
        type=Finite(),
        help="Hours after which no further trial begins, even if fewer than --trials are sampled.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the experiment, for example trainer.iterations=300. Can be "
        "repeated.",
    ),
)


def experiment_options(command: F) -> F:
    """Add the argument and the options of the commands that start the search of an experiment."""
    for option in reversed(_EXPERIMENT_OPTIONS):
        command = option(command)
    return click.argument("experiment", type=click.Path(path_type=Path))(command)


def refuse_given_twice(overrides: tuple[str, ...], options: Mapping[str, object]) -> None:
    """Raise InputError if `--set` and another option, by its key, give the same key."""
    for override in overrides:
        key = override.partition("=")[0]
        if options.get(key) is not None:
            option = f"--{key.rpartition('.')[2]}"
            raise InputError(f"{option} and --set {key} give the same key: leave one out")


accept_changes_option = click.option(
    "--accept-changes",
    is_flag=True,
    help="Continue even if resources, racing, sampling, logging or code have changed since the run "
    "began. The change is recorded in the run.",
)


resources_option = click.option(
    "--set",
    "resources",
    multiple=True,
    metavar="resources.KEY=VALUE",
    help="Train on other hardware than the search, for example resources.device=cuda. Can be "
    "repeated.",
)


_ENDINGS = {
    "a CSV table": (".csv", ".gz"),
    "YAML": (".yaml", ".yml"),
    "an HTML page": (".html", ".htm"),
}
_FORMATS = re.compile(
    r"\.(csv|gz|zip|ya?ml|json|html?|pdf|svg|eps|png|jpe?g|tiff?|webp|gif|bmp|xlsx|db|np[yz]|py|md)"
)
"""Endings of names that promise a format."""


def file_option(
    name: str, words: str, *, holds: str = "", required: bool = False
) -> Callable[[F], F]:
    """Make an option for a file to write. The value of `--csv` is passed as `csv_file`.

    Args:
        name: The option.
        words: Its help.
        holds: What the file will hold, one of `_ENDINGS`: names of other formats are refused.
        required: Whether it must be given.
    """
    return click.option(
        name,
        f"{name.removeprefix('--')}_file",
        callback=functools.partial(_output_file, holds),
        required=required,
        metavar="FILE",
        help=words,
    )


def _output_file(
    holds: str, context: click.Context, parameter: click.Parameter, value: str | None
) -> Path | None:
    if value is None:
        return None
    from dipstage.documents.whole_files import expanded, refuse_unwritable

    if value and context.params.get("into_folder"):
        return expanded(value)
    if not value or value == "-" or value.endswith(os.sep):
        hint = "add a file's name"
        if value == "-" and holds:  # The name of a figure's file says its format.
            hint = "write /dev/stdout for the output"
        raise InputError(f"{parameter.opts[0]} must name a file, got {value!r}: {hint}")
    path = expanded(value)
    ending, own = path.suffix.lower(), _ENDINGS.get(holds)
    if own and ending not in own and _FORMATS.fullmatch(ending) and not _is_special(path):
        raise InputError(f"{parameter.opts[0]} {path} would hold {holds}: end it in {own[0]}")
    if context.command.name != "init":  # It may make the folder.
        refuse_unwritable(path)
    return path


def _is_special(path: Path) -> bool:
    """Return whether a path is a pipe or a device, whose name says nothing."""
    return path.exists() and not path.is_file()


def refuse_mixed(as_json: bool, files: dict[str, Path | None]) -> None:
    """Raise InputError if two outputs are one file; that of --json is standard output."""
    from dipstage.documents.whole_files import refuse_same

    refuse_same({"the output of --json": Path("/dev/stdout") if as_json else None} | files)


def echo_written(path: Path, words: str) -> None:
    """Say what was written, on stderr if it went to a stream such as /dev/stdout."""
    click.echo(words, err=is_stream(path))


def is_stream(path: Path) -> bool:
    """Return whether a path names a stream, such as /dev/stdout."""
    return str(path).startswith(("/dev/", "/proc/"))


def run_options(command: F) -> F:
    """Add the argument and the options of every command that reads a run.

    RUN is its name, or a path to its folder.
    """
    return click.argument("name", metavar="RUN")(runs_dir_option(storage_option(command)))


def with_run(command: Callable[..., None]) -> Callable[..., None]:
    """Add the same options to a command that takes the opened run as its first argument."""

    @functools.wraps(command)
    def opened(name: str, runs_dir: Path, storage: str | None, **options: Any) -> None:
        from search.store.run import RunRecord

        command(RunRecord.open(name, runs_dir, storage), **options)

    return run_options(opened)


def front_and_candidates(run: RunRecord) -> list[dict[str, Any]]:
    """Return the front, then the candidates that are not on it, as rows."""
    from search.analysis.trial_rows import row
    from search.presentation.front import front_rows

    return [
        {"on_front": each.on_front, "against": each.relation, **row(each.trial, run.objective)}
        for each in front_rows(run.records(), run.objective)
    ]
