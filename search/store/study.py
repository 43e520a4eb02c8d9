"""The Optuna study, which is the source of truth: what it holds, and how it is read.

Every trial of the study carries, as user attributes, its schedule, each finished replicate, and
where it failed the reason. A driver that dies leaves RUNNING trials behind; the next driver takes
them up under the same number, with the replicates that they had finished.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study

from dipstage.errors import InputError
from search.store import optuna_internals
from search.store.attributes import StudyAttributes, write
from search.store.storage import PatientStorage
from search.store.versions import code_digest, versions

if TYPE_CHECKING:
    from search.experiment.candidate import Candidate
    from search.experiment.model import Experiment


def create_study(
    storage: PatientStorage,
    experiment: Experiment,
    digests: dict[str, str],
    candidates: list[Candidate],
    name: str | None = None,
) -> None:
    """Create the study with what a resume needs: the experiment, the code, the candidates and the
    pictures' content.

    name: of the study, by default the experiment's.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=name or experiment.name, directions=["maximize", "minimize"]
        )
    except optuna.exceptions.DuplicatedStudyError:
        raise InputError(
            f"the storage has a study {experiment.name!r} already: choose another --name"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(["max_psnr_gt_db", experiment.objective.steps_key])
    write(
        study,
        made=False,
        experiment=experiment.model_dump(mode="json"),
        code={**versions(), "dipstage": code_digest()},
        pictures=digests,
        trials=experiment.search.trials,
        objective=experiment.objective,
        candidates=candidates,
    )


def clear_leftover(storage: PatientStorage, name: str) -> None:
    """Remove a study whose driver died before the run's folder was there; InputError for one that
    is a run's. The caller holds the lease of that name.
    """
    try:
        study = load_study(storage, name)
    except InputError:
        return
    # Whatever does not say that it was being made here is somebody's.
    if StudyAttributes.of(study).made is not False or study.get_trials(deepcopy=False):
        raise InputError(f"the storage has a study {name!r} already: choose another --name")
    delete_study(storage, name)


def load_study(storage: PatientStorage, name: str) -> Study:
    """The study of a run; InputError if the storage has none of that name."""
    try:
        return Study(name, storage)
    except KeyError:
        raise InputError(f"the storage has no study {name!r}: is it the one of this run?") from None


def storage_of(study: Study) -> PatientStorage:
    """The storage behind Optuna's cache, which passes on what is written."""
    storage = optuna_internals.backend_of(study)
    assert isinstance(storage, PatientStorage)
    return storage


def delete_study(storage: PatientStorage, name: str) -> None:
    """Remove a study from its storage, if it is there."""
    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)
