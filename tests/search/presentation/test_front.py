"""Rows of the front, and the cells that every table shows of a trial."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import trial

from search.experiment.objectives import Objective
from search.presentation.front import Cells, front_rows
from search.store.records import Trial
from search.store.replicate import Selection


@pytest.mark.parametrize(
    ("shown", "steps", "psnr_db"),
    [
        (trial(0, 25.0, 20), "20 ± 0", "25.00 ± 0.00"),
        (trial(0, 25.0, 20, censored=True), "≥ 20 ± 0", "25.00 ± 0.00"),
        (trial(0, 25.0, 20, state="raced", censored=True), "~ ≥ 21", "~ 24.00"),
    ],
)
def test_cells_mark_what_is_censored_and_what_is_predicted(
    shown: Trial, steps: str, psnr_db: str
) -> None:
    cells = Cells.of(shown, Objective())
    assert (cells.steps, cells.psnr_db) == (steps, psnr_db)
    assert (cells.name, cells.stages, cells.ramp) == ("trial 0", "1", "0")


@pytest.mark.parametrize(("psnr_cut", "ssim_cut"), [(True, False), (False, True)])
def test_steps_to_a_maximum_are_marked_by_that_maximum(psnr_cut: bool, ssim_cut: bool) -> None:
    shown = trial(0, 25.0, 20, censored=psnr_cut)
    for key, each in shown.replicates.items():
        shown.replicates[key] = replace(each, raw=replace(each.raw, ssim_censored=ssim_cut))
    assert Cells.of(shown, Objective("raw")).steps == "≥ " * psnr_cut + "20 ± 0"
    assert Cells.of(shown, Objective("raw", metric="ssim")).steps == "≥ " * ssim_cut + "21 ± 0"
    assert shown.measures("raw").censored == 2 * psnr_cut
    for key, each in shown.replicates.items():
        shown.replicates[key] = replace(each, selected=Selection(9, 11, 24.0, 25.0))
    assert Cells.of(shown, Objective("raw")).steps == "≥ " * psnr_cut + "20 ± 0"
    assert Cells.of(shown, Objective(stop="emv")).steps == "≥ 30 ± 0", "the budget ended it"


def test_the_front_comes_first_then_the_other_candidates() -> None:
    trials = [
        trial(0, 24.0, 20, candidate="baseline"), trial(1, 25.0, 10), trial(2, 27.0, 20),
        trial(3, 24.5, 15), trial(4, 30.0, 5, state="raced"),
    ]  # fmt: skip
    rows = front_rows(trials, Objective())
    assert [row.name for row in rows] == ["trial 1", "trial 2", "baseline"]
    assert [row.on_front for row in rows] == [True, True, False]
    assert [row.relation for row in rows] == [
        "dominates baseline",
        "dominates baseline (equal in one objective)",
        "dominated by trial 1, trial 2",
    ]


def test_an_end_of_the_front_is_not_called_its_knee() -> None:
    ends = [trial(0, 24.0, 10), trial(1, 27.0, 20)]
    assert [row.is_knee for row in front_rows(ends, Objective())] == [False, False]
    bent = [*ends, trial(2, 26.5, 12)]
    assert [row.name for row in front_rows(bent, Objective())][1] == "trial 2 (knee)"
    straight = [*ends, trial(2, 24.1, 19)]
    assert not any(row.is_knee for row in front_rows(straight, Objective()))


def test_what_was_sampled_beside_the_staircase_is_in_words() -> None:
    sampled = replace(
        trial(0, 25.0, 20), params={"stages": 3, "width": 48, "ema": 0.98712, "draw": "fresh"}
    )
    assert Cells.of(sampled, Objective()).settings == "width 48, ema 0.9871, draw fresh"
    assert Cells.of(trial(1, 25.0, 20), Objective()).settings == ""


def test_psnr_stands_beside_ssim_where_that_is_optimised() -> None:
    assert Cells.of(trial(0, 25.0, 20), Objective()).beside == "0.750 ± 0.000"
    objective = Objective(metric="ssim")
    cells = Cells.of(trial(0, 25.0, 20), objective)
    assert (cells.psnr_db, cells.beside) == ("0.750 ± 0.000", "25.00 ± 0.00")
    assert objective.beside.label == "max PSNR_GT (dB)"
