"""Locations of a run's files."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import cast

from dipstage.documents.plain_yaml import forbidden_in
from dipstage.documents.whole_files import expanded
from dipstage.errors import InputError, WorkError, brief
from search.experiment.names import RUN_NAME, RUN_NAME_WORDS
from search.store.folders import is_remote, path_exists

RUNS_DIR_VARIABLE = "DIPSEARCH_RUNS_DIR"


def runs_path(where: Path | str | None = None, *, called: str | None = None) -> Path:
    """Return the folder of runs, which may be on object storage, such as s3://bucket/prefix.

    By default that is the one in the environment, or else `runs` in the current folder.

    A path on object storage is a `upath.UPath`, which supports every `Path` method that this
    package uses. A file written there appears whole or not at all. Raises InputError if the storage
    cannot be reached; `called` is how it names the path, by default after the option.
    """
    if where is None:
        where = os.environ.get(RUNS_DIR_VARIABLE) or "runs"
    if not isinstance(where, str) and not hasattr(where, "joinpath"):
        raise InputError(f"--runs-dir must be a folder's path, got {where!r}")
    if isinstance(where, str) and not where.strip():
        raise InputError(f"{named(where).strip()} is blank: name a folder, or leave it out")
    if (found := forbidden_in(str(where))) is not None:
        raise InputError(f"--runs-dir has {found} in {str(where)!r}: leave it out")
    if not isinstance(where, str) or "://" not in where:
        # A `Path` or `UPath` is returned as it is.
        return expanded(where) if isinstance(where, str) else where
    if where.startswith(("http://", "https://")):
        raise InputError(
            f"{where} is an address of the web, where no runs are: name a folder, or an address "
            "such as s3://BUCKET/PREFIX"
        )
    called = called or named(where)
    try:
        from upath import UPath

        # No cache of listings: other processes write there, too.
        path = UPath(where, use_listings_cache=False)
        path.exists()
    except ImportError as error:
        remedy = "pip install 'dipsearch[s3]'" if where.startswith("s3:") else brief(error)
        raise InputError(f"{called} needs a package that is not installed: {remedy}") from None
    except ValueError as error:
        raise InputError(f"{called} is not a known kind of address: {error}") from None
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise InputError(f"{called} cannot be reached: {brief(error)}") from None
    return cast(Path, path)


def named(runs_dir: Path | str) -> str:
    """Return a folder of runs with what named it: the environment or the option."""
    given = os.path.expanduser(os.environ.get(RUNS_DIR_VARIABLE, ""))
    by = RUNS_DIR_VARIABLE if given and Path(given) == Path(str(runs_dir)) else "--runs-dir"
    return f"{by} {runs_dir}"


def refuse_unwritable(runs_dir: Path) -> None:
    """Raise InputError if no run can be made in a folder of runs, which need not exist yet."""
    if is_remote(runs_dir):
        return
    missing = [folder for folder in (runs_dir, *runs_dir.parents) if not os.path.lexists(folder)]
    aside = runs_dir / f".{uuid.uuid4().hex}"
    try:
        aside.mkdir(parents=True)
        aside.rmdir()
    except (NotADirectoryError, FileExistsError):
        raise InputError(f"{named(runs_dir)} is not a folder: name one, or a new one") from None
    except OSError as error:
        raise InputError(f"{named(runs_dir)} cannot be written: {brief(error)}") from None
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def run_folder(name: str, runs_dir: Path) -> Path:
    """Return the folder of a run; InputError for a name that could lead out of `runs_dir`."""
    if not re.fullmatch(RUN_NAME, name):
        raise InputError(f"run name must be {RUN_NAME_WORDS}, got {name!r}")
    return runs_dir / name


def awaited_folder(named: str, runs_dir: Path) -> Path:
    """Return the folder that a run of a name, or of a path, will have once it has begun."""
    return runs_path(named.rstrip("/")) if _is_path(named) else run_folder(named, runs_dir)


def _is_path(named: str) -> bool:
    return "/" in named or named in (".", "..")


def find_run(named: str | Path, runs_dir: Path | str | None = None) -> Path:
    """Return the folder of a run that is given by its name, or by a path to its folder.

    The folder may have been renamed to any name. A name that no run has is also tried as a path,
    unless another folder of runs was asked for.

    Raises:
        InputError: If there is no run.
    """
    if not isinstance(named, str | Path):
        raise InputError(f"a run is opened by its name or a path to its folder, got {named!r}")
    named = str(named)
    if not named:
        raise InputError("the run has no name: give that of its folder, or see dipsearch list")
    home = runs_path(runs_dir)
    is_path = _is_path(named)
    if not is_path and _is_run(home / named):
        return home / named
    path = runs_path(named.rstrip("/"), called=named) if "://" in named else Path(named)
    if path.name in ("", ".."):
        path = Path(os.path.abspath(path))
    if (is_path or home == runs_path()) and _is_run(path):
        if _is_run(path.parent):
            raise InputError(f"{named} is a part of the run {path.parent}: name that")
        return path
    for folder in [path] if is_path else [home / named, path]:
        if path_exists(folder):
            is_folder = folder.is_dir() or is_remote(folder)
            reason = "has no experiment.yaml" if is_folder else "is a file"
            raise InputError(f"{folder} {reason}, so it is no run's folder: see dipsearch list")
    if is_path:
        raise InputError(f"{named!r} is neither a run's name nor a path to the folder of a run")
    raise InputError(
        f"run {named!r} does not exist in {home}: start it with dipsearch launch, or see dipsearch "
        "list"
    )


def _is_run(folder: Path) -> bool:
    return path_exists(folder / "experiment.yaml")


def find_runs(runs_dir: Path) -> list[Path]:
    """Return the folders of all runs, by name; none if there is no such folder of runs.

    Folders that cannot be looked at are among them, because each may be a run.
    """
    if not is_remote(runs_dir) and not runs_dir.is_dir():
        return []
    try:
        found = list(runs_dir.iterdir())
    except FileNotFoundError:  # Of object storage, which has no empty folders.
        return []
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise InputError(f"{named(runs_dir)} cannot be read: {brief(error)}") from None
    # The names of folders that are being made or removed begin with a dot.
    names = [path for path in found if path.name[:1] != "." and forbidden_in(path.name) is None]
    return sorted(filter(_may_be_run, names), key=lambda path: path.name)


def _may_be_run(folder: Path) -> bool:
    """Return whether a folder is a run, or one that nobody here may look at.

    Such a folder may be a colleague's run, but not if every mounted file system has one.
    """
    try:
        return _is_run(folder)
    except WorkError:
        return folder.name != "lost+found"


def verification_path(folder: Path) -> Path:
    """Return the path of a verification's plan; a verification has begun once the file exists."""
    return folder / "verification.yaml"


def curve_path(folder: Path, number: int, key: str) -> Path:
    """Return the path of a replicate's curves."""
    return folder / "curves" / f"trial{number:05d}-{key}.npz"


def picture_path(folder: Path, number: int, key: str) -> Path:
    """Return the path of a replicate's picture: see `RunRecord.picture`."""
    return folder / "pictures" / f"trial{number:05d}-{key}.png"
