"""Runs that a stopping rule ends, and the output that it selects."""

import numpy as np
import pytest
import torch
from small_trainings import PICTURE, SETTINGS, STAGED, plain_run, run, same

from dipstage.errors import InputError
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.schedules.stopping import (
    FullBudget,
    LastStage,
    OracleBoth,
    OracleDecided,
    OraclePeak,
    Output,
    StoppingRule,
    VarianceMinimum,
)
from dipstage.tasks.denoise import observe
from dipstage.training.outcome import Outcome, Stop, Trace
from dipstage.training.trainer import fit


@pytest.mark.long
@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("raw", OraclePeak("raw", 80)),
        ("smoothed", OraclePeak("smoothed", 20)),
        ("smoothed", OracleDecided(300)),
    ],
)
def test_oracle_stopping_keeps_maximum_and_argmax_of_a_run_that_peaked(
    output: Output, rule: StoppingRule
) -> None:
    full = plain_run(600)
    stopped = run(parse_preset("baseline").schedule(600), stopping=rule)
    assert stopped.stop is Stop.PEAK
    assert stopped.iterations < 600
    mine, theirs = stopped.scores(output), full.scores(output)
    assert mine.max_psnr_gt_db == theirs.max_psnr_gt_db
    assert mine.steps_to_max == theirs.steps_to_max
    assert not mine.censored
    n = stopped.iterations
    assert same(
        Trace(
            **{k: v[:n] for k, v in full.trace.arrays().items() if not k.startswith("ssim")},
            **{k: v for k, v in stopped.trace.arrays().items() if k.startswith("ssim")},
        ),
        stopped.trace,
    )


@pytest.mark.long
def test_oracle_stopping_waits_for_the_last_stage() -> None:
    outcome = run(
        Schedule((Stage(0.2, 150), Stage(1.0, 100))), stopping=OraclePeak("raw", patience=15)
    )
    assert outcome.iterations > 150 + 15


def test_a_rule_sees_the_last_stage_alone() -> None:
    seen: list[int] = []

    class Spy(FullBudget):
        def stops(self, last_stage: LastStage) -> bool:
            seen.append(len(last_stage.psnr_gt_db["raw"]))
            return False

    run(STAGED, stopping=Spy())
    assert seen == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(("patience", "wait"), [(12, 200), (300, 300)])
def test_an_oracle_of_both_outputs_waits_for_the_later_one(patience: int, wait: int) -> None:
    rule = OracleBoth(patience)
    raw, smoothed = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    raw[100] = smoothed[150] = 30

    def stops(n: int) -> bool:
        return rule.stops(LastStage({"raw": raw[:n], "smoothed": smoothed[:n]}, {}))

    assert not stops(150 + wait)
    assert stops(151 + wait)


@pytest.mark.long
def test_variances_start_anew_at_each_stage_and_the_window_is_kept_on_request() -> None:
    trace = run(STAGED, stopping=FullBudget(windowed=True)).trace
    assert [i for i, value in enumerate(trace.variance_emv) if value == 0] == list(STAGED.starts)
    assert np.isnan(trace.variance_wmv).all()  # No stage is as long as the window.
    long = run(parse_preset("baseline").schedule(120), stopping=FullBudget(windowed=True)).trace
    assert np.isfinite(long.variance_wmv[99:]).all()
    assert np.isnan(run(parse_preset("baseline").schedule(120)).trace.variance_wmv).all()


@pytest.mark.long
def test_a_run_ends_at_a_minimum_of_the_variance_without_reading_the_ground_truth() -> None:
    rule = VarianceMinimum("emv", patience=20, warmup=20)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    observation = observe(truth, 25, streams)
    found = [
        fit(observation, other, STAGED.extended(300), SETTINGS, streams, stopping=rule)
        for other in (truth, 1 - truth)
    ]
    assert found[0].stop is Stop.MINIMUM
    assert found[0].iterations == found[1].iterations < 300
    last = found[0].trace.variance_emv[STAGED.ramp :]
    at = rule.found(last)
    assert at is not None
    assert 0 <= len(last) - 1 - at - rule.patience < 10  # Stages are checked in blocks of ten.


def without_truth(schedule: Schedule, stopping: StoppingRule) -> Outcome:
    """As `run`, of the same observation."""
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    return fit(observe(truth, 25, streams), None, schedule, SETTINGS, streams, stopping=stopping)


