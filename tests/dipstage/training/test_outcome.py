"""What is said of a run: its scores, its best outputs and its curves of SSIM."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from small_trainings import PICTURE, SETTINGS, plain_run, run

from dipstage.errors import InputError
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.stopping import OUTPUTS
from dipstage.training.outcome import Trace, score
from dipstage.training.trainer import fit


@pytest.mark.long
def test_the_best_outputs_have_the_scores_that_the_outcome_says() -> None:
    outcome = plain_run()
    truth = PICTURE.pixels
    for output, best in zip(OUTPUTS, (outcome.best_raw, outcome.best_smoothed), strict=True):
        scores = outcome.scores(output)
        assert peak_signal_noise_ratio(truth, best, data_range=1) == pytest.approx(
            scores.max_psnr_gt_db, abs=1e-3
        )
        assert structural_similarity(
            truth,
            best,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ) == pytest.approx(scores.ssim_gt_at_max_psnr_gt, abs=1e-4)


@pytest.mark.long
def test_ssim_is_measured_every_ten_iterations_and_at_the_maximum() -> None:
    outcome = plain_run()
    for output in OUTPUTS:
        ssim = outcome.trace.ssim_gt(output)
        peak = outcome.scores(output).steps_to_max
        expected = sorted({*range(0, 400, 10), peak})
        assert np.flatnonzero(~np.isnan(ssim)).tolist() == expected


@pytest.mark.parametrize("output", ["Raw", "both", None])
def test_no_other_output_is_taken_for_the_smoothed_one(output: Any) -> None:
    outcome = run(parse_preset("baseline").schedule(10))
    rules = [replace(SETTINGS, oracle_stop=oracle).stopping for oracle in (False, "both")]
    for named in (outcome.scores, outcome.trace.psnr_gt_db, outcome.trace.ssim_gt, *rules):
        with pytest.raises(InputError, match=f"output must be raw or smoothed, got {output!r}"):
            named(output)


def test_the_summary_of_a_run_without_a_ground_truth_is_plain_data() -> None:
    observed, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    outcome = fit(observed, None, Schedule.plain(10), SETTINGS, streams)
    summary = json.loads(json.dumps(outcome.summary(), allow_nan=False))
    assert summary["selected"]["iteration"] == 9
    assert summary["selected"]["psnr_gt_raw_db"] is None


def test_a_maximum_near_the_end_is_censored() -> None:
    outcome = run(parse_preset("baseline").schedule(25))
    assert outcome.scores("raw").censored
    curve = np.array([1, 5, 2, 2, 2], np.float32)
    trace = Trace(np.zeros(5, np.int32), *[curve] * 9)
    assert not score(trace, "raw", 3).censored
    assert score(trace, "raw", 4).censored
