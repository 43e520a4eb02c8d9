"""What a recipe fixes goes before the trainer's settings, and what it leaves open does not."""

from dataclasses import replace

import numpy as np
import pytest

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import observe
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit

SETTINGS = TrainerSettings(width=8, scales=2, input_depth=8, precision="fp32")
STAGED = parse_preset("log10").schedule(30)
NETWORK = Recipe(width=6, first_width=4, scales=1, skip_channels=2, input_depth=4, warmup=5)


def run(schedule: Schedule, settings: TrainerSettings = SETTINGS) -> Outcome:
    """One replicate on a small picture."""
    picture = load_picture("skimage:chelsea", size=16, multiple=4)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    return fit(observe(truth, 25, streams), truth, schedule, settings, streams)


def test_a_network_in_the_recipe_is_the_network_that_is_trained() -> None:
    named = run(replace(STAGED, recipe=NETWORK))
    settings = replace(
        SETTINGS, width=6, first_width=4, scales=1, skip_channels=2, input_depth=4, warmup=5
    )
    same = run(STAGED, settings)
    assert np.array_equal(named.trace.loss, same.trace.loss)
    assert not np.array_equal(named.trace.loss, run(STAGED).trace.loss)


def test_a_completed_recipe_leaves_the_network_open() -> None:
    full = Recipe().completed(SETTINGS)
    assert full.learning_rate == SETTINGS.learning_rate
    assert full.width is None
    assert NETWORK.completed(SETTINGS).width == 6


def test_settings_can_be_taken_out_of_a_recipe() -> None:
    assert NETWORK.without(["width", "patience"]) == replace(NETWORK, width=None)


def test_values_outside_the_trainer_s_limits_are_refused() -> None:
    with pytest.raises(InputError, match=r"scales must be from 1 to 8, got 9"):
        Recipe(scales=9)