@pytest.mark.long
@pytest.mark.parametrize(
    "rule", [VarianceMinimum("emv", 20, 20), VarianceMinimum("wmv", 10, 0), FullBudget()], ids=str
)
def test_a_run_without_a_ground_truth_is_the_same_run_without_its_scores(
    rule: StoppingRule,
) -> None:
    schedule = STAGED.extended(250)
    blind, seeing = without_truth(schedule, rule), run(schedule, stopping=rule)
    assert blind.stop is seeing.stop
    for name, curve in blind.trace.arrays().items():
        if "_gt_" in name:
            assert np.isnan(curve).all(), name
        else:
            assert np.array_equal(curve, getattr(seeing.trace, name), equal_nan=True), name
    assert blind.raw is blind.smoothed is None
    assert np.isnan([blind.observation_psnr_gt_db, *blind.best_raw.flat]).all()
    assert blind.selected is not None
    assert seeing.selected is not None
    assert blind.selected.iteration == seeing.selected.iteration
    assert np.array_equal(blind.selected.smoothed, seeing.selected.smoothed)
    with pytest.raises(ValueError, match="no ground truth"):
        blind.scores("raw")


def test_the_oracle_needs_a_ground_truth() -> None:
    for oracle in (OraclePeak(), OracleBoth(), OracleDecided()):
        words = f"{type(oracle).__name__} reads the ground truth, and there is none"
        with pytest.raises(InputError, match=words):
            without_truth(STAGED, oracle)


def with_outputs(schedule: Schedule, rule: StoppingRule) -> tuple[Outcome, list[torch.Tensor]]:
    """A run with its outputs after each iteration."""
    outputs: list[torch.Tensor] = []

    def keep(_: int, pictures: torch.Tensor) -> bool:
        outputs.append(pictures.clone())
        return False

    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    outcome = fit(
        observe(truth, 25, streams), truth, schedule, SETTINGS, streams, stopping=rule, each=keep
    )
    return outcome, outputs


@pytest.mark.long
@pytest.mark.parametrize(
    "rule",
    [
        VarianceMinimum("emv", 20, 20),
        VarianceMinimum("emv", 20, 300),
        VarianceMinimum("emv", 20, 20, fitted_db=18.0, fitted_by=200),
        VarianceMinimum("emv", 20, 20, fitted_db=99.0, fitted_by=60),
        VarianceMinimum("emv", 20, 20, fitted_db=99.0, fitted_by=300),
    ],
    ids=str,
)
def test_the_selected_output_is_the_one_at_the_minimum_that_the_rule_finds(
    rule: VarianceMinimum,
) -> None:
    """Or the last one, where the warm-up never ends or the picture is never fitted."""
    schedule = STAGED.extended(250)
    outcome, outputs = with_outputs(schedule, rule)
    trace = outcome.trace
    at = rule.found(
        rule.counted(trace.variance_emv[schedule.ramp :], trace.psnr_raw_db[schedule.ramp :])
    )
    expected = outcome.iterations - 1 if at is None else schedule.ramp + at
    selected = outcome.selected
    assert selected is not None
    assert selected.iteration == expected
    assert np.array_equal(selected.raw, outputs[expected][0])
    later = min(expected + rule.patience, outcome.iterations - 1)  # Less than the average's lag.
    assert selected.iteration_smoothed == later
    assert np.array_equal(selected.smoothed, outputs[later][1])
    assert selected.psnr_gt_smoothed_db == outcome.trace.psnr_gt_smoothed_db[later]
    summary = outcome.summary()["selected"]
    assert summary["psnr_gt_raw_db"] == outcome.trace.psnr_gt_raw_db[expected]


def test_a_power_function_average_is_taken_as_late_as_its_outputs_are_old() -> None:
    schedule = Schedule.plain(80, Recipe(learning_rate=0.1, ema_gamma=40.0, average_from=15))
    outcome, outputs = with_outputs(schedule, VarianceMinimum("emv", 8, 20))
    selected = outcome.selected
    assert selected is not None
    averaged = selected.iteration - 15 + 1
    later = min(selected.iteration + round(1.5 * averaged / 42), outcome.iterations - 1)
    assert selected.iteration_smoothed == later
    assert np.array_equal(selected.smoothed, outputs[later][1])
