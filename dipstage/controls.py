"""Controls of a schedule: what is left of its effect when its staging is broken on purpose."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dipstage.schedules import Schedule, Stage


def in_reverse(schedule: Schedule) -> Schedule:
    """The noised stages lightest first, then the observation."""
    return _with_noised(schedule, reversed(schedule.stages[:-1]))


def shuffled(schedule: Schedule, generator: np.random.Generator) -> Schedule:
    """The noised stages in an order that the generator draws, then the observation."""
    order = generator.permutation(len(schedule.stages) - 1)
    return _with_noised(schedule, (schedule.stages[i] for i in order))


def max_level_alone(schedule: Schedule) -> Schedule:
    """Spend the whole ramp on the first target, then the observation; plain DIP is unchanged."""
    if not schedule.ramp:
        return schedule
    return _with_noised(schedule, [Stage(schedule.stages[0].alpha_bar, schedule.ramp)])


def _with_noised(schedule: Schedule, noised: Iterable[Stage]) -> Schedule:
    return Schedule((*noised, schedule.stages[-1]), any_order=True)
