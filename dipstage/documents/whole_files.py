"""Files are read only if they are regular and of bounded size, and appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dipstage.errors import InputError

KINDS = {
    "a PNG": rb"\x89PNG\r\n",
    "a JPEG": rb"\xff\xd8\xff",
    "a TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "a WebP": rb"(?s)RIFF....WEBP",
    "a PDF": rb"%PDF-",
    "an HTML page": rb"(?i)\s*<(!doctype )?html",
    "an SVG": rb"(?s)\s*<([?!].*<)?svg",
    "a CSV table": rb'(\xef\xbb\xbf)?"?\w+"?([,;]"?[\w.]*"?)+\r?\n',
    "a schedule file": rb'(?ms)(.*^)?[{\s]*"?format"?:',
}
"""Kinds of files that commands write where the user asks, with how they begin."""
_HEAD = 16_384
_OPEN_FILE = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/(self|\d+)/fd/\d+")
"""Names of files that a process has open, by which even a regular file must not be replaced."""


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

    A symbolic link stays, and its target is written. What is no regular file, such as a pipe or a
    device, is written to and never replaced. Paths on object storage are not of the type `Path`;
    there a file appears once it is complete.
    """
    data = content.encode() if isinstance(content, str) else content
    if not isinstance(path, Path):
        try:
            path.write_bytes(data)
        except Exception as error:  # Clients of object stores raise errors of many kinds.
            raise OSError(None, str(error) or type(error).__name__, str(path)) from None
        return
    found = _found(path)
    if found is not None and (not stat.S_ISREG(found.st_mode) or _OPEN_FILE.fullmatch(str(path))):
        _write_through(path, data)
        return
    path = Path(os.path.realpath(path))
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as file:
            if found is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_asked(path: Path, content: bytes | str) -> None:
    """Write a file that the user named, as `write_whole` does.

    Args:
        path: The file. It is replaced only if it is empty or holds what `content` is: a picture of
            the same format, a table, a schedule, a page.
        content: What to write.

    Raises:
        InputError: The file is of another kind, or cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with _refused(path):
        if isinstance(path, Path):
            refuse_to_replace(path, _kind(data[:_HEAD]))
        write_whole(path, data)


def refuse_unwritable(path: Path) -> None:
    """Raise InputError if no file can be at a path, before anything is computed for it."""
    with _refused(path):
        found = _found(path)
        if found is None:
            Path(os.path.realpath(path)).parent.stat()
        elif stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} cannot be written: it is a folder, name a file in it")


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Say in one sentence why a file cannot be written."""
    try:
        yield
    except (InputError, BrokenPipeError):
        raise  # Of a pipe: the reader of a pipe has seen enough.
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENXIO:
            reason = "no program reads from this pipe or device"
        elif error.errno == errno.ENOENT:
            reason = f"the folder {Path(os.path.realpath(path)).parent} does not exist"
        raise InputError(f"{path} cannot be written: {reason}") from None
    except ValueError as error:  # Paths that no system call accepts: NUL, surrogates.
        raise InputError(f"{path} cannot be written: {error}") from None


def refuse_to_replace(path: Path, kind: str) -> None:
    """Raise InputError if a path holds something that a file of this kind must not replace."""
    found = _found(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} cannot be written: it is a folder, name a file in it")
    if found is None or not stat.S_ISREG(found.st_mode) or _OPEN_FILE.fullmatch(str(path)):
        return
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.strip() and _kind(head) != kind:
        raise InputError(f"{path} exists and is not {kind}: remove it, or choose another name")


def _kind(head: bytes) -> str:
    """Name the kind of a file by its first bytes."""
    return next((kind for kind, begin in KINDS.items() if re.match(begin, head)), "of this kind")


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _write_through(path: Path, data: bytes) -> None:
    # A pipe that nobody reads is an error, not a wait. Files that are open already are added to.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
