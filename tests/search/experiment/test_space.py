"""suggest and decode are inverses, and every point is a valid schedule of the budget."""

import functools
from dataclasses import fields
from typing import Any, get_type_hints

import optuna
import pytest
from fake_runs import experiment

from dipstage.errors import InputError
from dipstage.schedules.noise import ALPHA_BARS
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Family
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.splits import FreeSplit, LogSplit, PowerSplit
from search.experiment.searched import NoiseSpace, Space
from search.experiment.space import Point, decode, suggest


def space(**changes: Any) -> Space:
    """The tiny experiment's space, with plain DIP in it, and with some keys replaced."""
    full = experiment().space
    assert full is not None
    plain = {"stages": {"low": 1, "high": 6}}
    return Space.model_validate({**full.model_dump(), **plain, **changes})


def sample(searched: Space, n: int) -> list[tuple[dict[str, Any], Point]]:
    """Parameters and points of n random trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(n):
        trial = study.ask()
        point = suggest(trial, searched, 25.0)
        drawn.append((trial.params, point))
    return drawn


TOTAL = {
    "total": {
        "max_sigma_255": {"low": 60.0, "high": 300.0, "log": True},
        "min_sigma_255": {"low": 26.0, "high": 50.0},
        "rho": {"low": 1.0, "high": 7.0},
    }
}
SPACES: dict[str, dict[str, Any]] = {
    "full": {},
    "with learning rate": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}},
    "one split": {"split": ["power"]},
    "one beta": {"noise": {"beta": ["cosine"], "max_level": {"low": 0.2, "high": 0.2}}},
    "fixed stages": {"stages": {"low": 4, "high": 4}},
    "plain DIP alone": {"stages": {"low": 1, "high": 1}},
    "total noise": {"noise": TOTAL},
    "whole recipe": {
        "noise": TOTAL,
        "ramp_learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
        "input_noise_std": {"low": 0.0, "high": 0.1},
        "ema": {"low": 0.9, "high": 0.999},
        "targets": ["ddpm", "variance-exploding", "contrast"],
        "draws": ["fixed", "fresh"],
    },
    "power-function average": {"ema_gamma": {"low": 0.0, "high": 20.0}},
    "network": {
        "width": {"low": 4, "high": 64, "log": True},
        "first_width": {"low": 0, "high": 8},
        "scales": {"low": 1, "high": 3},
        "skip_channels": {"low": 0, "high": 8},
        "input_depth": {"low": 4, "high": 8},
        "warmup": {"low": 0, "high": 20},
    },
}


CASES = [
    case if case in ("full", "whole recipe") else pytest.param(case, marks=pytest.mark.long)
    for case in sorted(SPACES)
]


@functools.cache
def sampled(case: str) -> list[tuple[dict[str, Any], Point]]:
    """Parameters and points of 150 random trials of a space."""
    return sample(space(**SPACES[case]), 150)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_decode_is_the_inverse_of_suggest(case: str) -> None:
    searched = space(**SPACES[case])
    for params, point in sampled(case):
        assert decode(params, searched, 25.0) == point


@pytest.mark.parametrize("case", CASES)
def test_every_point_is_a_valid_schedule_of_the_budget(case: str) -> None:
    for _, point in sampled(case):
        schedule = point.family.schedule(30, point.recipe)
        assert schedule.iterations == 30
        assert schedule.recipe == point.recipe


def test_parameters_exist_only_where_they_act() -> None:
    seen = set()
    for params, point in sample(space(), 150):
        family = point.family
        expected = {"stages"}
        if family.stages > 1:
            expected |= {"ramp", "beta", "max_level"}
        if family.stages > 2:
            expected |= {"split"}
            if isinstance(family.split, PowerSplit):
                expected |= {"exponent"}
            if isinstance(family.split, FreeSplit):
                expected |= {f"weight_{k}" for k in range(family.stages - 1)}
        assert set(params) == expected
        seen.add((min(family.stages, 3), type(family.split)))
    assert {(1, type(None)), (3, PowerSplit), (3, LogSplit), (3, FreeSplit)} <= seen


def test_a_question_with_one_answer_is_not_asked() -> None:
    fixed = space(
        stages={"low": 4, "high": 4},
        split=["log"],
        exponent=None,
        noise={"beta": ["linear"], "max_level": {"low": 0.1, "high": 0.9}},
    )
    for params, _ in sample(fixed, 20):
        assert set(params) == {"ramp", "max_level"}


def test_the_learning_rate_is_searched_only_on_request() -> None:
    assert all(point.recipe.learning_rate is None for _, point in sample(space(), 20))
    searched = space(learning_rate={"low": 1e-3, "high": 1e-2, "log": True})
    rates = {point.recipe.learning_rate for _, point in sample(searched, 20)}
    assert len(rates) == 20
    assert all(rate is not None and 1e-3 <= rate <= 1e-2 for rate in rates)


def test_every_noise_schedule_can_be_searched() -> None:
    beta = NoiseSpace.model_json_schema()["properties"]["beta"]
    assert {*ALPHA_BARS} == {*beta["anyOf"][0]["items"]["enum"]}


def test_every_numeric_setting_of_the_trainer_can_be_searched() -> None:
    kinds = get_type_hints(TrainerSettings)
    numeric = {each.name for each in fields(TrainerSettings) if kinds[each.name] in (int, float)}
    measured_by = {"iterations", "patience"}
    assert numeric - measured_by <= set(Space.model_fields)
    assert numeric - measured_by <= {each.name for each in fields(Recipe)}


@pytest.mark.parametrize(("own", "low", "largest"), [(0, 4, 0), (6, 0, 0), (6, 4, 8), (16, 4, 16)])
def test_a_first_width_of_0_is_the_largest(own: int, low: int, largest: int) -> None:
    trainer = {"iterations": 30, "width": 32, "scales": 2, "first_width": own}
    searched = space(first_width={"low": low, "high": 8})
    assert experiment(trainer=trainer, space=searched).largest.first_width == largest


def test_the_channels_of_a_meshgrid_are_not_searched() -> None:
    trainer = {"iterations": 30, "scales": 2, "input": "meshgrid", "input_depth": 2}
    searched = space(input_depth={"low": 1, "high": 2})
    with pytest.raises(InputError, match=r"space\.input_depth must be left out: a meshgrid"):
        experiment(trainer=trainer, space=searched)


def test_a_study_that_began_with_a_former_name_keeps_it() -> None:
    searched = space()
    current = sample(searched, 20)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    params, point = next(pair for pair in current if "max_level" in pair[0])
    old = {"heaviest" if name == "max_level" else name: value for name, value in params.items()}
    assert decode(old, searched, 25.0) == point
    study.add_trial(
        optuna.trial.create_trial(
            value=0.0,
            params={"heaviest": old["heaviest"]},
            distributions={"heaviest": optuna.distributions.FloatDistribution(0.1, 1.0)},
        )
    )
    for _ in range(20):
        trial = study.ask()
        asked = suggest(trial, searched, 25.0)
        assert "max_level" not in trial.params
        assert decode(trial.params, searched, 25.0) == asked


def test_decode_refuses_parameters_of_another_space() -> None:
    assert decode({"stages": 1}, space(), 25.0) == Point(Family(1))
    with pytest.raises(InputError, match="inactive parameters: ramp"):
        decode({"stages": 1, "ramp": 9}, space(), 25.0)
    with pytest.raises(InputError, match="parameter ramp is missing"):
        decode({"stages": 3}, space(), 25.0)
