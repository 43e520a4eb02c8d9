"""Files are read only if they are regular and of bounded size, and appear whole or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from dipstage.errors import InputError


def read_regular(path: Path, most_bytes: int, what: str) -> bytes:
    """Read a regular file of at most `most_bytes`; InputError begins with `what`.

    The file is opened without waiting and checked once it is open, so that pipes and devices
    cannot block. Paths on object storage are not of the type `Path`, and are always files.
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
    except ValueError as error:  # Paths that no system call accepts: NUL, surrogates.
        raise InputError(f"{what} cannot be read: {error}") from None
    if len(data) > most_bytes:
        raise InputError(f"{what} has more than {most_bytes:,} bytes: it is too large to be read")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a temporary file, flush it to the disk, rename it: readers see the old file or the new.

    Paths on object storage are not of the type `Path`; there a file appears once it is complete.
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
