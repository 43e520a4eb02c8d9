"""Everything private of Optuna that is used here, as read in Optuna 5.0.0.

An upgrade of Optuna has this file to look at; a test says what of it has moved.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import Study
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.orm import Session

__all__ = ["SCHEMA", "FrozenStudy", "HookedStorage", "models"]

SCHEMA = "v3.2.0.a"
"""Of Optuna's tables, as `search.store.rows` knows them."""


class HookedStorage(RDBStorage):
    """Optuna's storage with public names for its private methods.

    Optuna's cache, which stands before every such storage, calls those that are defined here under
    both names.
    """

    def find_trials(
        self, study_id: int, states: Container[TrialState] | None, besides: set[int], after: int
    ) -> list[FrozenTrial]:
        """Return a study's trials in these states whose id is above `after` or in `besides`."""
        return list(RDBStorage._get_trials(self, study_id, states, besides, after))

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.find_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def create_trial(self, study_id: int, template: FrozenTrial | None = None) -> FrozenTrial:
        """Create a trial."""
        return RDBStorage._create_new_trial(self, study_id, template)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        return self.create_trial(study_id, template_trial)

    def write_param(self, *arguments: Any) -> None:
        """Write a trial's parameter."""
        RDBStorage._set_trial_param(self, *arguments)

    def _set_trial_param(self, *arguments: Any) -> None:
        self.write_param(*arguments)

    def session(self) -> AbstractContextManager[Session]:
        """Open a session that is committed at the end of the block."""
        return _create_scoped_session(self.scoped_session)

    def insert_trial(self, session: Session, study_id: int, template: FrozenTrial) -> Any:
        """Insert a trial's rows within a session; returns its model."""
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
    """Give a trial its id."""
    trial._trial_id = identity


def backend_of(study: Study) -> BaseStorage:
    """Return the storage behind Optuna's cache."""
    cached: Any = study._storage
    backend: BaseStorage = cached._backend
    return backend


def system_attributes(study: Study) -> dict[str, Any]:
    """Return Optuna's own attributes of a study, such as the names of its objectives."""
    return dict(study._storage.get_study_system_attrs(study._study_id))


def content_of(trial: Trial, study: Study) -> FrozenTrial:
    """Return what a trial that was asked for holds so far."""
    return study._storage.get_trial(trial._trial_id)


def stand_in_for_study(storage: Any) -> SimpleNamespace:
    """Return what optuna-dashboard's `save_note` takes for a study: a trial without an id."""
    return SimpleNamespace(storage=storage, study=SimpleNamespace(_study_id=0), _trial_id=None)
