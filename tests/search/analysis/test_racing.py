"""Racing: who is stopped, who never is, and what the study is told."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runs import KEYS, experiment, ledger_of, new_run, outcome
from numpy.typing import NDArray
from optuna.trial import TrialState

from dipstage.errors import InputError
from dipstage.schedules.schedule import Schedule, Stage
from search import Run
from search.analysis.pareto import dominates
from search.analysis.racing import MIN_COMPLETE, race
from search.analysis.status import sentence, status_of
from search.cli import main
from search.execution.driver import racing_notice
from search.execution.ledger import Ledger
from search.execution.work import Work
from search.experiment.candidate import Candidate
from search.experiment.objectives import Score
from search.report import page
from search.store.attributes import TrialAttributes, write
from search.store.replicate import Replicate

REPLICATES = [f"p{i % 4}-seed{i // 4}" for i in range(8)]
EASE = np.array([3.0, -2.0, 0.5, -1.5] * 2)
"""How much higher PSNR_GT is on a picture than on the mean picture."""


def trial(psnr: float, steps: float, noise: NDArray[np.float64]) -> dict[str, Score]:
    """Replicates of a schedule with these true means; noise is (8, 2)."""
    values = noise + np.array([psnr, steps])
    return {
        key: Score(float(v[0] + EASE[i]), float(v[1]))
        for i, (key, v) in enumerate(zip(REPLICATES, values, strict=True))
    }


def population(generator: np.random.Generator, n: int = 40) -> list[dict[str, Score]]:
    """Complete trials behind a front that rises from 24 dB at 100 steps to 27 dB at 400."""
    found = []
    for _ in range(n):
        steps = generator.uniform(100, 400)
        psnr = 24 + (steps - 100) / 100 - generator.exponential(0.5)
        found.append(trial(psnr, steps, generator.normal(0, [0.15, 15], (8, 2))))
    return found


def first(scores: dict[str, Score], n: int) -> dict[str, Score]:
    """The first n replicates."""
    return {key: scores[key] for key in REPLICATES[:n]}


def test_a_hopeless_trial_is_stopped_with_an_estimate_that_allows_for_easy_pictures() -> None:
    generator = np.random.default_rng(0)
    bad = trial(23.0, 380, generator.normal(0, [0.15, 15], (8, 2)))
    raced = race(first(bad, 2), population(generator), REPLICATES, 0.95, 2)
    assert raced is not None
    assert raced.replicates == 2
    # Its two replicates have a mean of 23.5 dB, as the first two pictures are easy ones.
    assert raced.estimate.max_psnr_gt_db == pytest.approx(23.0, abs=0.3)
    assert raced.estimate.steps_to_max == pytest.approx(380, abs=30)


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize(("psnr", "steps"), [(27.5, 200), (25.0, 90), (29.0, 500)])
def test_a_trial_ahead_of_the_front_is_never_stopped(n: int, psnr: float, steps: float) -> None:
    generator = np.random.default_rng(n)
    good = trial(psnr, steps, generator.normal(0, [0.15, 15], (8, 2)))
    assert race(first(good, n), population(generator), REPLICATES, 0.5, 1) is None


def test_nothing_is_stopped_before_the_least_replicates_or_without_enough_trials() -> None:
    generator = np.random.default_rng(0)
    bad, complete = trial(20.0, 600, np.zeros((8, 2))), population(generator)
    assert race(first(bad, 2), complete, REPLICATES, 0.9, 3) is None
    assert race(first(bad, 3), complete, REPLICATES, 0.9, 3) is not None
    assert race(first(bad, 3), complete[: MIN_COMPLETE - 1], REPLICATES, 0.9, 3) is None
    assert race(bad, complete, REPLICATES, 0.9, 3) is None, "all replicates: nothing to save"


def test_equal_complete_trials_leave_no_doubt_and_no_error() -> None:
    """Corrections without any spread are a covariance of zero."""
    complete = [trial(25.0, 200, np.zeros((8, 2)))] * MIN_COMPLETE
    assert race(first(trial(24.0, 300, np.zeros((8, 2))), 1), complete, REPLICATES, 0.9, 1)
    assert not race(first(trial(25.0, 200, np.zeros((8, 2))), 1), complete, REPLICATES, 0.9, 1)


@pytest.mark.long
def test_mistakes_are_rarer_than_one_less_the_confidence() -> None:
    """Trials just ahead of the front, over all looks, in 300 repetitions."""
    generator = np.random.default_rng(3)
    stopped = 0
    for _ in range(300):
        complete = population(generator)
        finals = [Score(*np.mean([t[k] for k in REPLICATES], axis=0)) for t in complete]
        while True:
            steps = generator.uniform(100, 400)
            psnr = 24 + (steps - 100) / 100
            new = trial(psnr, steps, generator.normal(0, [0.15, 15], (8, 2)))
            final = Score(*np.mean([new[k] for k in REPLICATES], axis=0))
            if not any(dominates(other, final) for other in finals):
                break
        stopped += any(race(first(new, n), complete, REPLICATES, 0.9, 2) for n in range(2, 8))
    assert stopped / 300 < 0.1


def racing_run(runs_dir: Path, objective: object = None, **racing: object) -> Run:
    """A run of twelve trials that race from their second replicate on."""
    return new_run(
        runs_dir,
        experiment(
            search={"trials": 12},
            candidates=["baseline"],
            racing={"min_replicates": 2, **racing},
            objective=objective or {},
        ),
    )


def drive(run: Run, ledger: Ledger | None = None) -> list[Work]:
    """As Tune does: each replicate is recorded, then the ledger is asked. Even trials are good."""
    ledger = ledger or Ledger(run.study, run.experiment, KEYS)
    handed = []
    while (work := ledger.next()) is not None:
        handed.append(work)
        good = work.number % 2 == 0
        for i, key in enumerate(KEYS):
            if key in work.done:
                continue
            jitter = 0.05 * ((work.number * 7 + i * 3) % 5)
            score = (26.0 + jitter, 15) if good else (20.0 + jitter, 25)
            ledger.record(work.number, key, outcome(*score))
            if i + 1 < len(KEYS) and ledger.race(work.number):
                break
        ledger.finish(work.number, None)
    return handed


def test_raced_trials_are_told_as_such_and_are_not_on_the_front(tmp_path: Path) -> None:
    run = racing_run(tmp_path)
    drive(run)
    records = run.records()
    raced = [trial for trial in records if trial.state == "raced"]
    assert [trial.number for trial in raced] == [9, 11], "as soon as eight are complete"
    assert all(len(trial.replicates) == 2 and trial.values is None for trial in raced)
    assert all(trial not in run.front() for trial in raced)
    assert all(trial.estimate is not None for trial in raced)
    told = run.study.get_trials()[9]
    assert told.state is TrialState.COMPLETE
    noted = TrialAttributes.of(told).raced
    assert noted is not None
    assert list(noted.estimate) == told.values
    assert told.number not in [trial.number for trial in run.study.best_trials]
    assert told.values[0] == pytest.approx(20.1, abs=0.1)
    status = status_of(run)
    assert (status.complete, status.raced, status.done) == (11, 2, 13)
    assert "2 raced (4 replicates saved)" in sentence(status)


def test_a_candidate_is_never_raced(tmp_path: Path) -> None:
    run = racing_run(tmp_path)
    drive(run)
    poor = Candidate("poor", Schedule((Stage(0.5, 29), Stage(1.0, 1))))
    write(run.study, candidates=[*run.attributes.candidates, poor])
    ledger = Ledger(run.study, run.experiment, KEYS)
    work = ledger.next()
    assert work is not None
    for key in KEYS[:3]:
        ledger.record(work.number, key, outcome(5.0, 29))
        assert not ledger.race(work.number)


def test_racing_switched_off_is_the_plain_search(tmp_path: Path) -> None:
    run = racing_run(tmp_path, enabled=False)
    drive(run)
    assert [trial.state for trial in run.records()] == ["complete"] * 13


@pytest.mark.parametrize(
    ("racing", "trials", "replicates", "said"),
    [
        ({"min_replicates": 2}, 4, 3, None),
        ({"min_replicates": 3}, 4, 3, "racing.min_replicates is 3 and a trial has 3 replicates"),
        ({"min_replicates": 9}, 4, 3, "racing.min_replicates is 9 and a trial has 3 replicates"),
        ({}, 4, 1, "racing.min_replicates is 2 and a trial has 1 replicate:"),
        ({"min_replicates": 9, "enabled": False}, 4, 3, None),
        ({"min_replicates": 9}, 0, 3, None),
        (None, 4, 1, None),
    ],
)
def test_racing_that_can_stop_nothing_is_noted(
    racing: dict[str, object] | None, trials: int, replicates: int, said: str | None
) -> None:
    asked = {} if racing is None else {"racing": racing}
    notice = racing_notice(experiment(search={"trials": trials}, **asked), replicates)
    assert (notice or "").startswith(said or "")
    assert (notice is None) == (said is None)


def test_a_driver_that_dies_after_the_verdict_leaves_a_raced_trial(tmp_path: Path) -> None:
    run = racing_run(tmp_path)
    dead = Ledger(run.study, run.experiment, KEYS)
    for _ in range(9):
        work = dead.next()
        assert work is not None
        for key in KEYS:
            dead.record(work.number, key, outcome(26.0 + 0.01 * work.number, 15))
        dead.finish(work.number, None)
    work = dead.next()
    assert work is not None
    for key in KEYS[:2]:
        dead.record(work.number, key, outcome(20.0, 25))
    assert dead.race(work.number)
    drive(run)
    states = [trial.state for trial in run.records()]
    assert states[work.number] == "raced"
    assert len(run.records()[work.number].replicates) == 2
    assert len(states) == 13
    assert "running" not in states


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("metric", "key", "odd"),
    [("psnr", "max_psnr_gt_db", math.inf), ("ssim", "max_ssim_gt", math.nan)],
)
def test_a_trial_of_which_a_score_is_not_finite_does_not_end_racing(
    tmp_path: Path, metric: str, key: str, odd: float, later: bool
) -> None:
    """Neither for its own driver, nor for a later one."""
    run = racing_run(tmp_path, objective={"metric": metric})
    ledger = ledger_of(run)

    def scored(value: float, steps: int) -> Replicate:
        replicate = outcome(25.0, steps)
        change: dict[str, Any] = {key: value}
        return replace(replicate, raw=replace(replicate.raw, **change))

    for number in range(10):
        work = ledger.next()
        assert work is not None
        for i, each in enumerate(KEYS):
            value = odd if (number, i) == (9, 0) else 0.8 + 0.001 * number
            ledger.record(work.number, each, scored(value, 15))
        ledger.finish(work.number, None)
    work = ledger.next()
    assert work is not None
    for each in KEYS[:2]:
        ledger.record(work.number, each, scored(0.2, 25))
    if later:
        ledger_of(run)  # It races what it adopts.
        assert run.records()[work.number].state == "raced"
    else:
        assert ledger.race(work.number)


@pytest.mark.long
def test_tables_plots_and_picks_tell_raced_trials_apart(tmp_path: Path) -> None:
    run = racing_run(tmp_path)
    drive(run)
    runs_dir = str(tmp_path)
    shown = CliRunner().invoke(main, ["trials", "tiny", "--runs-dir", runs_dir]).output
    assert "raced after 2 (p < 0.001)" in shown
    assert "~ 25" in shown
    assert "raced after 2 (p " in page.make(run).text
    rows = {row["trial"]: row for row in run.trials().to_dict("records")}
    assert (rows[9]["state"], rows[9]["replicates"]) == ("raced", 2)
    assert 0 <= rows[9]["raced_p"] < 0.001
    assert math.isnan(rows[8]["raced_p"])
    plot = tmp_path / "front.svg"
    done = CliRunner().invoke(main, ["pareto", "tiny", "--runs-dir", runs_dir, "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    assert "raced (predicted)" in plot.read_text()
    with pytest.raises(InputError, match="trial 9 is raced: pick a complete one"):
        run.pick("9")
