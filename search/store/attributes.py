"""Names and types of the user attributes of studies and trials, and functions to access them.

No other module knows these names, which docs/files.md documents. Studies of earlier versions lack
some attributes, so each attribute has a default.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from dipstage.documents.records import check_types, to_plain
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from search.experiment.candidate import Candidate
from search.experiment.objectives import Objective, Score
from search.store.replicate import Replicate

T = TypeVar("T")

_REPLICATE = "replicate:"
"""Prefix in the names of attributes that hold finished replicates; the key follows it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Changes that a resume accepted, with the date of the resume."""

    date: str
    changes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Learned:
    """Trials of an earlier run that a search learns from.

    Args:
        run: Name of that run.
        images: Its pictures as its experiment names them.
        pictures: SHA-256 of its pictures.
        seeds: Seeds of its replicates.
        points: Parameters of each trial, its objectives minus those of that run's plain DIP and, if
            there are constraints, by how much it violates each; none of a run that the earlier one
            had learned from itself.
    """

    run: str
    images: Sequence[str]
    pictures: Sequence[str]
    seeds: Sequence[int]
    points: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAttributes:
    """Attributes of a study that describe its run.

    Args:
        made: Whether the run has a folder yet; None in a study that cannot be a leftover.
        experiment: The frozen experiment.
        code: Versions of the code at the start of the run.
        pictures: SHA-256 of each picture by its label.
        files: SHA-256 of each file that the task reads, by its key.
        trials: Requested number of sampled trials.
        hours: Hours that drivers may be active before no further trial begins; None for no limit.
        driven_s: Seconds that drivers were active so far, written every ten seconds.
        ended: Why the search ended before its last trial, in words; None if it did not.
        gain_from: Number of sampled trials that had ended when a search was reopened. Earlier ones
            do not count for `search.until.no_gain`.
        learned: Trials of other runs that the sampler learns from.
        cores: Resolved value of `cpus_per_trial: auto`, on which floating-point sums depend.
        concurrent: Number of trials that run at the same time.
        driven_since: Start time of the last driver.
        logged_as: Name of the study in loggers, because runs of one name may share a server.
    """

    made: bool | None = None
    experiment: dict[str, Any] | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    trials: int = 0
    hours: float | None = None
    driven_s: float = 0.0
    ended: str | None = None
    gain_from: int = 0
    learned: Sequence[Learned] = ()
    objective: Objective = field(default_factory=Objective)
    candidates: Sequence[Candidate] = ()
    accepted: Sequence[Accepted] = ()
    cores: int | None = None
    concurrent: int | None = None
    driven_since: str | None = None
    logged_as: str | None = None

    @classmethod
    def of(cls, study: Study) -> StudyAttributes:
        """Read the attributes of a study."""
        found = {name: value for name, value in study.user_attrs.items() if name in _STUDY}
        check_types(cls, found)
        if "objective" in found:
            found["objective"] = Objective(**found["objective"])
        found["candidates"] = [Candidate.from_plain(each) for each in found.get("candidates", ())]
        found["learned"] = [_made(Learned, each) for each in found.get("learned", ())]
        found["accepted"] = [_made(Accepted, each) for each in found.get("accepted", ())]
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
    """Reason for which a trial was raced.

    Args:
        estimate: Predicted final score.
        replicates: Number of replicates behind the prediction.
        chance: Probability that the decision is wrong.
        violations: By how much the predicted score violates each constraint, in their order; None
            without constraints.
    """

    estimate: Score
    replicates: int
    chance: float
    violations: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAttributes:
    """Attributes of a trial other than its replicates; None if they do not apply.

    Args:
        warmup: The schedule's warm-up in studies of version 0.1; otherwise part of `recipe`.
        learning_rate: Learning rate of the last stage, which version 0.1 knew alone.
        recipe: The rest of the schedule's recipe.
        same_as: Number of the first trial of the same schedule.
        taken: Number of the trial that trained each replicate which this trial took over, by key.
        alone: Reason for which the trial needs a GPU or a machine for itself.
        death: Reason for which its last worker died.
        deaths: Number of its workers that died.
        interrupted: Whether the driver ended before the trial had a schedule. Such a trial is
            ignored.
        wall_s: Total training time of its replicates, in seconds.
    """

    candidate: str | None = None
    warmup: int | None = None
    learning_rate: float | None = None
    stages: Sequence[Sequence[float]] | None = None
    recipe: Mapping[str, Any] | None = None
    same_as: int | None = None
    taken: Mapping[str, int] | None = None
    alone: str | None = None
    death: str | None = None
    deaths: int | None = None
    raced: Raced | None = None
    interrupted: bool | None = None
    failure: str | None = None
    wall_s: float | None = None

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialAttributes:
        """Read the attributes of a trial."""
        found = {name: value for name, value in trial.user_attrs.items() if name in _TRIAL}
        check_types(cls, found)
        if "raced" in found:
            check_types(Raced, found["raced"])
            estimate = Score(*map(float, found["raced"]["estimate"]))
            found["raced"] = Raced(**{**found["raced"], "estimate": estimate})
        return cls(**found)

    @property
    def schedule(self) -> Schedule | None:
        """The trial's schedule; None until it has one."""
        if not self.stages:
            return None
        recipe = replace(Recipe.from_plain(self.recipe), learning_rate=self.learning_rate)
        if self.warmup is not None:
            recipe = replace(recipe, warmup=self.warmup)
        return Schedule.from_pairs(self.stages, recipe, any_order=True)

    @staticmethod
    def of_schedule(schedule: Schedule) -> TrialAttributes:
        """Return the attributes that hold a schedule, from which `schedule` makes it again."""
        recipe = dict(schedule.recipe.to_plain() or {})
        rate = recipe.pop("learning_rate", None)
        return TrialAttributes(learning_rate=rate, stages=schedule.pairs, recipe=recipe or None)

    def to_plain(self) -> dict[str, Any]:
        """Return the attributes that apply, by their names on disk."""
        plain: dict[str, Any] = to_plain(self, {})
        return plain


_STUDY = tuple(each.name for each in fields(StudyAttributes))
_TRIAL = frozenset(each.name for each in fields(TrialAttributes))


def _made(kind: type[T], content: Mapping[str, Any]) -> T:
    check_types(kind, content)
    return kind(**content)


def replicate_attribute(key: str, replicate: Replicate) -> dict[str, Any]:
    """Return a finished replicate as an attribute, by its name on disk."""
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
    """Return whether a trial is a candidate of the experiment rather than sampled."""
    return "candidate" in trial.user_attrs


def is_interrupted(trial: FrozenTrial) -> bool:
    """Return whether the driver died before the trial had a schedule; such trials are ignored."""
    return bool(trial.user_attrs.get("interrupted"))


def without_attributes(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy without user attributes, for Optuna's samplers and forests."""
    bare = copy.copy(trial)
    bare.user_attrs = {}
    return bare
