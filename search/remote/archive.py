"""A run folder as text: how it leaves a cluster of which only the Jobs API can be reached.

`python -m search.remote.archive RUNS_DIR NAME` prints the archive line by line to the job's log.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

MARK = "dipsearch-pack"
"""Begins every line that belongs to an archive; others are the log's own."""
_LINE = 600_000  # Bytes; as base64 well below what a web socket takes as one message.
_PARTS = r"(?:learning-rate/|verification/)?"
_LAYOUT = re.compile(
    _PARTS
    + r"(?:study\.db|[^./\\][^/\\]*\.(?:yaml|csv|json|png|svg|pdf)|curves/[^./\\][^/\\]*\.npz"
    r"|pictures/[^./\\][^/\\]*\.png)"
)


def belongs(path: str) -> bool:
    """Whether a path, relative to a run's folder, is one of the files that make a run."""
    return _LAYOUT.fullmatch(path) is not None and path.isprintable()


def archive_run(folder: Path, file: io.BufferedIOBase) -> None:
    """Write a run's files as a plain tar, which may be done while its driver is at work.

    Not compressed: curves and pictures are already, and whoever unpacks it need not fear what it
    swells to.
    """
    with tarfile.open(fileobj=file, mode="w:") as tar:
        # Studies first: curves and pictures are written before the study knows of them.
        for path in sorted(folder.rglob("*"), key=lambda p: (p.name != "study.db", p)):
            name = path.relative_to(folder).as_posix()
            if not belongs(name) or path.is_symlink() or not path.is_file():
                continue
            content = _study(path) if path.name == "study.db" else path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
            tar.addfile(entry, io.BytesIO(content))


def _study(path: Path) -> bytes:
    """A consistent copy of a study that may be written to at this moment."""
    with tempfile.TemporaryDirectory() as aside:
        copy = Path(aside) / path.name
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return copy.read_bytes()


def lines(folder: Path) -> Iterator[str]:
    """An archive of a run as lines: its size and SHA-256, then base64."""
    with tempfile.TemporaryFile() as file:
        archive_run(folder, file)
        size = file.tell()
        file.seek(0)
        yield f"{MARK} begin {size} {hashlib.file_digest(file, 'sha256').hexdigest()}"
        file.seek(0)
        while part := file.read(_LINE):
            yield f"{MARK} part {base64.b64encode(part).decode()}"
        yield f"{MARK} end"


def main(runs_dir: str, name: str) -> int:
    """Print a run, or why there is none."""
    folder = Path(runs_dir) / name
    if not (folder / "experiment.yaml").is_file():
        print(f"{MARK} refused there is no run {name!r} in {runs_dir} on the cluster's head (yet)")
        return 1
    for line in lines(folder):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
