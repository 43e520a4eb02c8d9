"""Controls of a schedule: the same training with its staging broken on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dipstage.schedules.schedule import Schedule, Stage


def in_reverse(schedule: Schedule) -> Schedule:
    """Return the noised stages in reverse order, then the observation."""
    return _with_noised(schedule, reversed(schedule.stages[:-1]))


def shuffled(schedule: Schedule, generator: np.random.Generator) -> Schedule:
    """Return the noised stages in a random order, then the observation."""
    order = generator.permutation(len(schedule.stages) - 1)
    return _with_noised(schedule, (schedule.stages[i] for i in order))


def contrast_alone(schedule: Schedule) -> Schedule:
    """Return the same stages with targets of reduced contrast and no noise."""
    return replace(schedule, recipe=replace(schedule.recipe, target="contrast", draw="fixed"))


def _with_noised(schedule: Schedule, noised: Iterable[Stage]) -> Schedule:
    return replace(schedule, stages=(*noised, schedule.stages[-1]), any_order=True)
