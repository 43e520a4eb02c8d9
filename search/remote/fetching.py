"""A run that comes from a cluster: received, checked, and put in its place whole or not at all.

What arrives is not trusted: nothing is unpickled, and nothing but a run's own files is unpacked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
import tarfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dipstage.documents.plain_yaml import read_yaml, yaml_text
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from search.remote.archive import MARK, belongs
from search.store.paths import is_remote, run_folder, verification_path

MAX_BYTES = 8 * 2**30
MARKER = "fetched.yaml"
"""In a fetched run: the job it came from, and its studies' SHA-256 as they arrived."""


class DamagedError(Exception):
    """What arrived is not the archive of a run; the message says why."""


def receive(text: Iterable[str], file: IO[bytes], max_bytes: int = MAX_BYTES) -> None:
    """Write the archive in a job's log to `file`, checked against its size and SHA-256.

    InputError if the job says that there is no run.
    """
    expected: tuple[int, str] | None = None
    digest, size = hashlib.sha256(), 0
    for line in _whole_lines(text):
        mark, _, rest = line.partition(" ")
        kind, _, content = rest.partition(" ")
        if mark != MARK:
            continue
        if kind == "refused":
            raise InputError("".join(c for c in content if c.isprintable())[:400])
        if kind == "begin":
            expected = _announced(content, max_bytes)
        elif kind == "part" and expected is not None:
            try:
                part = base64.b64decode(content, validate=True)
            except binascii.Error:
                raise DamagedError("a part of it is not base64") from None
            size += len(part)
            if size > expected[0]:
                raise DamagedError("it is longer than announced")
            digest.update(part)
            file.write(part)
        elif kind == "end" and expected is not None:
            if (size, digest.hexdigest()) != expected:
                raise DamagedError("its SHA-256 is not the announced one")
            return  # The job's own end would be told seconds later.
    raise DamagedError("it did not arrive whole")


def _announced(content: str, max_bytes: int) -> tuple[int, str]:
    size, _, digest = content.partition(" ")
    if not size.isdecimal():
        raise DamagedError("it has no size")
    if int(size) > max_bytes:
        raise DamagedError(f"it has {int(size):,} bytes, more than the {max_bytes:,} allowed")
    return int(size), digest


def _whole_lines(text: Iterable[str]) -> Iterable[str]:
    """Lines of a text that comes in pieces."""
    pending: list[str] = []
    for piece in text:
        *ends, rest = piece.split("\n")
        for end in ends:
            yield "".join((*pending, end))
            pending.clear()
        pending.append(rest)
    yield "".join(pending)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into an empty folder; DamagedError for anything that is no file of a run."""
    seen: set[str] = set()
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse() or not belongs(member.name):
                    raise DamagedError(f"it holds {member.name!r}, which is no file of a run")
                if member.name in seen:
                    raise DamagedError(f"it holds {member.name!r} twice")
                seen.add(member.name)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, ValueError) as error:
        raise DamagedError(f"it cannot be unpacked: {error}") from None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run comes from."""

    job: str
    name: str
    runs_dir: str


def refuse_to_overwrite(origin: Origin, runs_dir: Path, *, replace: bool) -> None:
    """InputError unless the run is not here, or is an earlier copy on which nobody went on.

    replace: whether to take the place of a copy that another job left.
    """
    if is_remote(runs_dir):
        raise InputError(f"--runs-dir {runs_dir}: a run is fetched into a folder of this machine")
    folder = run_folder(origin.name, runs_dir)
    if not folder.exists():
        return
    elsewhere = "choose another --runs-dir"
    if not (folder / MARKER).is_file():
        raise InputError(f"{folder} was made here, not fetched: {elsewhere}")
    marker = read_yaml(folder / MARKER)
    if (
        marker.get("studies") != _studies(folder)
        or marker.get("curves") != _curves(folder)
        or (verification_path(folder).exists() and not marker.get("verification"))
    ):
        raise InputError(f"run {origin.name!r} has gone on in {folder} since: {elsewhere}")
    if marker.get("job") != origin.job and not replace:
        raise InputError(
            f"{folder} was fetched from job {marker.get('job')}: --replace puts "
            f"{origin.job}'s run in its place, or {elsewhere}"
        )


def install(archive: Path, origin: Origin, runs_dir: Path, *, replace: bool) -> Path:
    """Put a received run in its place; its folder. DamagedError if it is not the run asked for."""
    folder = run_folder(origin.name, runs_dir)
    aside, old = (runs_dir / f".{origin.name}.{uuid.uuid4().hex}" for _ in range(2))
    try:
        (aside / "curves").mkdir(parents=True)
        unpack(archive, aside)
        _expect_run(aside, origin.name)
        marker: dict[str, Any] = {
            "job": origin.job,
            "runs_dir": origin.runs_dir,
            "studies": _studies(aside),
            "curves": _curves(aside),
            "verification": verification_path(aside).exists(),
        }
        write_whole(aside / MARKER, yaml_text(marker))
        refuse_to_overwrite(origin, runs_dir, replace=replace)
        if folder.exists():
            folder.rename(old)
        try:
            aside.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise InputError(f"--runs-dir {runs_dir} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _expect_run(folder: Path, name: str) -> None:
    try:
        found = read_yaml(folder / "experiment.yaml").get("name")
    except InputError:
        raise DamagedError("it has no experiment.yaml that can be read") from None
    if found != name:
        raise DamagedError(f"its experiment is called {found!r}, not {name!r}")


def _studies(folder: Path) -> dict[str, str]:
    """SHA-256 of the studies in a run's folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("study.db"))
    }


def _curves(folder: Path) -> str:
    """Digest of the names and sizes of all curves: a study in a database shows no change here."""
    files = sorted(
        (p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder.rglob("*.npz")
    )
    return hashlib.sha256(repr(files).encode()).hexdigest()
