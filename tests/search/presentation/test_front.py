"""Rows of the front, and the cells that every table shows of a trial."""

from __future__ import annotations

import pytest
from fake_runs import outcome

from dipstage.presets import parse_preset
from search.experiment.objectives import Objective
from search.presentation.front import Cells, front_rows
from search.store.records import State, Trial


def trial(
    number: int, psnr_db: float, steps: int, *, state: State = "complete",
    candidate: str | None = None, censored: bool = False,
) -> Trial:  # fmt: skip
    """A trial of two equal replicates."""
    replicate = outcome(psnr_db, steps, censored)
    return Trial(
        number=number,
        state=state,
        candidate=candidate,
        schedule=parse_preset("baseline").schedule(30),
        learning_rate=0.01,
        warmup=None,
        params={},
        replicates={"a-seed0": replicate, "b-seed0": replicate},
        values=(psnr_db, steps) if state == "complete" else None,
        estimate=(psnr_db - 1, steps + 1) if state == "raced" else None,
        failure=None,
        started=None,
        ended=None,
    )


@pytest.mark.parametrize(
    ("shown", "steps", "psnr_db"),
    [
        (trial(0, 25.0, 20), "20 ± 0", "25.00 ± 0.00"),
        (trial(0, 25.0, 20, censored=True), "≥ 20 ± 0", "25.00 ± 0.00"),
        (trial(0, 25.0, 20, state="raced", censored=True), "~ 21", "~ 24.00"),
    ],
)
def test_cells_mark_what_is_censored_and_what_is_predicted(
    shown: Trial, steps: str, psnr_db: str
) -> None:
    cells = Cells.of(shown, "raw", "steps_to_max")
    assert (cells.steps, cells.psnr_db) == (steps, psnr_db)
    assert (cells.name, cells.stages, cells.ramp) == ("trial 0", "1", "0")


def test_the_front_comes_first_then_the_candidates_behind_it() -> None:
    trials = [
        trial(0, 24.0, 20, candidate="baseline"), trial(1, 25.0, 10), trial(2, 27.0, 20),
        trial(3, 24.5, 15), trial(4, 30.0, 5, state="raced"),
    ]  # fmt: skip
    rows = front_rows(trials, Objective())
    assert [row.name for row in rows] == ["trial 1", "trial 2 (knee)", "baseline"]
    assert [row.on_front for row in rows] == [True, True, False]
    assert [row.relation for row in rows] == [
        "dominates baseline in both",
        "dominates baseline in one, equal in the other",
        "dominated by trial 1, trial 2",
    ]
