"""Trials under way: what a worker is handed, and what the ledger remembers of each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from optuna.trial import FrozenTrial

from dipstage.schedules.schedule import Schedule
from search.store.attributes import Raced, TrialAttributes, replicates

if TYPE_CHECKING:
    from dipstage.schedules.settings import TrainerSettings

Row: TypeAlias = tuple[float, ...]
"""Both objectives of a replicate or a trial, then by how much each constraint is violated."""


@dataclass(frozen=True, slots=True)
class Work:
    """A trial to be run: everything that a worker needs except the pictures.

    alone: it ran out of memory beside others, and gets a GPU or a machine for itself.
    """

    number: int
    schedule: Schedule
    done: tuple[str, ...] = ()
    alone: bool = False

    @classmethod
    def of(cls, trial: FrozenTrial) -> Work:
        """Return what is left of a trial that a driver handed out."""
        attributes = TrialAttributes.of(trial)
        assert attributes.schedule is not None
        return cls(
            trial.number,
            attributes.schedule,
            tuple(replicates(trial)),
            attributes.alone is not None,
        )


@dataclass(slots=True)
class OpenTrial:
    """State of a trial that has not ended.

    same_as: the first trial of its schedule, if that is another. rows: those of its finished
    replicates. wall_s: durations of the replicates that it trained. estimate: its row, if racing
    has stopped it.
    """

    trial_id: int
    is_candidate: bool
    is_plain: bool
    same_as: int | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    estimate: Row | None = None
    deaths: int = 0


def trained_by(schedule: Schedule, trainer: TrainerSettings) -> Hashable:
    """Return all that can differ between the trainings of two trials."""
    rest = schedule.recipe.without(each.name for each in fields(trainer))
    return schedule.stages, rest, schedule.recipe.applied_to(trainer)


def mean_row(rows: Iterable[Row]) -> Row:
    """Return the means; NaN for one beyond what a float holds, or of both infinities."""

    def mean(values: tuple[float, ...]) -> float:
        try:
            return fmean(values)
        except (OverflowError, ValueError):
            return math.nan

    return tuple(mean(values) for values in zip(*rows, strict=True))


def predicted(raced: Raced) -> Row:
    """Return the row that racing estimated for a trial."""
    return (*raced.estimate, *(raced.violations or ()))
