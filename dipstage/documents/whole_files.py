"""Files that are read only if regular and of bounded size, and that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from dipstage.errors import InputError


def read_regular(path: Path, most_bytes: int, what: str) -> bytes:
    """A file's content; InputError, beginning with `what`, for all but a regular file of that size.

    Not waiting on opening, and looking at what was opened, keeps pipes and devices from hanging.
    Object storage, whose paths are no `Path`, holds nothing but files.
    """
    remote = not isinstance(path, Path)
    try:
        with path.open("rb") if remote else open(path, "rb", opener=_open_without_waiting) as file:
            if not remote and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{what} cannot be read: it is not a regular file")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{what} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except ValueError as error:  # A path that no system call takes: NUL, half a character.
        raise InputError(f"{what} cannot be read: {error}") from None
    if len(data) > most_bytes:
        raise InputError(f"{what} has more than {most_bytes:,} bytes: it is too large to be read")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_whole(path: Path, content: bytes | str) -> None:
    """Write aside, flush to the disk, rename: readers see the old file or the new one.

    Object storage, whose paths are no `Path`, shows a file once all of it is there.
    """
    data = content.encode() if isinstance(content, str) else content
    if not isinstance(path, Path):
        try:
            path.write_bytes(data)
        except Exception as error:  # Clients of object stores raise errors of many kinds.
            raise OSError(None, str(error) or type(error).__name__, str(path)) from None
        return
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
