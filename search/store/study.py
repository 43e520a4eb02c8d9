"""Creation, loading and deletion of the Optuna study, which is the source of truth.

The user attributes of a trial hold its schedule, its finished replicates and, if it failed, the
reason. A driver that dies leaves RUNNING trials behind. The next driver continues them under the
same numbers and keeps their finished replicates.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study

from dipstage.errors import InputError
from dipstage.tasks.registry import file_digests
from search.store import optuna_internals
from search.store.attributes import Learned, StudyAttributes, write
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
    name: str,
    learned: Sequence[Learned] = (),
) -> None:
    """Create the study and store in it everything that a resume needs.

    Args:
        storage: Storage that receives the study.
        experiment: Experiment to run.
        digests: SHA-256 of each picture by its label.
        candidates: Candidates of the experiment.
        name: Name of the study.
        learned: Trials of other runs that its sampler learns from.

    Raises:
        InputError: If the storage already has a study of this name.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=["maximize", "minimize"]
        )
    except optuna.exceptions.DuplicatedStudyError:
        raise InputError(
            f"the storage has a study {name!r} already: choose another --name"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([experiment.objective.quality.key, experiment.objective.cost.key])
    write(
        study,
        made=False,
        experiment=experiment.model_dump(mode="json"),
        code={**versions(), "dipstage": code_digest()},
        pictures=digests,
        files=file_digests(experiment.task),
        trials=experiment.search.trials,
        hours=experiment.search.hours,
        objective=experiment.objective,
        candidates=candidates,
        learned=learned,
    )


def clear_leftover(storage: PatientStorage, name: str) -> None:
    """Remove a study whose driver died before it had created the run's folder.

    The caller must hold the lease of that name.

    Raises:
        InputError: If the study belongs to a run.
    """
    try:
        study = load_study(storage, name)
    except InputError:
        return
    # A study that is not marked as unfinished belongs to someone.
    if StudyAttributes.of(study).made is not False or study.get_trials(deepcopy=False):
        raise InputError(f"the storage has a study {name!r} already: choose another --name")
    delete_study(storage, name)


def load_study(storage: PatientStorage, name: str) -> Study:
    """Return the study of a run.

    Raises:
        InputError: If the storage has no study of this name.
    """
    try:
        return Study(name, storage)
    except KeyError:
        raise InputError(f"the storage has no study {name!r}: is it the one of this run?") from None


def storage_of(study: Study) -> PatientStorage:
    """Return the storage behind Optuna's cache; the cache forwards all writes to it."""
    storage = optuna_internals.backend_of(study)
    assert isinstance(storage, PatientStorage)
    return storage


def delete_study(storage: PatientStorage, name: str) -> None:
    """Remove a study from its storage, if it exists."""
    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)
