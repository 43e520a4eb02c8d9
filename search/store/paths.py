"""Where a run's files lie."""

from __future__ import annotations

import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from dipstage.errors import InputError, WorkError
from search.experiment.names import RUN_NAME, RUN_NAME_WORDS


def runs_path(where: Path | str) -> Path:
    """The folder of runs, which may be an address on object storage such as s3://bucket/prefix.

    Such a path is a `upath.UPath`, which answers to all of `Path` that this package uses; a file
    written there appears whole or not at all. InputError if it cannot be reached.
    """
    if not isinstance(where, str) or "://" not in where:
        # A `Path` or a `UPath` is what it is.
        return Path(where) if isinstance(where, str) else where
    try:
        from upath import UPath

        # Others write there too: what was listed a moment ago is no answer.
        path = UPath(where, use_listings_cache=False)
        path.exists()
    except ImportError as error:
        raise InputError(
            f"--runs-dir {where} needs {error.name}: pip install 'dipsearch[s3]'"
        ) from None
    except ValueError as error:
        raise InputError(f"--runs-dir {where} is no address that is known: {error}") from None
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise InputError(f"--runs-dir {where} cannot be reached: {brief(error)}") from None
    return cast(Path, path)


def is_remote(folder: Path) -> bool:
    """Whether a folder is on object storage."""
    return not isinstance(folder, Path)


def is_there(path: Path) -> bool:
    """Whether a file is there; WorkError where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise WorkError(f"{path} cannot be looked at: {brief(error)}") from None
    return True


def brief(error: BaseException) -> str:
    """What an error says, on one line of bearable length."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:200] or type(error).__name__


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one on this machine disappears at once."""
    if is_remote(folder):
        with suppress(FileNotFoundError):  # Empty folders are not there.
            cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)
        return
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def run_folder(name: str, runs_dir: Path) -> Path:
    """The folder of a run; InputError for a name that would leave `runs_dir`."""
    if not re.fullmatch(RUN_NAME, name):
        raise InputError(f"run name must be {RUN_NAME_WORDS}, got {name!r}")
    return runs_dir / name


def verification_path(folder: Path) -> Path:
    """Where a run's verification is planned; it has begun as soon as the file is there."""
    return folder / "verification.yaml"


def curve_path(folder: Path, number: int, key: str) -> Path:
    """Where the curves of a replicate lie."""
    return folder / "curves" / f"trial{number:05d}-{key}.npz"


def picture_path(folder: Path, number: int, key: str) -> Path:
    """Where the picture of a replicate lies: its output at its maximum."""
    return folder / "pictures" / f"trial{number:05d}-{key}.png"
