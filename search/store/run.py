"""A finished or running search as a record: its study, trials, curves and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from dipstage.documents.plain_yaml import read_yaml
from dipstage.errors import InputError, brief
from dipstage.garbage import uncollected
from dipstage.schedules.stopping import OUTPUTS
from search.experiment.objectives import Objective
from search.store.attributes import StudyAttributes, is_interrupted
from search.store.database_address import storage_address
from search.store.folders import path_exists
from search.store.paths import curve_path, find_run, picture_path
from search.store.records import Trial
from search.store.storage import DamagedStudyError, PatientStorage, open_storage
from search.store.study import load_study

if TYPE_CHECKING:
    from search.experiment.model import Experiment
    from search.experiment.space import Point
    from search.store.lease import Holder

PNG = b"\x89PNG\r\n\x1a\n"
"""Signature at the start of every PNG file."""


@contextmanager
def _undamaged(folder: Path) -> Iterator[None]:
    """Say in one sentence that a study holds what no version has written."""
    try:
        yield
    except DamagedStudyError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DamagedStudyError(
            f"the study of {folder} is damaged ({brief(error)}): copy the run's folder again from "
            "where it was made"
        ) from None


def _refuse_unknown(trial: Trial, key: str) -> None:
    if key not in trial.replicates:
        known = ", ".join(trial.replicates) or "none"
        raise InputError(f"{trial.name} has no replicate {key!r}: its replicates are {known}")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except Exception as error:  # Clients of object stores raise errors of many kinds.
        raise InputError(f"{path} cannot be read: {brief(error)}") from None


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name; none if it is damaged or is no archive."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except MemoryError:
        raise
    except Exception:  # Damage leads to errors of zipfile, zlib, tokenize and others.
        return {}


@dataclass(frozen=True)
class RunRecord:
    """A run folder and its study.

    Args:
        folder: Folder of the run.
        study: Study of the run.
        storage: Storage that holds the study.
        address: Address of a database outside the folder; None for SQLite in the folder.
    """

    folder: Path
    study: Study
    storage: PatientStorage
    address: str | None = field(default=None, repr=False)
    _known: dict[int, tuple[FrozenTrial, Trial]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(
        cls, name: str | Path, runs_dir: Path | str | None = None, storage: str | None = None
    ) -> Self:
        """Open a run by its name, or by a path to its folder.

        Raises:
            InputError: If the run does not exist.
        """
        return cls.at(find_run(name, runs_dir), storage)

    @classmethod
    def at(cls, folder: Path, storage: str | None = None) -> Self:
        """Open the run in an existing folder, with its own study or that of its name.

        Args:
            folder: Folder of the run.
            storage: Address of a database, for a run without a study in its folder; None means the
                one in the environment.
        """
        address = storage_address(storage)
        if address is None or path_exists(folder / "study.db"):
            return cls.inside(folder, folder.name)
        opened = open_storage(folder, address)
        return cls(folder, load_study(opened, folder.name), opened, address)

    @classmethod
    def inside(cls, folder: Path, name: str) -> Self:
        """Open the run in an existing folder with the study that is there.

        A database in the folder has one study, which keeps its name when the folder is renamed.
        """
        opened = open_storage(folder, None)
        with _undamaged(folder):
            names = [study.study_name for study in opened.get_all_studies()]
        return cls(folder, load_study(opened, names[0] if len(names) == 1 else name), opened)

    def reread(self) -> Self:
        """Return the same run with everything that was written since it was opened."""
        return type(self)(self.folder, self.study, self.storage, self.address)

    @property
    def attributes(self) -> StudyAttributes:
        """Present attributes of the study."""
        with _undamaged(self.folder):
            return StudyAttributes.of(self.study)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment as the study holds it, read on first use because its import is slow."""
        from search.experiment.reading import validate

        recorded = self.attributes.experiment
        path = self.folder / "experiment.yaml"
        return validate(read_yaml(path) if recorded is None else recorded, str(path))

    @cached_property
    def objective(self) -> Objective:
        """Objective of the search."""
        return self.attributes.objective

    @property
    def name(self) -> str:
        """The run's name: that of its folder, also if the folder was renamed."""
        study, folder = self.study.study_name, self.folder
        if self.address is not None:
            return study
        return f"{folder.parent.name}/{folder.name}" if "/" in study else folder.name

    @property
    def trials_wanted(self) -> int:
        """Requested number of sampled trials, not counting candidates."""
        return self.attributes.trials

    @property
    def candidates_wanted(self) -> int:
        """Number of candidates of the experiment."""
        return len(self.attributes.candidates)

    def records(self) -> list[Trial]:
        """Return all trials except those that a dead driver left without a schedule."""
        known = self._known
        # Collection would take a third of the time when many objects are made.
        with uncollected(), _undamaged(self.folder):
            found = self.study.get_trials(deepcopy=False)
            # Optuna returns the same object each time for a trial that has ended.
            for trial in found:
                if trial.number not in known or known[trial.number][0] is not trial:
                    known[trial.number] = trial, Trial.of(trial, self.objective)
        return [known[trial.number][1] for trial in found if not is_interrupted(trial)]

    def point(self, trial: Trial) -> Point | None:
        """Return a sampled trial's point in the search space; None for a candidate."""
        from search.experiment.space import decode

        experiment = self.experiment
        if trial.candidate is not None or experiment.space is None:
            return None
        return decode(trial.params, experiment.space, experiment.task.noise_255)

    def curves(self, trial: Trial, key: str) -> dict[str, NDArray[Any]]:
        """Return the curves of a finished replicate by name: the fields of `Trace`.

        Raises:
            InputError: If there is no such replicate, or if the file is missing or holds no curves.
        """
        _refuse_unknown(trial, key)
        path = curve_path(self.folder, trial.trained_by(key), key)
        curves = _arrays(_content(path))
        if not all(f"psnr_gt_{output}_db" in curves for output in OUTPUTS):
            raise InputError(
                f"{path} cannot be read: it holds no curves, or damaged ones; if the run is a "
                "copy, copy its folder again"
            )
        return curves

    def picture(self, trial: Trial, key: str) -> bytes | None:
        """Return the output of a replicate that was kept, as a PNG.

        Returns:
            The objective's output at its maximum, or as the stopping rule selected it if the
            objective has one; None if no picture was kept. Pictures are kept only for the first
            seed; early versions kept none.

        Raises:
            InputError: If there is no such replicate, or if the file cannot be read or holds no
                PNG.
        """
        _refuse_unknown(trial, key)
        path = picture_path(self.folder, trial.trained_by(key), key)
        if not path_exists(path):
            return None
        content = _content(path)
        if not content.startswith(PNG):
            raise InputError(f"{path} cannot be read: it holds no PNG")
        return content

    def __repr__(self) -> str:
        """Return one line with the run's name, without reading the trials."""
        return f"<Run {self.name!r}>"

    def driver(self) -> Holder | None:
        """Return the live driver on any machine; None if there is none."""
        from search.store.lease import holder

        return holder(self.storage, self.study.study_name)
