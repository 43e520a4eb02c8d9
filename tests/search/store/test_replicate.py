"""The key of a replicate, and what the study keeps of one."""

from __future__ import annotations

import json

import pytest
from fake_runs import outcome
from hypothesis import given
from hypothesis import strategies as st

from search.experiment.objectives import Objective, Score
from search.store.replicate import Replicate, ReplicateKey


@pytest.mark.long
@given(st.text(), st.integers(0, 2**63))
def test_a_key_is_read_back_from_its_text(picture: str, seed: int) -> None:
    key = ReplicateKey(picture, seed)
    assert ReplicateKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["chelsea-seed0", "a-seed1-seed2", "-seed3"])
def test_a_text_is_written_back_from_its_key(text: str) -> None:
    assert str(ReplicateKey.parse(text)) == text


def test_a_replicate_is_read_back_exactly_and_written_in_the_order_of_its_keys() -> None:
    scores = {
        "max_psnr_gt_db": 0.1 + 0.2, "steps_to_max": 7, "censored": True,
        "ssim_gt_at_max_psnr_gt": 0.7, "max_ssim_gt": float("nan"), "steps_to_max_ssim_gt": 8,
        "final_psnr_gt_db": 24.0, "final_ssim_gt": 0.6, "steps_to_tolerance": 5,
    }  # fmt: skip
    content = {
        "stop": "peak", "iterations": 30, "resets": 1, "wall_s": 0.3, "iterations_per_s": 100.0,
        "device": "cpu", "precision": "bf16", "raw": scores, "smoothed": scores,
        "host": "here", "versions": {"torch": "2.13.0"},
    }  # fmt: skip
    text = json.dumps(content)
    replicate = Replicate.from_plain(json.loads(text))
    assert json.dumps(replicate.to_plain()) == text
    assert replicate.score(Objective("smoothed", 0.1)) == Score(0.1 + 0.2, 5)
    assert replicate.score(Objective()) == Score(0.1 + 0.2, 7)


def test_a_replicate_of_an_older_version_lacks_what_it_did_not_record() -> None:
    old = outcome(25.0, 10).to_plain()
    assert "precision" not in old
    assert "steps_to_tolerance" not in old["raw"]
    read = Replicate.from_plain(old)
    assert (read.precision, read.raw.steps_to_tolerance) == (None, None)
    assert read.to_plain() == old


def test_what_other_versions_have_in_a_replicate_is_passed_over() -> None:
    known = outcome(25.0, 10)
    plain = known.to_plain()
    older = {**plain, "compiled": False}
    newer = {**plain, "carbon_g": 1.0, "raw": {**plain["raw"], "max_lpips": 0.1}}
    assert Replicate.from_plain(older) == Replicate.from_plain(newer) == known
