"""A copy of a run's study in memory, which follows it and which a viewer cannot harm.

optuna-dashboard keeps notes and artifacts as attributes of the study, and lets whoever looks at it
rename and delete. A study here is a driver's, who holds a lease on it and compares it on a resume.
So the dashboard gets this storage: it reads, it refuses to write, and its notes are its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dipstage.errors import InputError
from search.analysis.front import front_of
from search.analysis.trial_rows import row
from search.dashboard.drawings import Drawings
from search.dashboard.notes import plain, run_note, trial_note
from search.dashboard.trial_plot import plot_trial, png
from search.plots import plot_front
from search.store.attributes import StudyAttributes
from search.store.optuna_internals import FrozenStudy, id_of_study, stand_in, system_attributes
from search.store.paths import curve_path, picture_path, verification_path
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.drive import Parts
from search.verification.plan import HELD_OUT, TUNING

_STUDY_STRIDE = 10_000_000
"""More than a study has trials, so that ids of trials are unique over studies."""
_NOTED = 300
"""Trials that have notes. optuna-dashboard looks through all notes of a study for each trial."""


class _Pad:
    """One note, kept as optuna-dashboard would keep it in a study."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}
        self._body = ""

    def write(self, body: str, trial_id: int | None) -> None:
        """Take up a note that has changed."""
        if body == self._body:
            return
        from optuna_dashboard import save_note

        self._body = body
        save_note(stand_in(self, trial_id), body)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self.attributes

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self.attributes[key] = value


@dataclass(slots=True)
class _Copied:
    """A run, and its study as it was when it was last looked at."""

    run: RunRecord
    study: FrozenStudy | None = None
    trials: list[FrozenTrial] = field(default_factory=list)
    known: dict[int, tuple[FrozenTrial, FrozenTrial]] = field(default_factory=dict)
    pads: dict[int | None, _Pad] = field(default_factory=dict)
    front: dict[str, str] = field(default_factory=dict)
    keys: int = 0
    names: dict[str, Any] = field(default_factory=dict)
    noted: str = ""

    def write(self, last_read: str) -> None:
        """The search's note, and how old it is."""
        self.pads.setdefault(None, _Pad()).write(f"{self.noted}\n\n{last_read}", None)

    def system_attrs(self) -> dict[str, Any]:
        """Where optuna-dashboard looks for notes, names of objectives and the plot of the front."""
        notes = {k: v for pad in self.pads.values() for k, v in pad.attributes.items()}
        return {**self.names, **notes, **self.front}


