"""Weights of the averaged output, and where the average starts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_trainings import SETTINGS, STAGED, run, same

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import EmaRestart, TrainerSettings
from dipstage.schedules.stopping import VarianceMinimum
from dipstage.training.iteration_table import (
    LAG,
    PAST,
    averaged_outputs,
    iteration_table,
    learning_rates,
    weight_of_past,
)
from dipstage.training.outcome import Trace


@pytest.mark.parametrize(
    ("settings", "gamma", "weights"),
    [
        # An average from zero has the weights ema ** age, divided by their sum.
        ({"ema": 0.8, "ema_restart": "stage"}, None, [0.8**3, 0.8**2, 0.8, 1]),
        # The official one starts with the first output.
        ({"ema": 0.8}, None, [0.8**3, 0.2 * 0.8**2, 0.2 * 0.8, 0.2]),
        # arXiv 2312.02696, eq. 1: weights t ** gamma; exponent 0 is the mean.
        ({}, 0.0, [1, 1, 1, 1]),
    ],
)
def test_an_average_has_the_weights_of_its_formula(
    settings: dict[str, Any], gamma: float | None, weights: list[float]
) -> None:
    values, average = [3.0, -1.0, 4.0, 1.5], 0.0
    for n, value in enumerate(values, start=1):
        past = weight_of_past(n, TrainerSettings(**settings), gamma)
        average = past * average + (1 - past) * value
    assert average == pytest.approx(np.average(values, weights=weights))


def ages(past: list[float]) -> list[float]:
    """Mean age of an average after each output, from its weights, the newest output being 1 old."""
    found = [0.0]
    for weight in past:
        found.append(weight * found[-1] + 1)
    return found[1:]


@pytest.mark.parametrize("gamma", [0.0, 3.0, 6.5, 50.0])
@pytest.mark.parametrize("restart", ["never", "stage"])
@pytest.mark.parametrize("average_from", [None, 60])
def test_the_lag_follows_the_mean_age_of_a_power_function_average(
    gamma: float, restart: EmaRestart, average_from: int | None
) -> None:
    settings = replace(SETTINGS, ema_restart=restart)
    schedule = replace(STAGED, recipe=Recipe(ema_gamma=gamma, average_from=average_from))
    rates, rule = learning_rates(schedule, settings), VarianceMinimum(patience=40)
    table = iteration_table(schedule, settings, rates, rule)
    expected = np.minimum(1.5 * np.array(ages(table[:, PAST].tolist())), 40)
    assert table[:, LAG].tolist() == pytest.approx(expected, abs=2)
    last = 0 if average_from is None else average_from
    last = max(last, schedule.ramp) if restart == "stage" else last
    assert averaged_outputs(schedule, settings)[-1] == schedule.iterations - last
    assert table[-1, LAG] == min(round(1.5 * (schedule.iterations - last) / (gamma + 2)), 40)


def test_the_lag_of_an_exponential_average_is_the_same_everywhere() -> None:
    rates, rule = learning_rates(STAGED, SETTINGS), VarianceMinimum(patience=200)
    assert set(iteration_table(STAGED, SETTINGS, rates, rule)[:, LAG].tolist()) == {150.0}


@pytest.mark.long
def test_a_power_function_average_weighs_outputs_by_their_time() -> None:
    average = 0.0
    for n in range(1, 2001):
        past = weight_of_past(n, TrainerSettings(), 3.0)
        average = past * average + (1 - past) * n / 2000
    # The mean of t under the density 4 t³ on [0, 1] is 4/5.
    assert average == pytest.approx(0.8, abs=1e-3)


@pytest.mark.long
def test_the_average_starts_anew_at_each_stage_on_request() -> None:
    settings = replace(SETTINGS, ema_restart="stage")
    never, stage = run(STAGED).trace, run(STAGED, settings=settings).trace
    assert same(replace(stage, **smoothed_curves(never)), never)
    starts = {*STAGED.starts}
    alike = np.flatnonzero(stage.psnr_smoothed_db == stage.psnr_raw_db)
    assert starts <= {int(i) for i in alike}
    assert not starts <= {
        int(i) for i in np.flatnonzero(never.psnr_smoothed_db == never.psnr_raw_db)
    }


def smoothed_curves(trace: Trace) -> dict[str, Any]:
    """The curves of the smoothed output alone."""
    return {name: curve for name, curve in trace.arrays().items() if "smoothed" in name}


@pytest.mark.long
def test_an_average_can_start_late_without_stages() -> None:
    late = Schedule.plain(60, Recipe(ema_restart="stage", average_from=30))
    trace = run(late).trace
    usual = run(Schedule.plain(60, Recipe(ema_restart="stage"))).trace
    assert trace.psnr_smoothed_db[30] == trace.psnr_raw_db[30]
    assert np.array_equal(trace.psnr_smoothed_db[:30], usual.psnr_smoothed_db[:30])
    assert not np.array_equal(trace.psnr_smoothed_db[30:], usual.psnr_smoothed_db[30:])
    assert np.array_equal(trace.psnr_raw_db, usual.psnr_raw_db)
