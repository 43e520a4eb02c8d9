"""Print a run folder as text, for a cluster of which only Ray's Jobs API can be reached.

`python -m search.remote.archive RUNS_DIR NAME` prints the archive line by line to the job's log.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import sqlite3
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from dipstage.documents.plain_yaml import forbidden_in

MARK = "dipsearch-pack"
"""First word of every line of an archive; other lines of the log are ignored."""
_PART_BYTES = 600_000  # In base64, a part stays well below the limit of a web socket message.
_READ_WITHIN_S = 600
_RAYS_BYTES = 64_000
_SUBRUNS = r"(?:learning-rate/|confirmation/|verification/)?"
_RUN_FILE = re.compile(
    _SUBRUNS
    + r"(?:study\.db|[^./\\][^/\\]*\.(?:yaml|csv|json|png|svg|pdf)|curves/[^./\\][^/\\]*\.npz"
    r"|pictures/[^./\\][^/\\]*\.png"
    r"|tensorboard/trial\d+/events\.out\.tfevents\.[^/\\]+)"
)


def is_run_file(path: str) -> bool:
    """Return whether a path, relative to the folder of a run, is one of the run's files."""
    return _RUN_FILE.fullmatch(path) is not None and forbidden_in(path) is None


def archive_run(folder: Path, file: io.BufferedIOBase) -> None:
    """Write the files of a run as a tar archive. The run's driver may be active.

    The archive is not compressed: curves and pictures are compressed already, and an uncompressed
    archive cannot expand to an unexpected size.
    """
    with tarfile.open(fileobj=file, mode="w:") as tar:
        # Studies first: a curve is written before the study refers to it, so none can be missing.
        for path in sorted(folder.rglob("*"), key=lambda p: (p.name != "study.db", p)):
            name = path.relative_to(folder).as_posix()
            if not is_run_file(name) or path.is_symlink() or not path.is_file():
                continue
            content = read_study(path) if path.name == "study.db" else path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
            tar.addfile(entry, io.BytesIO(content))


def read_study(path: Path) -> bytes:
    """Return a consistent copy of a study, even while it is being written to."""
    with tempfile.TemporaryDirectory() as aside:
        copy = Path(aside) / path.name
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return copy.read_bytes()


def lines(folder: Path) -> Iterator[str]:
    """Yield the lines of an archive: its size and SHA-256, then its content in base64."""
    with tempfile.TemporaryFile() as file:
        archive_run(folder, file)
        size = file.tell()
        file.seek(0)
        yield f"{MARK} begin {size} {hashlib.file_digest(file, 'sha256').hexdigest()}"
        file.seek(0)
        while part := file.read(_PART_BYTES):
            yield f"{MARK} part {base64.b64encode(part).decode()}"
        yield f"{MARK} end"


def remove_logs_of_earlier_fetches() -> None:
    """Delete the archives that earlier jobs have printed, which Ray keeps until its cluster ends.

    They lie beside this job's own log. One that was written to lately may still be read.
    """
    with suppress(OSError):
        own = Path(os.readlink("/proc/self/fd/1"))
        for path in own.parent.glob("job-driver-fetch-*.log"):
            is_ended = time.time() - path.stat().st_mtime > _READ_WITHIN_S
            if path != own and is_ended and _holds_archive(path):
                path.unlink(missing_ok=True)


def _holds_archive(path: Path) -> bool:
    with path.open("rb") as file:  # Ray's own lines come first.
        return f"\n{MARK} ".encode() in b"\n" + file.read(_RAYS_BYTES)


def main(runs_dir: str, name: str) -> int:
    """Print the archive of a run, or why there is none; return the exit code."""
    remove_logs_of_earlier_fetches()
    folder = Path(runs_dir) / name
    if not (folder / "experiment.yaml").is_file():
        print(
            f"{MARK} refused there is no run {name!r} in {runs_dir} on the cluster's head, or not "
            "yet"
        )
        return 1
    for line in lines(folder):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