class Mirror(BaseStorage):
    """The search as study 1, and the parts of its verification, as far as there are any."""

    def __init__(self, run: RunRecord, drawings: Drawings) -> None:
        """Look at the run for the first time."""
        self._drawings = drawings
        self._copies: dict[int, _Copied] = {1: _Copied(run)}
        self._parts = Parts(run)
        self._read = datetime.now().astimezone()
        self.refresh()

    def refresh(self) -> None:
        """Look again. Called by one thread; whoever reads meanwhile sees the old or the new."""
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
        """Say in the notes that the study could not be read, and since when."""
        words = f"Reading fails since {self._read:%Y-%m-%d %H:%M}: {plain(reason)}."
        for copied in self._copies.values():
            copied.write(f"**{words} This is what was read before.**")
            if copied.study is not None:
                copied.study.system_attrs = copied.system_attrs()

    def _copy(self, study_id: int, copied: _Copied, last_read: str) -> None:
        run = copied.run
        attributes = run.attributes
        seeds = (attributes.experiment or {}).get("seeds") or ()
        copied.keys = len(attributes.pictures) * len(seeds)
        files: frozenset[str] | None = None
        trials = []
        for trial in run.study.get_trials(deepcopy=False):
            # Optuna hands out the same object for a trial that has ended.
            seen = copied.known.get(trial.number)
            if seen is None or seen[0] is not trial:
                files = _files(run) if files is None else files
                shown = self._shown(study_id, copied, trial, files)
                seen = copied.known[trial.number] = trial, shown
            trials.append(seen[1])
        if files is not None:
            self._draw_and_note(study_id, copied)
        copied.noted = run_note(run)
        copied.names = system_attributes(run.study)
        copied.write(last_read)
        copied.study = FrozenStudy(
            study_name=run.name,
            direction=None,
            directions=[StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE],
            user_attrs=_told(attributes),
            system_attrs=copied.system_attrs(),
            study_id=study_id,
        )
        copied.trials = trials

    def _draw_and_note(self, study_id: int, copied: _Copied) -> None:
        """What depends on all trials: the plot of the front, and who has a note."""
        run, records = copied.run, copied.run.records()
        members = {trial.number for trial in front_of(run.records())}
        if members:
            plot = self._artifact(run.name, "front.png", lambda: png(plot_front(run)))
            copied.front = dict([plot])
        first = [t for t in records if t.number in members or t.candidate]
        rest = [t for t in reversed(records) if t.number not in members and not t.candidate]
        before = copied.pads
        copied.pads = {None: before.get(None, _Pad())}
        for trial in (first + rest)[:_NOTED]:
            pad = copied.pads[trial.number] = before.get(trial.number, _Pad())
            pad.write(trial_note(trial, copied.keys), study_id * _STUDY_STRIDE + trial.number)

    def _shown(
        self, study_id: int, copied: _Copied, trial: FrozenTrial, files: frozenset[str]
    ) -> FrozenTrial:
        """A trial as the dashboard shows it: a row's cells as attributes, drawings as artifacts.

        A raced trial is shown as pruned: as a complete one, its prediction could be on the front.
        """
        ours = Trial.of(trial)
        raced = ours.state == "raced"
        cells = {
            key: value
            for key, value in row(ours, copied.run.objective).items()
            if value not in (None, "") and not key.startswith("param_")
        }
        # The trial's own number, state and values say these.
        for key in ("trial", "state", "max_psnr_gt_db", copied.run.objective.steps_key):
            cells.pop(key, None)
        return FrozenTrial(
            number=trial.number,
            trial_id=study_id * _STUDY_STRIDE + trial.number,
            state=TrialState.PRUNED if raced else trial.state,
            value=None,
            values=trial.values,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=cells,
            system_attrs=dict(self._artifacts(copied.run, ours, files)),
            intermediate_values={},
        )

    def _artifacts(
        self, run: RunRecord, trial: Trial, files: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        """As Optuna keeps them: an attribute for each, by its id."""
        keys = trial.replicates
        drawn: dict[str, Callable[[], bytes]] = {}
        if any(curve_path(run.folder, trial.number, key).name in files for key in keys):
            drawn["curves.png"] = lambda: png(plot_trial(run, trial))
        for key in keys:
            if picture_path(run.folder, trial.number, key).name in files:
                drawn[f"{key}.png"] = partial(_picture, run, trial, key)
        for filename, draw in drawn.items():
            yield self._artifact(f"{run.name}/{trial.number}", filename, draw)

    def _artifact(self, place: str, filename: str, draw: Callable[[], bytes]) -> tuple[str, str]:
        identity = self._drawings.offer(f"{place}/{filename}", draw)
        meta = {"artifact_id": identity, "filename": filename, "mimetype": "image/png"}
        return f"artifacts:{identity}", json.dumps({**meta, "encoding": None})

    # What optuna-dashboard reads.

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
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        trials = self._of(study_id).trials
        return [trial for trial in trials if states is None or trial.state in states]

    # What it could write, if `search.dashboard.server` let the request through.

    def _refuse(self, *arguments: Any, **named: Any) -> NoReturn:
        raise InputError("the dashboard only shows a study")

    create_new_study = delete_study = _refuse
    set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = _refuse
    set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse


def _files(run: RunRecord) -> frozenset[str]:
    """Names of the curves and pictures that are there, asked for at once."""
    names: list[str] = []
    for folder in ("curves", "pictures"):
        with suppress(OSError):
            names += [path.name for path in (run.folder / folder).iterdir()]
    return frozenset(names)


def _picture(run: RunRecord, trial: Trial, key: str) -> bytes:
    found = run.picture(trial, key)
    if found is None:
        raise InputError(f"{trial.name} has no picture {key}")
    return found


def _told(attributes: StudyAttributes) -> dict[str, Any]:
    """Of the study's attributes, those that a person reads."""
    told = {"trials": attributes.trials, "concurrent": attributes.concurrent}
    told = {key: value for key, value in told.items() if value is not None}
    return {**told, **{f"code {k}": v for k, v in attributes.code.items()}}
