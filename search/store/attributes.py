"""The user attributes of studies and trials: their names, types and how they are read and written.

Nothing else knows these names, which docs/files.md documents. Studies of earlier versions lack some
attributes, so each has a default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from dipstage.documents.records import to_plain
from dipstage.schedules import Schedule
from search.experiment.candidate import Candidate
from search.experiment.objectives import Objective, Score
from search.store.replicate import Replicate

_REPLICATE = "replicate:"
"""Prefix of the attributes that hold a trial's finished replicates, before their keys."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Changes that a resume accepted, and its date."""

    date: str
    changes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAttributes:
    """What a study says of its run.

    made: whether the run has a folder yet; None in a study that is nobody's leftover.
    experiment, code: as frozen, and the versions that it began with. pictures: SHA-256 by label.
    trials: sampled trials asked for. cores: what `cpus_per_trial: auto` came to, as sums depend on
    it. concurrent: trials at a time. driven_since: when the last driver began. logged_as: by what
    name loggers know the study, as runs of one name may share a server.
    """

    made: bool | None = None
    experiment: dict[str, Any] | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    trials: int = 0
    objective: Objective = field(default_factory=Objective)
    candidates: Sequence[Candidate] = ()
    accepted: Sequence[Accepted] = ()
    cores: int | None = None
    concurrent: int | None = None
    driven_since: str | None = None
    logged_as: str | None = None

    @classmethod
    def of(cls, study: Study) -> StudyAttributes:
        """Read them."""
        found = {name: value for name, value in study.user_attrs.items() if name in _STUDY}
        if "objective" in found:
            found["objective"] = Objective(**found["objective"])
        found["candidates"] = [Candidate.from_plain(each) for each in found.get("candidates", ())]
        found["accepted"] = [Accepted(**each) for each in found.get("accepted", ())]
        return cls(**found)


def write(study: Study, **values: Any) -> None:
    """Write attributes of a study, named and typed as the fields of `StudyAttributes`."""
    for name, value in values.items():
        if name not in _STUDY:
            raise TypeError(f"a study has no attribute {name!r}: known are {', '.join(_STUDY)}")
        if name == "candidates":
            value = [candidate.to_plain() for candidate in value]
        study.set_user_attr(name, to_plain(value, {}))


@dataclass(frozen=True, slots=True)
class Raced:
    """Why a trial was raced: the predicted final score, how many replicates it rests on, and the
    chance that it is wrong.
    """

    estimate: Score
    replicates: int
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAttributes:
    """What the study says of a trial besides its replicates; what does not apply is None.

    alone: why it is to have a GPU or a machine for itself. death, deaths: why its last worker died,
    and how many did. interrupted: the driver ended before the trial had a schedule, so that it
    counts for nothing. wall_s: seconds of training over its replicates.
    """

    candidate: str | None = None
    warmup: int | None = None
    learning_rate: float | None = None
    stages: Sequence[Sequence[float]] | None = None
    alone: str | None = None
    death: str | None = None
    deaths: int | None = None
    raced: Raced | None = None
    interrupted: bool | None = None
    failure: str | None = None
    wall_s: float | None = None

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialAttributes:
        """Read them."""
        found = {name: value for name, value in trial.user_attrs.items() if name in _TRIAL}
        if "raced" in found:
            found["raced"] = Raced(
                **{**found["raced"], "estimate": Score(*found["raced"]["estimate"])}
            )
        return cls(**found)

    @property
    def schedule(self) -> Schedule | None:
        """The trial's schedule; None before it has one."""
        return Schedule.from_pairs(self.stages, any_order=True) if self.stages else None

    def to_plain(self) -> dict[str, Any]:
        """Return those that apply, by their names on disk."""
        plain: dict[str, Any] = to_plain(self, {})
        return plain


_STUDY = tuple(each.name for each in fields(StudyAttributes))
_TRIAL = frozenset(each.name for each in fields(TrialAttributes))


def replicate_attribute(key: str, replicate: Replicate) -> dict[str, Any]:
    """Return the attribute that holds a finished replicate, by its name on disk."""
    return {_REPLICATE + key: replicate.to_plain()}


def write_to_trial(storage: BaseStorage, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Write attributes of a trial, by their names on disk."""
    for name, value in attributes.items():
        storage.set_trial_user_attr(trial_id, name, value)


def replicates(trial: FrozenTrial) -> dict[str, Replicate]:
    """Return a trial's finished replicates by their keys."""
    return {
        name.removeprefix(_REPLICATE): Replicate.from_plain(value)
        for name, value in trial.user_attrs.items()
        if name.startswith(_REPLICATE)
    }


def is_candidate(trial: FrozenTrial) -> bool:
    """Whether a trial is a candidate of the experiment, and not sampled."""
    return "candidate" in trial.user_attrs


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a driver died before the trial had a schedule, so that it counts for nothing."""
    return bool(trial.user_attrs.get("interrupted"))


def without_attributes(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy for Optuna's samplers and forests, which have no use for attributes."""
    bare = copy.copy(trial)
    bare.user_attrs = {}
    return bare
