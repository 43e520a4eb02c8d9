"""Folders of this machine and of object storage: whether they exist, their size, their removal."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from dipstage.errors import WorkError, brief

REMOVED = "removed-"
"""Part of the new name of a folder that is being removed."""


def is_remote(folder: Path) -> bool:
    """Return whether a folder is on object storage."""
    return not isinstance(folder, Path)


def path_exists(path: Path) -> bool:
    """Return whether a file exists; WorkError if that cannot be determined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return False
        raise WorkError(f"{path} cannot be looked at: {brief(error)}") from None
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise WorkError(f"{path} cannot be looked at: {brief(error)}") from None
    return True


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, whose place it takes at the end; after an error, it goes.

    A symbolic link stays, and the folder to which it leads is replaced.

    Raises:
        OSError: A folder cannot be made or renamed.
    """
    folder = Path(os.path.realpath(folder))
    aside, former = (folder.with_name(f".{folder.name}.{uuid.uuid4().hex}") for _ in range(2))
    try:
        aside.mkdir()
        yield aside
        if folder.exists():
            folder.rename(former)
        aside.rename(folder)
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        for left in (aside, former):
            shutil.rmtree(left, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Rename a folder that is to be removed, and return its new path, which begins with a dot.

    Raises:
        OSError: It cannot be renamed.
    """
    return folder.rename(folder.with_name(f".{folder.name}.{REMOVED}{uuid.uuid4().hex}"))


def remove_tree(folder: Path) -> None:
    """Remove a folder and its content; a local folder disappears in one step."""
    if is_remote(folder):
        with suppress(FileNotFoundError):  # Object storage has no empty folders.
            cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)
        return
    shutil.rmtree(set_aside(folder), ignore_errors=True)


def size_bytes(folder: Path) -> int:
    """Return the size of all files in a folder. Links count by themselves and are not followed.

    Raises:
        OSError: A folder in it cannot be read.
    """
    if is_remote(folder):
        return int(cast(Any, folder).fs.du(cast(Any, folder).path))
    size = 0
    for where, _, names in os.walk(folder, onerror=_raise_unless_gone):
        for name in names:
            with suppress(FileNotFoundError):  # A driver may be at work there.
                size += os.lstat(os.path.join(where, name)).st_size
    return size


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
