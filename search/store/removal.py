"""Removal of a run: its studies and its folder. A removal that is interrupted can be repeated."""

from __future__ import annotations

import glob
import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dipstage.errors import InputError, WorkError, brief
from search.experiment.names import RUN_NAME
from search.store.folders import REMOVED, is_remote, path_exists, set_aside, size_bytes
from search.store.lease import leased, verifying
from search.store.paths import find_run, run_folder, runs_path
from search.store.storage import PatientStorage, open_storage
from search.store.study import delete_study


@dataclass(frozen=True, slots=True)
class Remains:
    """The parts of a run that exist.

    Args:
        name: Name of the run.
        folder: Folder of the run; None if it is gone, or was never here.
        studies: Studies with their storages, those of a confirmation and a verification first.
        in_database: Whether the studies are in a database outside the folder.
        leftovers: Renamed folders of removals that were interrupted.
    """

    name: str
    folder: Path | None
    studies: list[tuple[PatientStorage, str]]
    in_database: bool
    leftovers: list[Path]

    @property
    def bytes(self) -> int:
        """Size of the folder and of what earlier removals left."""
        folders = [self.folder, *self.leftovers]
        return sum(size_bytes(folder) for folder in folders if folder is not None)


def remains_of(named: str, runs_dir: Path, address: str | None) -> Remains:
    """Return what there is of a run that is given by its name or by a path to its folder.

    Raises:
        InputError: If there is nothing, if the folder is a link, if its study cannot be read, or if
            the study is in a database that is not named.
    """
    try:
        folder = find_run(named, runs_dir)
    except InputError:
        is_name = re.fullmatch(RUN_NAME, named)
        gone = run_folder(named, runs_path(runs_dir)) if is_name else Path(named)
        remains = Remains(gone.name, None, *_studies(None, gone.name, address), _leftovers(gone))
        if not (remains.studies or remains.leftovers):
            raise
        return remains
    if not is_remote(folder) and folder.is_symlink():
        raise InputError(
            f"{folder} is a link to {folder.resolve()}: name that folder to remove the run, or "
            "remove the link by itself"
        )
    studies = _studies(folder, folder.name, address)
    return Remains(folder.name, folder, *studies, _leftovers(folder))


def _studies(
    folder: Path | None, name: str, address: str | None
) -> tuple[list[tuple[PatientStorage, str]], bool]:
    """Return the studies of a run, and whether they are in a database."""
    if folder is not None and (address is None or path_exists(folder / "study.db")):
        parts = [] if is_remote(folder) else sorted(folder.glob("*/study.db"))
        inside = [path.parent for path in parts if not path.parent.is_symlink()]
        try:
            opened = [open_storage(each, None) for each in (*inside, folder)]
            return [(db, s.study_name) for db in opened for s in db.get_all_studies()], False
        except InputError as error:
            # Whether a driver is alive stands in the study.
            raise InputError(
                f"{error}; to remove the run without its study, delete the folder {folder}"
            ) from None
    if address is None:
        return [], False
    database = open_storage(folder or Path(name), address)
    names = [study.study_name for study in database.get_all_studies()]
    own = [each for each in names if each == name or each.startswith(f"{name}/")]
    return [(database, each) for each in sorted(own, reverse=True)], True


def _leftovers(folder: Path) -> list[Path]:
    if is_remote(folder) or not folder.parent.is_dir():
        return []
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.{REMOVED}*"))


def remove(remains: Remains) -> None:
    """Remove a run: its studies in a database, and then its folder.

    Links in the folder are removed, and never followed.

    Raises:
        InputError: If a search, a confirmation or a verification of the run has a living driver.
        WorkError: If something cannot be removed. The removal can be repeated.
    """
    leftovers = list(remains.leftovers)
    with ExitStack() as stack:
        for storage, study in remains.studies:
            stack.enter_context(leased(storage, study, f"run {study!r}"))
            if "/" not in study:  # Its comparisons have no study until their cluster has started.
                what = f"the verification of {study!r}"
                stack.enter_context(leased(storage, verifying(study), what))
        if remains.in_database:
            for storage, study in remains.studies:
                delete_study(storage, study)
        if remains.folder is not None:
            if is_remote(remains.folder):
                _remove_objects(remains.folder)
            else:
                leftovers.append(_renamed(remains.folder))
    for folder in leftovers:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise WorkError(
                f"{folder} could not be removed completely: {brief(error)}; call dipsearch remove "
                f"{remains.name} again"
            ) from None


def _renamed(folder: Path) -> Path:
    """Rename a folder, so that it is a run no more, and return its new path."""
    try:
        return set_aside(folder)
    except OSError as error:
        raise WorkError(f"{folder} cannot be removed: {brief(error)}") from None


def _remove_objects(folder: Path) -> None:
    """Remove a folder on object storage; while anything is left there, the run can be named."""
    files, path = cast(Any, folder).fs, cast(Any, folder).path
    last = cast(Any, folder / "experiment.yaml").path
    try:
        if others := [each for each in files.find(path) if each != last]:
            files.rm(others)
        files.rm(last)
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise WorkError(f"{folder} could not be removed completely: {brief(error)}") from None
