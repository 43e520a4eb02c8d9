"""Where a run's files lie."""

from __future__ import annotations

import re
from pathlib import Path

from dipstage.errors import InputError

RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def run_folder(name: str, runs_dir: Path) -> Path:
    """The folder of a run; InputError for a name that would leave `runs_dir`."""
    if not re.fullmatch(RUN_NAME, name):
        raise InputError(
            f"run name must be letters, digits, dots, dashes and underscores, got {name!r}"
        )
    return runs_dir / name


def verification_path(folder: Path) -> Path:
    """Where a run's verification is planned; it has begun as soon as the file is there."""
    return folder / "verification.yaml"


def curve_path(folder: Path, number: int, key: str) -> Path:
    """Where the curves of a replicate lie."""
    return folder / "curves" / f"trial{number:05d}-{key}.npz"
