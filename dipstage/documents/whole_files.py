"""Files are read only if they are regular and of bounded size, and appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

from dipstage.errors import InputError, WorkError

KINDS = {
    "a PNG": rb"\x89PNG\r\n",
    "a JPEG": rb"\xff\xd8\xff",
    "a TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "a WebP": rb"(?s)RIFF....WEBP",
    "a PDF": rb"%PDF-",
    "an HTML page": rb"(?i)\s*<(!doctype )?html",
    "an SVG": rb"(?s)\s*<([?!].*<)?svg",
    "a CSV table": rb'(\xef\xbb\xbf)?"?\w+"?([,;]"?[\w.]*"?)+\r?\n',
    "a gzip archive": rb"\x1f\x8b",
    "a schedule file": b"".join(
        rb'(?s:(?=(.*[{,\s])?"?%s"?:))' % key for key in (b"format", b"iterations", b"stages")
    ),
}
"""Kinds of files that commands write where the user asks, with how they begin."""
SIGNATURE = "written by dipstage: "
"""Mark in the metadata of pictures; the word behind it says what may replace them. Pages are
signed by what they lack."""
_SIGNED = re.compile(SIGNATURE.encode() + rb"\w+|<meta name=\"lacks\"")
_HEAD = 16_384
_ALIKE = 6
"""Number of first columns that a table and an earlier one with fewer columns share."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
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
        address = _ADDRESS.match(str(path))
        advice = "download it, and name the file" if address else "check the path"
        if address and address[0] == "file:/":
            advice = "leave file:// out"
        raise InputError(f"{what} does not exist: {advice}") from None
    except IsADirectoryError:
        raise InputError(f"{what} cannot be read: it is a folder, name a file in it") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except ValueError as error:  # Paths that no system call accepts: NUL, surrogates.
        raise InputError(f"{what} cannot be read: {error}") from None
    if len(data) > most_bytes:
        raise InputError(f"{what} has more than {most_bytes:,} bytes: it is too large to be read")
    return data


def file_path(text: str, what: str) -> Path:
    """Return the path of a text; InputError if it names a file as if that were a folder.

    `Path` forgets a slash at the end, so that it would name the file.
    """
    path = Path(text)
    if text.endswith(("/", "/.")) and path.is_file():
        raise InputError(f"{what} ends as a folder does, and is a file: leave the slash out")
    return path


def expanded(path: str | Path) -> Path:
    """Replace a leading `~` or `~USER`, unless there is no such user: then `Path` raises."""
    return Path(os.path.expanduser(path))


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
    with _written_beside(path, data, found) as aside:
        aside.replace(path)


def write_new(path: Path, content: bytes) -> bool:
    """Write a file whole unless something has its name by now; return whether it was written.

    Raises:
        InputError: The file cannot be written.
        WorkError: The disk is full.
    """
    with _refused(path), _written_beside(path, content) as aside:
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError:  # Some file systems have no hard links.
            try:
                path.open("xb").close()
            except FileExistsError:
                return False
            aside.replace(path)
        return True


@contextmanager
def _written_beside(path: Path, data: bytes, found: os.stat_result | None = None) -> Iterator[Path]:
    """Write a temporary file beside a path, with the mode of what was found there.

    It is flushed to the disk, and removed at the end if it still has its name.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as file:
            if found is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_asked(path: Path, content: bytes | str, *, own: bool = False) -> None:
    """Write a file that the user named, as `write_whole` does.

    Args:
        path: The file. It is replaced only if it is empty or an earlier output like `content`: of
            the same format, and signed alike, a table of mostly the same columns or of some of
            them, or a schedule that has a provenance if `content` has one.
        content: What to write.
        own: Whether the file is always an earlier output, as in a run's folder.

    Raises:
        InputError: The file is of another kind, or cannot be written.
        WorkError: The disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    with _refused(path):
        if isinstance(path, Path) and not own:
            refuse_to_replace(path, _kind(data[:_HEAD]), data)
        write_whole(path, data)


def refuse_unwritable(path: Path) -> None:
    """Raise InputError if no file can be at a path, before anything is computed for it."""
    with _refused(path):
        found = _found(path)
        if found is None:
            Path(os.path.realpath(path)).parent.stat()
        elif stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} cannot be written: it is a folder, name a file in it")


