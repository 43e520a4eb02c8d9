"""The Optuna study, which is the source of truth: what it holds, and how it is read.

Every trial of the study carries, as user attributes, its schedule, each finished replicate, and
where it failed the reason. A driver that dies leaves RUNNING trials behind; the next driver takes
them up under the same number, with the replicates that they had finished.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from dipstage.errors import InputError
from search.experiment.objectives import Objective
from search.store.storage import PatientStorage
from search.store.versions import code_digest, versions

if TYPE_CHECKING:
    from search.experiment.model import Experiment
    from search.experiment.prepare import Candidate

REPLICATE = "replicate:"
"""Prefix of the attribute that holds a finished replicate's outcome."""
MADE = "made"
"""Attribute of a study: whether its run has a folder yet."""
RACED = "raced"
"""Attribute of a trial that was stopped because the front had beaten it."""


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
    study.set_user_attr(MADE, False)
    study.set_user_attr("experiment", experiment.model_dump(mode="json"))
    study.set_user_attr("code", {**versions(), "dipstage": code_digest()})
    study.set_user_attr("pictures", digests)
    study.set_user_attr("trials", experiment.search.trials)
    study.set_user_attr("objective", asdict(experiment.objective))
    study.set_user_attr("candidates", [candidate.plain() for candidate in candidates])


def clear_leftover(storage: PatientStorage, name: str) -> None:
    """Remove a study whose driver died before the run's folder was there; InputError for one that
    is a run's. The caller holds the lease of that name.
    """
    try:
        study = load_study(storage, name)
    except InputError:
        return
    # Whatever does not say that it was being made here is somebody's.
    if study.user_attrs.get(MADE) is not False or study.get_trials(deepcopy=False):
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
    storage = cast(_CachedStorage, study._storage)._backend
    assert isinstance(storage, PatientStorage)
    return storage


def delete_study(storage: PatientStorage, name: str) -> None:
    """Remove a study from its storage, if it is there."""
    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)


def replicates(trial: FrozenTrial) -> dict[str, dict[str, Any]]:
    """Outcomes of a trial's finished replicates by their key."""
    return {
        key.removeprefix(REPLICATE): value
        for key, value in trial.user_attrs.items()
        if key.startswith(REPLICATE)
    }


def objective_of(study: Study) -> Objective:
    """What the study optimises."""
    return Objective(**study.user_attrs["objective"])


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a driver died before the trial had a schedule: it counts for nothing."""
    return bool(trial.user_attrs.get("interrupted"))
