"""Receive a run from a cluster, check it, and install it completely or not at all.

The content is not trusted: nothing is unpickled, and only the files of a run are unpacked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dipstage.documents.plain_yaml import read_yaml, yaml_text
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from search.remote.archive import MARK, is_run_file
from search.store.folders import is_remote, replaced
from search.store.paths import named, run_folder, verification_path

MAX_BYTES = 8 * 2**30
ORIGIN_FILE = "fetched.yaml"
"""File in a fetched run with the job that it came from and the state in which it arrived."""

_NEVER_KEPT = ("study.db", "verification.")
"""Beginnings of names of what belongs to one state of a run; also of a study's journal."""


class DamagedError(Exception):
    """The received text is not a complete archive of a run; the message says why."""


def receive(text: Iterable[str], file: IO[bytes], max_bytes: int = MAX_BYTES) -> None:
    """Write the archive in a job's log to `file`, and check its size and SHA-256.

    InputError if the job reports that there is no run; DamagedError if the archive is not intact.
    """
    expected: tuple[int, str] | None = None
    digest, size = hashlib.sha256(), 0
    for line in _complete_lines(text):
        mark, _, rest = line.partition(" ")
        kind, _, content = rest.partition(" ")
        if mark != MARK:
            continue
        if kind == "refused":
            raise InputError("".join(c for c in content if c.isprintable())[:400])
        if kind == "begin":
            expected = _parse_header(content, max_bytes)
        elif kind == "part" and expected is not None:
            try:
                part = base64.b64decode(content, validate=True)
            except binascii.Error:
                raise DamagedError("a part of the archive is not base64") from None
            size += len(part)
            if size > expected[0]:
                raise DamagedError("the archive is longer than announced")
            digest.update(part)
            file.write(part)
        elif kind == "end" and expected is not None:
            if (size, digest.hexdigest()) != expected:
                raise DamagedError("the SHA-256 of the archive is not as announced")
            return  # Do not wait for the end of the job, which is reported seconds later.
    raise DamagedError("the archive did not arrive completely")


def _parse_header(content: str, max_bytes: int) -> tuple[int, str]:
    size, _, digest = content.partition(" ")
    if not size.isdecimal():
        raise DamagedError("the archive has no size")
    if int(size) > max_bytes:
        raise DamagedError(
            f"the archive has {int(size):,} bytes, more than the {max_bytes:,} allowed"
        )
    return int(size), digest


def _complete_lines(text: Iterable[str]) -> Iterable[str]:
    """Yield the complete lines of a text that arrives in pieces."""
    pending: list[str] = []
    for piece in text:
        *ends, rest = piece.split("\n")
        for end in ends:
            yield "".join((*pending, end))
            pending.clear()
        pending.append(rest)
    yield "".join(pending)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into an empty folder; DamagedError for any member that is not a file of a run."""
    seen: set[str] = set()
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse() or not is_run_file(member.name):
                    raise DamagedError(f"{member.name!r} in the archive is not a file of a run")
                if member.name in seen:
                    raise DamagedError(f"the archive contains {member.name!r} twice")
                seen.add(member.name)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, ValueError) as error:
        raise DamagedError(f"the archive cannot be unpacked: {error}") from None


@dataclass(frozen=True, slots=True)
class Origin:
    """The job, the name and the folder of runs that a run comes from."""

    job: str
    name: str
    runs_dir: str


def check_overwrite(origin: Origin, runs_dir: Path, *, replace: bool) -> None:
    """Raise InputError if a run of that name is here, unless it is an unchanged earlier copy.

    replace: accept an unchanged copy that was fetched from another job.
    """
    if is_remote(runs_dir):
        raise InputError(f"{named(runs_dir)}: give a folder of this machine to fetch a run into")
    folder = run_folder(origin.name, runs_dir)
    if not os.path.lexists(folder):
        return
    elsewhere = "choose another --runs-dir"
    if not (folder / ORIGIN_FILE).is_file():
        raise InputError(f"{folder} was made here, not fetched: {elsewhere}")
    marker = read_yaml(folder / ORIGIN_FILE)
    if (
        marker.get("studies") != _study_digests(folder)
        or marker.get("curves") != _curves_digest(folder)
        or (verification_path(folder).exists() and not marker.get("verification"))
    ):
        raise InputError(
            f"run {origin.name!r} in {folder} has changed since it was fetched: {elsewhere}"
        )
    if marker.get("job") != origin.job and not replace:
        raise InputError(
            f"{folder} was fetched from job {marker.get('job')}: replace it by the run of "
            f"{origin.job} with --replace, or {elsewhere}"
        )


def install(archive: Path, origin: Origin, runs_dir: Path, *, replace: bool) -> Path:
    """Move a received run into its folder, and return the folder.

    DamagedError if it is not the run that was asked for.
    """
    folder = run_folder(origin.name, runs_dir)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with replaced(folder) as aside:
            (aside / "curves").mkdir()
            unpack(archive, aside)
            _check_run(aside, origin.name)
            marker: dict[str, Any] = {
                "job": origin.job,
                "runs_dir": origin.runs_dir,
                "studies": _study_digests(aside),
                "curves": _curves_digest(aside),
                "verification": verification_path(aside).exists(),
            }
            write_whole(aside / ORIGIN_FILE, yaml_text(marker))
            check_overwrite(origin, runs_dir, replace=replace)
            _keep_made_here(folder, aside, replace=replace)
    except OSError as error:
        raise InputError(f"{named(runs_dir)} cannot be written: {error.strerror}") from None
    return folder


def _keep_made_here(folder: Path, aside: Path, *, replace: bool) -> None:
    """Copy to `aside` what was made in a fetched run and has not arrived, such as its report.

    Among the files at its top, which the cluster may have made as well, that is everything but the
    study and what a verification consists of; with `replace`, only what no run has.
    """
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        made_here = not is_run_file(name) or ("/" not in name and not replace)
        if not made_here or path.name.startswith(_NEVER_KEPT):
            continue
        kept = aside / name
        if (path.is_symlink() or path.is_file()) and not os.path.lexists(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept, follow_symlinks=False)


def _check_run(folder: Path, name: str) -> None:
    try:
        found = read_yaml(folder / "experiment.yaml").get("name")
    except InputError:
        raise DamagedError("the archive has no readable experiment.yaml") from None
    if found != name:
        raise DamagedError(f"the experiment in the archive is called {found!r}, not {name!r}")


def _study_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each study in the folder of a run."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("study.db"))
    }


def _curves_digest(folder: Path) -> str:
    """Return a digest of the names and sizes of all curves.

    It shows a change in the folder if the study is in a database.
    """
    files = sorted(
        (p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder.rglob("*.npz")
    )
    return hashlib.sha256(repr(files).encode()).hexdigest()