def refuse_same(files: Mapping[str, Path | None]) -> None:
    """Raise InputError if two outputs are one file, on any disk: by a link, or but for case.

    Args:
        files: Paths by what names them, such as `--output`; None for those that are not written.
    """
    found: dict[object, str] = {}
    for named, path in files.items():
        if path is None:
            continue
        same: list[object] = [unicodedata.normalize("NFC", os.path.realpath(path)).casefold()]
        with suppress(OSError):
            status = path.stat()
            same.append((status.st_dev, status.st_ino))
        other = next((found[each] for each in same if each in found), None)
        if other is not None:
            raise InputError(f"{other} and {named} are the same file, {path}: name two files")
        found |= dict.fromkeys(same, named)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Say in one sentence why a file cannot be written."""
    try:
        yield
    except (InputError, BrokenPipeError):
        raise  # Of a pipe: the reader of a pipe has seen enough.
    except OSError as error:
        if error.errno in _FULL:
            raise WorkError(f"{path} cannot be written: {error.strerror}") from None
        reason = error.strerror
        if error.errno == errno.ENXIO:
            reason = "no program reads from this pipe or device"
        elif error.errno == errno.ENAMETOOLONG:
            reason = "its name is too long, choose a shorter one"
        elif error.errno == errno.ENOENT:
            folder = Path(os.path.realpath(path)).parent
            state = "takes no files" if folder.is_dir() else "does not exist"
            reason = f"the folder {folder} {state}"
        raise InputError(f"{path} cannot be written: {reason}") from None
    except ValueError as error:  # Paths that no system call accepts: NUL, surrogates.
        raise InputError(f"{path} cannot be written: {error}") from None


def refuse_to_replace(path: Path, kind: str, like: bytes) -> None:
    """Raise InputError if a path holds something that a file of this kind must not replace.

    Args:
        path: The file.
        kind: One of `KINDS`.
        like: The new content, or its signature or header.
    """
    found = _found(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} cannot be written: it is a folder, name a file in it")
    if found is None or not stat.S_ISREG(found.st_mode) or _OPEN_FILE.fullmatch(str(path)):
        return
    if not found.st_size:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as old:
        head = old[:_HEAD]
        if not head.strip():
            return
        if _kind(head) != kind:
            raise InputError(f"{path} exists and is not {kind}: remove it, or choose another name")
        if not _is_earlier(kind, old, like):
            raise InputError(
                f"{path} exists and is {kind} that this command has not written: remove it, or "
                "choose another name"
            )


def _is_earlier(kind: str, old: bytes | mmap, new: bytes) -> bool:
    """Return whether a file may be an earlier output of the command that writes `new`."""
    if kind == "a schedule file":
        # Every export has a provenance, every schedule that is saved a recipe; a user's may not.
        keys = [key for key in (b"recipe", b"provenance") if _has_key(new, key)]
        return all(_has_key(old, key) for key in keys[-1:])
    if kind in ("a CSV table", "a gzip archive"):
        return _is_earlier_table(*(_header(data[:_HEAD]) for data in (old, new)))
    signatures = [found and found[0] for found in map(_SIGNED.search, (old, new))]
    return signatures[0] is not None and signatures[0] == signatures[1]


def _is_earlier_table(old: list[bytes], new: list[bytes]) -> bool:
    """Return whether a table has mostly the columns of a new one, or fewer that begin alike."""
    common = len({*old} & {*new})
    # Tables of a front and of its trials share most columns, but not the first.
    has_mostly_the_same = old[0] == new[0] and 2 * common > len({*old} | {*new})
    # A table of trials has few columns until one of them has scores.
    has_grown = old[:_ALIKE] == new[:_ALIKE] and {*old} <= {*new}
    return has_mostly_the_same or has_grown


def _has_key(document: bytes | mmap, key: bytes) -> bool:
    return re.search(rb"(?m)^%s:" % key, document) is not None


def _header(table: bytes) -> list[bytes]:
    """Return the names of a table's columns."""
    if table.startswith(b"\x1f\x8b"):
        with suppress(zlib.error):
            table = zlib.decompressobj(31).decompress(table, _HEAD)
    return table.partition(b"\n")[0].strip().split(b",")


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
