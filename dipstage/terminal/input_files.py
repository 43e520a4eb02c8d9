"""Files that a command reads, and must not overwrite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dipstage.errors import InputError


def file_of_name(name: str) -> Path:
    """Return the file that a picture's name names, which may have options such as `#page=2`."""
    from dipstage.pictures.images import expand_path, split_options

    return Path(expand_path(split_options(name)[0]))


def refuse_overwriting(given: str, outputs: Iterable[Path], otherwise: str) -> None:
    """Raise InputError if an input is one of the outputs, by whatever path.

    Args:
        given: Name of the input.
        outputs: Files that will be written; those that do not exist yet overwrite nothing.
        otherwise: What to choose instead, such as `another --output`.
    """
    source = file_of_name(given)
    if source.exists() and any(path.exists() and source.samefile(path) for path in outputs):
        raise InputError(f"{given} would be overwritten: choose {otherwise}")
