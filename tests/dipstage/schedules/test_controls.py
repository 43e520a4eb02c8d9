"""Controls keep what they do not break: levels, iterations, targets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dipstage.training.trainer as trainer
from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.controls import contrast_alone, in_reverse, shuffled
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.schedules.settings import TrainerSettings
from dipstage.training.stage_targets import targets

levels = st.lists(st.floats(0.01, 0.99), min_size=0, max_size=8, unique=True)


def schedule_of(alpha_bars: list[float]) -> Schedule:
    """Stages of 1, 2, 3 … iterations, heaviest noise first, then 9 of the observation."""
    stages = [Stage(level, i + 1) for i, level in enumerate(sorted(alpha_bars))]
    return Schedule((*stages, Stage(1.0, 9)))


@given(levels)
def test_order_alone_is_broken_by_reversing_and_shuffling(alpha_bars: list[float]) -> None:
    schedule = schedule_of(alpha_bars)
    for control in (in_reverse(schedule), shuffled(schedule, np.random.default_rng(0))):
        assert sorted(control.pairs) == sorted(schedule.pairs)
        assert control.stages[-1] == schedule.stages[-1]
    assert in_reverse(in_reverse(schedule)) == schedule


def test_shuffling_draws_from_the_generator_alone() -> None:
    schedule = schedule_of([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    a, b, c = (shuffled(schedule, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a == b
    assert a != c


def test_stages_out_of_order_are_for_controls_alone() -> None:
    pairs = [[0.5, 3], [0.2, 3], [1.0, 3]]
    with pytest.raises(InputError, match="most noise to the least"):
        Schedule.from_pairs(pairs)
    assert Schedule.from_pairs(pairs, any_order=True).pairs == pairs
    with pytest.raises(InputError, match="each noise level must be one stage"):
        Schedule.from_pairs([[0.5, 3], [0.5, 3], [1.0, 3]], any_order=True)
    with pytest.raises(InputError, match="last stage must be the observation"):
        Schedule.from_pairs([[1.0, 3], [0.5, 3]], any_order=True)


def test_a_longer_budget_is_the_last_stage_s() -> None:
    schedule = schedule_of([0.2, 0.4])
    assert schedule.extended(20).pairs == [*schedule.pairs[:-1], [1.0, 17]]
    assert in_reverse(schedule).extended(20).iterations == 20
    with pytest.raises(InputError, match="more than the ramp of 3, got 3"):
        schedule.extended(3)


def test_another_budget_keeps_the_order_of_a_control() -> None:
    schedule = schedule_of([0.1, 0.2, 0.3, 0.4])
    control = in_reverse(schedule)
    assert control.scaled(9) == control.rescaled(9)
    assert control.scaled(9).pairs == [[0.4, 2], [0.3, 1], [0.2, 1], [0.1, 1], [1.0, 4]]
    assert control.rescaled(9).extended(30).iterations == 30
    again = control.rescaled(40, 0.5)
    assert again == in_reverse(schedule.rescaled(40, 0.5))
    assert not again.is_in_order
    assert schedule.is_in_order


def targets_of(schedule: Schedule) -> dict[float, bytes]:
    """What each level's stage trains on."""
    observation = torch.rand((1, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    made = targets(observation, schedule, Streams("ab" * 32, 0))
    found = {schedule.at(i).alpha_bar: each.numpy().tobytes() for i, each in enumerate(made)}
    assert found.pop(1.0) == observation.numpy().tobytes()
    return found


def test_a_control_trains_on_the_very_targets_of_its_schedule() -> None:
    schedule = schedule_of([0.2, 0.4, 0.6])
    own = targets_of(schedule)
    assert len(set(own.values())) == 3
    assert targets_of(in_reverse(schedule)) == own


def test_contrast_alone_keeps_stages_and_drops_the_noise() -> None:
    schedule = replace(schedule_of([0.2, 0.4]), recipe=Recipe(draw="fresh", learning_rate=0.1))
    control = contrast_alone(schedule)
    assert control.stages == schedule.stages
    assert control.recipe == Recipe(target="contrast", learning_rate=0.1)


def test_a_warm_up_raises_the_learning_rate_evenly_and_then_leaves_it() -> None:
    """Adam's first updates have the length of the learning rate, so the outputs tell."""
    picture = load_picture("skimage:moon", size=16, multiple=2)
    truth = picture.tensor()

    def losses(**settings: float) -> list[float]:
        values = TrainerSettings(width=4, scales=1, input_depth=4, **settings)  # type: ignore[arg-type]
        streams = Streams(picture.digest, 0)
        plain = Schedule((Stage(1.0, 12),))
        return [
            float(loss) for loss in trainer.fit(truth, truth, plain, values, streams).trace.loss
        ]

    warmed = losses(learning_rate=0.01, warmup=4)
    # The first update of a warm-up over four is one at a quarter of the rate.
    assert warmed[1] == losses(learning_rate=0.0025)[1]
    assert warmed[1] != losses(learning_rate=0.01)[1]
    assert losses(learning_rate=0.01, warmup=1) == losses(learning_rate=0.01)
