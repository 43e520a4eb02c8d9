"""Targets of a schedule: their formulas, their draws, and their order."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dipstage.errors import InputError
from dipstage.randomness import Streams
from dipstage.schedules.recipe import Draw, Recipe, TargetKind
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.training.stage_targets import targets

STREAMS = Streams("ab" * 32, 0)
OBSERVATION = torch.rand((1, 1, 64, 64), generator=torch.Generator().manual_seed(0))
STAGES = Schedule((Stage(0.25, 3), Stage(0.8, 2), Stage(1.0, 2)))


def made(target: TargetKind = "ddpm", draw: Draw = "fixed") -> list[Tensor]:
    schedule = replace(STAGES, recipe=Recipe(target=target, draw=draw))
    return list(targets(OBSERVATION, schedule, STREAMS))


def test_one_target_for_each_iteration_the_observation_last() -> None:
    found = made()
    assert len(found) == 7
    assert all(torch.equal(a, b) for a, b in ((found[0], found[1]), (found[3], found[4])))
    assert not torch.equal(found[0], found[3])
    assert torch.equal(found[5], OBSERVATION)
    assert torch.equal(found[6], OBSERVATION)


@pytest.mark.parametrize("i", [0, 3])
def test_kinds_differ_in_contrast_and_noise_alone(i: int) -> None:
    """On pixels scaled to [-1, 1], alpha_bar 1/4 halves the contrast."""
    alpha_bar = STAGES.at(i).alpha_bar
    ddpm, exploding, contrast = (
        2 * made(kind)[i] - 1 for kind in ("ddpm", "variance-exploding", "contrast")
    )
    signal = 2 * OBSERVATION - 1
    assert torch.allclose(contrast, alpha_bar**0.5 * signal, atol=1e-6)
    assert torch.allclose(exploding, ddpm / alpha_bar**0.5, atol=1e-5)
    assert (ddpm - contrast).std().item() == pytest.approx((1 - alpha_bar) ** 0.5, rel=0.05)


def test_fresh_noise_is_drawn_anew_in_each_iteration_and_repeats_with_the_seed() -> None:
    found = made(draw="fresh")
    assert len({each.numpy().tobytes() for each in found[:5]}) == 5
    assert all(torch.equal(a, b) for a, b in zip(found, made(draw="fresh"), strict=True))
    assert torch.equal(found[5], OBSERVATION)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "blurred"}, "target must be ddpm or variance-exploding or contrast"),
        ({"draw": "often"}, "draw must be fixed or fresh, got 'often'"),
        ({"target": "contrast", "draw": "fresh"}, "contrast targets have no noise"),
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, 1\], got 0.0"),
        ({"ramp_learning_rate": 2.0}, r"ramp_learning_rate must be in \(0, 1\], got 2.0"),
        ({"input_noise_std": -1.0}, "input_noise_std must be not negative"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\)"),
        ({"ema_gamma": float("nan")}, "ema_gamma must be finite"),
        ({"ema": 0.9, "ema_gamma": 1.0}, "give one of them"),
        ({"ema_restart": "daily"}, "ema_restart must be never or stage"),
        ({"average_from": -1}, "average_from must be at least 0, got -1"),
    ],
)
def test_a_recipe_refuses_what_it_cannot_mean(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.from_plain(values)


def test_a_target_without_signal_is_refused() -> None:
    with pytest.raises(InputError, match="alpha_bar above 0, got 0"):
        Schedule((Stage(0.0, 1), Stage(1.0, 1)), Recipe(target="variance-exploding"))
