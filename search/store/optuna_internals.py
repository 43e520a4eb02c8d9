"""All uses of Optuna's private names, written for Optuna 5.0.0.

Review this file when Optuna is upgraded. A test reports private names that have changed.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import Study
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.study._frozen import FrozenStudy
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.orm import Session

__all__ = ["SCHEMA", "FrozenStudy", "HookedStorage", "models"]

SCHEMA = "v3.2.0.a"
"""Version of Optuna's database schema that `search.store.rows` supports."""


class HookedStorage(RDBStorage):
    """Optuna's storage with public names for its private methods.

    Optuna's cache wraps every such storage and calls the private names. They forward to the public
    methods, so a subclass overrides only the public ones.
    """

    def find_trials(
        self, study_id: int, states: Container[TrialState] | None, besides: set[int], after: int
    ) -> list[FrozenTrial]:
        """Return trials of a study by state and id.

        Args:
            study_id: Id of the study.
            states: States of the trials; None means all states.
            besides: Ids of trials to return even if they are not above `after`.
            after: Other trials are returned only if their id is above this one.
        """
        return list(RDBStorage._get_trials(self, study_id, states, besides, after))

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.find_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def session(self) -> AbstractContextManager[Session]:
        """Open a session that commits at the end of the `with` block."""
        return _create_scoped_session(self.scoped_session)

    def insert_trial(self, session: Session, study_id: int, template: FrozenTrial) -> Any:
        """Insert a trial's rows within a session and return the trial's model."""
        return self._get_prepared_new_trial(study_id, template, session)

    def insert_attribute(self, session: Session, trial_id: int, key: str, value: Any) -> None:
        """Write a user attribute within a session."""
        kind = models.TrialUserAttributeModel
        self._set_trial_attr_without_commit(session, kind, trial_id, key, value)

    def insert_value(self, session: Session, trial: Any, objective: int, value: float) -> None:
        """Write the value of an objective within a session."""
        self._set_trial_value_without_commit(session, trial, objective, value)


def id_of_study(study: Study | FrozenStudy) -> int:
    """Return a study's id in its storage."""
    return int(study._study_id)


def id_of_trial(trial: Trial | FrozenTrial) -> int:
    """Return a trial's id in its storage."""
    return int(trial._trial_id)


def set_trial_id(trial: FrozenTrial, identity: int) -> None:
    """Set the id of a trial."""
    trial._trial_id = identity


def backend_of(study: Study) -> BaseStorage:
    """Return the storage behind Optuna's cache."""
    cached: Any = study._storage
    backend: BaseStorage = cached._backend
    return backend


def system_attributes(study: Study, objectives: int) -> dict[str, Any]:
    """Return Optuna's own attributes of a study, with the names of its first objectives alone.

    objectives: Number of objectives.
    """
    attributes = dict(study._storage.get_study_system_attrs(study._study_id))
    if (names := attributes.get(_SYSTEM_ATTR_METRIC_NAMES)) is not None:
        attributes[_SYSTEM_ATTR_METRIC_NAMES] = names[:objectives]
    return attributes


def content_of(trial: Trial, study: Study) -> FrozenTrial:
    """Return the present content of a trial that the study's `ask` created."""
    return study._storage.get_trial(trial._trial_id)


def set_constraints(study: Study, number: int, violations: Mapping[str, float]) -> None:
    """Set the constraints of a trial that has not ended, as `Trial.set_constraint` does.

    violations: By how much each constraint is violated; not above 0 where it is met.
    """
    if not violations:
        return
    storage: BaseStorage = study._storage
    identity = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    for name, excess in violations.items():
        storage.set_trial_system_attr(identity, f"{_CONSTRAINTS_KEY}:{name}", excess)


def constraints_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the constraints of a trial as Optuna's own attributes."""
    return {k: v for k, v in trial.system_attrs.items() if k.startswith(_CONSTRAINTS_KEY)}


def stand_in_for_study(storage: Any) -> SimpleNamespace:
    """Return an object that optuna-dashboard's `save_note` accepts in place of a study.

    It looks like a trial without an id.
    """
    return SimpleNamespace(storage=storage, study=SimpleNamespace(_study_id=0), _trial_id=None)
