"""Trials of one schedule: trained once, shared by all of them, and counted once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from counts import assert_exact, written
from fake_runs import CONTENT, KEYS, experiment, ledger_of, new_run, outcome
from optuna.trial import TrialState
from sqlalchemy import event

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from search import Run, launch
from search.analysis.best_so_far import rank_by_budget
from search.cli import main
from search.execution.ledger import Ledger
from search.execution.work import Work
from search.experiment.candidate import Candidate
from search.presentation.front import front_rows
from search.store.attributes import TrialAttributes, write
from search.verification.confirmation import best_schedules

PLAIN: dict[str, Any] = {
    "candidates": ["baseline"],
    "space": {**CONTENT["space"], "stages": {"low": 1, "high": 1}},
}
"""Every sampled schedule is the baseline."""


def new_plain_run(folder: Path, **changes: Any) -> Run:
    """A run in which every sampled schedule is the baseline."""
    return new_run(folder, experiment(**{**PLAIN, **changes}))


def train(ledger: Ledger, work: Work, keys: list[str] | None = None) -> None:
    """Record replicates of a trial, by default all that are left."""
    for key in KEYS if keys is None else keys:
        if key not in work.done:
            ledger.record(work.number, key, outcome(25.0 + KEYS.index(key), 10))


def handed(ledger: Ledger) -> Work:
    """The next trial to run."""
    work = ledger.next()
    assert work is not None
    return work


def test_equal_schedules_are_trained_once_and_have_the_same_scores(tmp_path: Path) -> None:
    run = new_plain_run(tmp_path)
    ledger = ledger_of(run)
    first = handed(ledger)
    train(ledger, first)
    ledger.finish(first.number, None)
    assert ledger.next() is None
    assert ledger.finished
    baseline, *others = run.records()
    assert len(others) == 4
    assert (baseline.same_as, baseline.taken, baseline.wall_s) == (None, {}, 4 * 2.5)
    for trial in others:
        assert (trial.values, trial.replicates) == (baseline.values, baseline.replicates)
        assert (trial.same_as, trial.taken) == (0, dict.fromkeys(KEYS, 0))
        assert [trial.trained_by(key) for key in KEYS] == [0] * 4
        assert trial.wall_s == 0
    ended = run.study.get_trials()
    assert [trial.user_attrs["wall_s"] for trial in ended] == [10.0, 0, 0, 0, 0]
    assert [trial.state for trial in ended] == [TrialState.COMPLETE] * 5


@pytest.mark.parametrize(
    ("objective", "values", "told"),
    [
        ({"against": "mine"}, [-3.0], (25.0, -3.0)),
        ({"against": "mine"}, [1e18], (25.0, 1e18)),
        ({"metric": "mine"}, [-1500.0], (-1500.0, 10.0)),
        ({"metric": "mine"}, [-1e18], (-1e18, 10.0)),
        ({"metric": "mine"}, [1e308], None),
        ({"metric": "mine"}, [math.inf, -math.inf], None),
    ],
)
def test_installed_objectives_of_any_size_are_shared_and_read_back(
    tmp_path: Path, objective: dict[str, str], values: list[float], told: tuple[float, float] | None
) -> None:
    run = new_plain_run(tmp_path, objective=objective)
    ledger = ledger_of(run)
    first = handed(ledger)
    for key, value in zip(KEYS, values * len(KEYS), strict=False):
        own = replace(outcome(25.0, 10), objectives={"mine": value})
        ledger.record(first.number, key, own)
    ledger.finish(first.number, None)
    assert ledger.next() is None
    assert ledger_of(run).finished
    assert [trial.values for trial in run.records()] == [told] * 5


def test_trials_wait_for_one_of_their_schedule_that_is_under_way(tmp_path: Path) -> None:
    run = new_plain_run(tmp_path)
    ledger = ledger_of(run)
    first = handed(ledger)
    assert ledger.next() is None
    assert not ledger.finished
    assert [trial.state for trial in run.records()] == ["running"] * 5
    train(ledger, first)
    assert not ledger.finished
    ledger.finish(first.number, None)
    assert ledger.finished
    assert [trial.state for trial in run.records()] == ["complete"] * 5


def test_what_an_ended_trial_lacks_is_trained_by_the_next_one(tmp_path: Path) -> None:
    run = new_plain_run(tmp_path)
    ledger = ledger_of(run)
    first = handed(ledger)
    train(ledger, first, KEYS[:1])
    assert ledger.next() is None
    ledger.finish(first.number, "diverged")
    second = handed(ledger)
    assert (second.number, second.done) == (1, (KEYS[0],))
    assert ledger.next() is None, "the third waits for the second"
    train(ledger, second)
    ledger.finish(second.number, None)
    assert ledger.finished
    _, two, three, *_ = run.records()
    assert two.taken == {KEYS[0]: 0}
    assert two.wall_s == 3 * 2.5
    assert three.taken == {KEYS[0]: 0, **dict.fromkeys(KEYS[1:], 1)}
    assert [trial.same_as for trial in run.records()] == [None, 0, 0, 0, 0]
    assert [trial.number for trial in run.front()] == [1]


@pytest.mark.long
def test_a_shared_schedule_is_on_the_front_and_in_rankings_once(tmp_path: Path) -> None:
    run = new_plain_run(tmp_path)
    twin = Candidate("twin", Schedule((Stage(0.5, 10), Stage(1.0, 20))))
    write(run.study, candidates=[*run.attributes.candidates, twin, replace(twin, name="other")])
    ledger = ledger_of(run)
    for _ in range(2):
        work = handed(ledger)
        train(ledger, work)
        ledger.finish(work.number, None)
    assert ledger.next() is None
    assert len(ledger._complete) == len(ledger_of(run)._complete) == 2
    assert [trial.name for trial in run.front()] == ["baseline", "twin"]
    rows = {row.name: row.relation for row in front_rows(run.records(), run.objective)}
    assert rows["other"] == "same schedule as twin"
    assert best_schedules(run.records(), 8) == []
    shown = CliRunner().invoke(main, ["trials", "tiny", "--runs-dir", str(tmp_path)]).output
    assert shown.count("same schedule as baseline") == 4
    assert shown.count("same schedule as twin") == 1
    assert [row["same_as"] for row in run.trials().to_dict("records")][2:] == [1.0] + [0.0] * 4


@pytest.mark.parametrize(
    ("other", "is_equal"),
    [
        (Candidate("x", Schedule.plain(30, Recipe(warmup=0))), True),
        (Candidate("x", Schedule.plain(30, Recipe(warmup=3))), False),
        (Candidate("x", Schedule.plain(29)), False),
        (Candidate("x", Schedule((Stage(0.9, 10), Stage(1.0, 20)))), False),
    ],
)
@pytest.mark.parametrize("rate", [None, 0.01, 0.02])
def test_only_what_is_trained_alike_is_shared(
    tmp_path: Path, other: Candidate, is_equal: bool, rate: float | None
) -> None:
    run = new_plain_run(tmp_path, space=None, search={"trials": 0})
    recipe = replace(other.schedule.recipe, learning_rate=rate)
    other = replace(other, schedule=replace(other.schedule, recipe=recipe))
    write(run.study, candidates=[*run.attributes.candidates, other])
    ledger = ledger_of(run)
    assert handed(ledger).number == 0
    assert (ledger.next() is None) == (is_equal and rate != 0.02)


def test_the_twin_of_a_raced_trial_takes_its_replicates_and_is_raced_too(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(candidates=["baseline"], search={"trials": 12}))
    ledger = ledger_of(run)
    raced = None
    while raced is None:
        work = handed(ledger)
        for i, key in enumerate(KEYS):
            score = (26.0, 15) if work.number % 2 == 0 else (20.0, 25)
            ledger.record(work.number, key, outcome(score[0] + 0.01 * i, score[1]))
            if i + 1 < len(KEYS) and ledger.race(work.number):
                raced = work
                break
        ledger.finish(work.number, None)
    twin = ledger._dispatchable(raced.schedule, TrialAttributes())
    ledger._share(twin)
    trial, copy = (run.records()[number] for number in (raced.number, twin.number))
    assert (copy.state, copy.taken) == ("raced", dict.fromkeys(KEYS[:2], trial.number))
    assert copy.estimate == trial.estimate
    assert not ledger._queue


def test_a_trial_that_a_dead_driver_left_is_raced_by_the_next(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(candidates=["baseline"], search={"trials": 12}))
    ledger = ledger_of(run)
    left = handed(ledger)
    while left.number < 8:
        train(ledger, left)
        ledger.finish(left.number, None)
        left = handed(ledger)
    for key in KEYS[:2]:
        ledger.record(left.number, key, outcome(15.0, 25))
    assert ledger_of(run).next() is not None
    assert run.records()[left.number].state == "raced"


class Cut(BaseException):
    """A driver dies here."""


@pytest.mark.long
def test_a_driver_that_dies_while_replicates_are_shared_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    run = new_plain_run(tmp_path)
    ledger = ledger_of(run)
    first = handed(ledger)
    assert ledger.next() is None, "all others wait"
    train(ledger, first)
    statements: list[str] = []
    stop_at = 1

    def execute(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            statements.append(statement)
            if len(statements) == stop_at:
                raise Cut

    event.listen(run.storage.engine, "before_cursor_execute", execute)
    try:
        while not ledger.finished:
            statements.clear()
            try:
                ledger = ledger_of(run)
                assert ledger.next() is None
            except Cut:
                stop_at += 1
    finally:
        event.remove(run.storage.engine, "before_cursor_execute", execute)
    assert stop_at > 5
    records = run.records()
    assert [trial.state for trial in records] == ["complete"] * 5
    assert [trial.taken for trial in records[1:]] == [dict.fromkeys(KEYS, 0)] * 4
    assert [trial.values for trial in records] == [records[0].values] * 5


@pytest.mark.usefixtures("ray_session")
def test_a_search_trains_equal_schedules_once_and_shows_their_curves(tmp_path: Path) -> None:
    run = launch(experiment(**PLAIN, resources={"concurrent": 2}), runs_dir=tmp_path)
    assert_exact(run)
    assert len(written(run)) == len(KEYS)
    baseline, *others = run.records()
    assert [trial.same_as for trial in others] == [0] * 4
    for key in KEYS:
        assert (run.picture(others[0], key) is None) == (run.picture(baseline, key) is None)
    assert [trial.number for trial, _ in rank_by_budget(run, 20)] == [0]
