"""Read-only copy of a run's study in memory, which is refreshed from the study.

optuna-dashboard stores notes as attributes of the study and lets viewers rename and delete studies.
A run's study must not change in this way: its driver holds a lease on it, and a resume compares its
attributes. The dashboard therefore gets this storage, which refuses to write and keeps its own
notes.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dipstage.errors import InputError
from search.analysis.status import sentence, status_of
from search.analysis.trial_rows import row
from search.store.attributes import StudyAttributes
from search.store.optuna_internals import (
    FrozenStudy,
    constraints_of,
    id_of_study,
    stand_in_for_study,
    system_attributes,
)
from search.store.paths import verification_path
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.parts import HELD_OUT, TUNING, Parts

_STUDY_STRIDE = 10_000_000
"""Difference between the first ids of two studies, so that ids of trials are unique."""
_ABOUT = (
    "This is a read-only copy that follows the study. Raced trials are shown as pruned, with their "
    "predicted values."
)


class _Note(dict[str, Any]):
    """Attributes of a study that hold its note, in the form in which optuna-dashboard stores it."""

    def write(self, body: str) -> None:
        """Replace the note."""
        from optuna_dashboard import save_note

        save_note(stand_in_for_study(self), body)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self[key] = value


@dataclass(slots=True)
class _Copied:
    """A run and the state of its study at the last refresh."""

    run: RunRecord
    study: FrozenStudy | None = None
    trials: list[FrozenTrial] = field(default_factory=list)
    known: dict[int, tuple[FrozenTrial, FrozenTrial]] = field(default_factory=dict)
    note: _Note = field(default_factory=_Note)
    names: dict[str, Any] = field(default_factory=dict)
    status: str = ""

    def write(self, last_read: str) -> None:
        """Write the status of the search and its time into the note."""
        self.note.write(f"{self.status}\n\n{last_read}\n\n{_ABOUT}")

    def system_attrs(self) -> dict[str, Any]:
        """Return the note and the names of objectives, as optuna-dashboard expects them."""
        return {**self.names, **self.note}


class Mirror(BaseStorage):
    """Storage with the search as study 1, followed by the existing parts of its verification."""

    def __init__(self, run: RunRecord) -> None:
        """Read the run for the first time."""
        self._copies: dict[int, _Copied] = {1: _Copied(run)}
        self._parts = Parts(run)
        self._read = datetime.now().astimezone()
        self.refresh()

    def refresh(self) -> None:
        """Read the studies again.

        Only one thread may call this. Other threads can read at the same time and see either the
        old or the new state of a study.
        """
        copies = dict(self._copies)
        now = datetime.now().astimezone()
        if verification_path(copies[1].run.folder).exists():
            for number, name in enumerate((TUNING, HELD_OUT), start=2):
                run = self._parts.open(name)
                if run is not None and (number not in copies or copies[number].run is not run):
                    copies[number] = _Copied(run)
        for study_id, copied in copies.items():
            self._copy(study_id, copied, f"Last read at {now:%Y-%m-%d %H:%M}.")
        self._copies, self._read = copies, now

    def fail(self, reason: str) -> None:
        """Write into the notes that the study cannot be read, since when, and the reason."""
        words = f"Reading fails since {self._read:%Y-%m-%d %H:%M}: {plain(reason)}."
        for copied in self._copies.values():
            copied.write(f"**{words} This is what was read before.**")
            if copied.study is not None:
                copied.study.system_attrs = copied.system_attrs()

    def _copy(self, study_id: int, copied: _Copied, last_read: str) -> None:
        run = copied.run
        trials = []
        for trial in run.study.get_trials(deepcopy=False):
            # Optuna returns the same object each time for a trial that has ended.
            seen = copied.known.get(trial.number)
            if seen is None or seen[0] is not trial:
                seen = copied.known[trial.number] = trial, _shown(study_id, run, trial)
            trials.append(seen[1])
        copied.status = f"{plain(sentence(status_of(run)))}."
        copied.names = system_attributes(run.study, _optimised(run))
        copied.write(last_read)
        copied.study = FrozenStudy(
            study_name=run.name,
            direction=None,
            directions=[StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: _optimised(run)],
            user_attrs=_told(run.attributes),
            system_attrs=copied.system_attrs(),
            study_id=study_id,
        )
        copied.trials = trials

    # Methods that optuna-dashboard calls to read.

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`."""
        return [copied.study for copied in self._copies.values() if copied.study is not None]

    def _of(self, study_id: int) -> _Copied:
        if study_id not in self._copies:
            raise KeyError(f"there is no study {study_id}")
        return self._copies[study_id]

    def _study(self, study_id: int) -> FrozenStudy:
        study = self._of(study_id).study
        assert study is not None
        return study

    def get_study_id_from_name(self, study_name: str) -> int:
        """See `BaseStorage`."""
        for study in self.get_all_studies():
            if study.study_name == study_name:
                return id_of_study(study)
        raise KeyError(f"there is no study {study_name!r}")

    def get_study_name_from_id(self, study_id: int) -> str:
        """See `BaseStorage`."""
        return str(self._study(study_id).study_name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `BaseStorage`."""
        return list(self._study(study_id).directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return dict(self._study(study_id).user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return dict(self._study(study_id).system_attrs)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        study_id, number = divmod(trial_id, _STUDY_STRIDE)
        for trial in self._of(study_id).trials:
            if trial.number == number:
                return trial
        raise KeyError(f"there is no trial {trial_id}")

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        trials = self._of(study_id).trials
        return [trial for trial in trials if states is None or trial.state in states]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """See `BaseStorage`. Trials that violate a constraint come last."""
        complete = self.get_all_trials(study_id, states=(TrialState.COMPLETE,))
        if not complete or len(self.get_study_directions(study_id)) > 1:
            return super().get_best_trial(study_id)  # Raises the error that says why.
        return max(complete, key=lambda trial: (_is_feasible(trial), trial.values[0]))

    # Methods that write. `search.dashboard.server` already rejects such requests.

    def _refuse(self, *arguments: Any, **named: Any) -> NoReturn:
        raise InputError("the dashboard only shows a study")

    create_new_study = delete_study = _refuse
    set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = _refuse
    set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse


def _optimised(run: RunRecord) -> int:
    """Return the number of objectives that are optimised; a study always holds two."""
    return 1 if run.objective.single else 2


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(excess <= 0 for excess in trial.constraints.values())


def _shown(study_id: int, run: RunRecord, trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as the dashboard shows it, with the cells of its row as attributes.

    A raced trial is shown as pruned. If it were complete, its prediction could be on the front.
    """
    ours = Trial.of(trial, run.objective)
    optimised = _optimised(run)
    # The trial's own fields already hold these cells.
    keys = (run.objective.quality.key, run.objective.cost.key)
    own = ("trial", "state", *keys[:optimised])
    cells = {
        key: value
        for key, value in row(ours, run.objective).items()
        if value not in (None, "") and key not in own and not key.startswith("param_")
    }
    return FrozenTrial(
        number=trial.number,
        trial_id=study_id * _STUDY_STRIDE + trial.number,
        state=TrialState.PRUNED if ours.state == "raced" else trial.state,
        value=None,
        values=trial.values[:optimised] if trial.values else None,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=cells,
        system_attrs=constraints_of(trial),
        intermediate_values={},
    )


def _told(attributes: StudyAttributes) -> dict[str, Any]:
    """Return the attributes of the study that are of interest to viewers."""
    told = {"trials": attributes.trials, "concurrent": attributes.concurrent}
    told = {key: value for key, value in told.items() if value is not None}
    return {**told, **{f"code {k}": v for k, v in attributes.code.items()}}


def plain(text: str) -> str:
    """Escape text for Markdown, because names and reasons come from files."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$:@])", r"\\\1", " ".join(text.split()))
