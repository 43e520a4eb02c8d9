"""The ledger: nothing lost, nothing counted twice, whatever dies when."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import CONTENT, KEYS, experiment, finish, ledger_of, new_run, outcome, play
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dipstage.schedules.presets import parse_preset
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from search import Run
from search.execution.ledger import MAX_DEATHS
from search.execution.work import Work
from search.experiment.space import decode
from search.store.attributes import replicates


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return new_run(tmp_path, experiment())


def states(run: Run) -> list[str]:
    """Of all trials that count."""
    return [trial.state for trial in run.records()]


def test_candidates_come_first_and_on_top_of_the_sampled_trials(run: Run) -> None:
    play(run, lambda number: (25.0 + number, 10))
    assert [trial.name for trial in run.records()] == [
        "baseline", "log10", "trial 2", "trial 3", "trial 4", "trial 5",
    ]  # fmt: skip
    rate = Recipe(learning_rate=0.01)
    log10 = parse_preset("log10").schedule(30)
    assert run.records()[1].schedule == replace(log10, recipe=rate)
    space = run.experiment.space
    assert space is not None
    for trial in run.records()[2:]:
        assert trial.schedule == decode(trial.params, space, 25.0).family.schedule(30, rate)


def test_only_what_a_schedule_file_leaves_open_is_taken_from_the_experiment(
    tmp_path: Path,
) -> None:
    preset, path = parse_preset("log10").schedule(30), tmp_path / "own.yaml"
    save_schedule(path, ScheduleFile(replace(preset, recipe=Recipe(learning_rate=0.003))))
    trainer = {**CONTENT["trainer"], "learning_rate": 0.02, "input_noise_std": 0.1}
    run = new_run(tmp_path, experiment(candidates=["log10", str(path)], trainer=trainer))
    ledger = ledger_of(run)
    taken = [ledger.next(), ledger.next()]
    recipes = [work.schedule.recipe for work in taken if work is not None]
    settings = [recipe.applied_to(run.experiment.trainer) for recipe in recipes]
    assert [each.learning_rate for each in settings] == [0.02, 0.003]
    assert [each.input_noise_std for each in settings] == [0.1, 0.1]


def test_objectives_are_means_over_replicates_of_the_chosen_output(tmp_path: Path) -> None:
    for output, shift in (("raw", 0.0), ("smoothed", 1.0)):
        run = new_run(tmp_path / output, experiment(objective={"output": output}))
        ledger = ledger_of(run)
        work = ledger.next()
        assert work is not None
        for i, key in enumerate(KEYS):
            ledger.record(work.number, key, outcome(20.0 + i, 10 * i))
        ledger.finish(work.number, None)
        assert run.records()[0].values == (21.5 + shift, 15.0)
        assert run.records()[0].measure("smoothed", "max_psnr_gt_db").mean == 22.5


def test_a_failed_trial_is_fail_with_its_reason_and_counts(run: Run) -> None:
    play(run, lambda number: "diverged on a" if number == 3 else (25.0, 10))
    assert states(run) == ["complete"] * 3 + ["failed"] + ["complete"] * 2
    assert run.records()[3].failure == "diverged on a"
    assert run.study.get_trials()[3].state is TrialState.FAIL
    assert ledger_of(run).finished


def test_a_trial_that_ends_without_all_replicates_is_fail(run: Run) -> None:
    ledger = ledger_of(run)
    work = ledger.next()
    assert work is not None
    ledger.record(work.number, KEYS[0], outcome(25, 10))
    ledger.finish(work.number, None)
    assert "without all of its replicates" in str(run.records()[0].failure)


def test_a_dead_driver_s_trials_go_on_under_their_numbers_with_their_replicates(run: Run) -> None:
    dead = ledger_of(run)
    first, second, third = dead.next(), dead.next(), dead.next()
    assert first is not None
    assert second is not None
    assert third is not None
    finish(dead, first)
    dead.record(third.number, KEYS[1], outcome(25, 10))
    alive = ledger_of(run)
    again = [alive.next(), alive.next()]
    assert again[0] == second
    assert again[1] == Work(third.number, third.schedule, done=(KEYS[1],))
    for work in again:
        assert work is not None
        finish(alive, work)
    while (work := alive.next()) is not None:
        finish(alive, work)
    assert alive.finished
    assert states(run) == ["complete"] * 6


def test_a_driver_that_dies_between_the_last_replicate_and_the_end_loses_nothing(run: Run) -> None:
    dead = ledger_of(run)
    work = dead.next()
    assert work is not None
    for key in KEYS:
        dead.record(work.number, key, outcome(25, 10))
    alive = ledger_of(run)
    assert states(run) == ["complete"]
    following = alive.next()
    assert following is not None
    assert following.number == 1


@pytest.mark.parametrize("attribute", [None, "candidate", "learning_rate"])
def test_a_driver_that_dies_before_a_trial_has_a_schedule_leaves_no_zombie(
    run: Run, attribute: str | None
) -> None:
    trial = run.study.ask()
    if attribute:
        trial.set_user_attr(attribute, "baseline" if attribute == "candidate" else 0.01)
    play(run, lambda number: (25.0, 10))
    assert len(run.records()) == 6
    assert states(run) == ["complete"] * 6
    assert sorted(t.name for t in run.records() if t.candidate) == ["baseline", "log10"]
    frozen = run.study.get_trials()
    assert [t.state for t in frozen[:1]] == [TrialState.FAIL]
    assert not [t for t in frozen if t.state is TrialState.RUNNING]


def test_a_dead_worker_s_trial_goes_on_and_is_given_up_after_too_many_deaths(run: Run) -> None:
    ledger = ledger_of(run)
    work = ledger.next()
    assert work is not None
    ledger.record(work.number, KEYS[0], outcome(25, 10))
    for _ in range(MAX_DEATHS - 1):
        ledger.died(work.number, "out of memory")
        again = ledger.next()
        assert again is not None
        assert (again.number, again.done) == (work.number, (KEYS[0],))
    ledger.died(work.number, "out of memory")
    assert run.records()[0].failure == "its worker died 3 times, last: out of memory"
    following = ledger.next()
    assert following is not None
    assert following.number == 1


def test_a_worker_that_dies_after_its_last_replicate_has_finished(run: Run) -> None:
    ledger = ledger_of(run)
    work = ledger.next()
    assert work is not None
    for key in KEYS:
        ledger.record(work.number, key, outcome(25, 10))
    ledger.died(work.number)
    assert states(run) == ["complete"]


def test_a_driver_that_dies_while_it_gives_a_trial_up_leaves_no_stale_reason(run: Run) -> None:
    dead = ledger_of(run)
    first, second = dead.next(), dead.next()
    assert first is not None
    assert second is not None
    trial = run.study.get_trials()
    storage = run.study._storage
    storage.set_trial_user_attr(trial[0]._trial_id, "failure", "said, but not told")
    storage.set_trial_user_attr(trial[1]._trial_id, "deaths", MAX_DEATHS)
    play(run, lambda number: (25.0, 10))
    assert run.records()[0].state == "complete"
    assert run.records()[0].failure is None
    assert run.records()[1].failure == "its worker died 3 times"


def test_replicates_are_exact_in_the_study(run: Run) -> None:
    ledger = ledger_of(run)
    work = ledger.next()
    assert work is not None
    exact = outcome(0.1 + 0.2, 10)
    ledger.record(work.number, KEYS[0], exact)
    reopened = Run.open(run.name, run.folder.parent)
    assert replicates(reopened.study.get_trials()[0]) == {KEYS[0]: exact}


@pytest.fixture
def commits(run: Run) -> Iterator[list[str]]:
    """What has been committed to the run's database since the last look."""
    done: list[str] = []
    listener = ("commit", lambda connection: done.append("commit"))
    event.listen(run.storage.engine, *listener)
    yield done
    event.remove(run.storage.engine, *listener)


def test_a_trial_costs_one_transaction_at_its_beginning_each_replicate_and_its_end(
    run: Run, commits: list[str]
) -> None:
    ledger = ledger_of(run)
    for _ in range(4):
        commits.clear()
        work = ledger.next()
        assert work is not None
        assert len(commits) == 1
        for count, key in enumerate(KEYS, start=2):
            ledger.record(work.number, key, outcome(25, 10))
            assert not ledger.race(work.number)
            assert len(commits) == count
        ledger.finish(work.number, None)
        assert len(commits) == len(KEYS) + 2


class Cut(BaseException):
    """A driver dies here."""


@pytest.mark.parametrize("kind", ["candidate", "sampled"])
def test_a_driver_that_dies_while_a_trial_is_written_leaves_all_of_it_or_nothing(
    run: Run, kind: str
) -> None:
    ledger = ledger_of(run)
    if kind == "sampled":
        for _ in run.study.user_attrs["candidates"]:
            assert ledger.next() is not None
    before = len(run.study.get_trials())
    statements: list[str] = []
    stop_at = 1

    def execute(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            statements.append(statement)
            if len(statements) == stop_at:
                raise Cut

    event.listen(run.storage.engine, "before_cursor_execute", execute)
    while True:
        statements.clear()
        try:
            work = ledger.next()
            break
        except Cut:
            assert len(run.study.get_trials()) == before
            stop_at, ledger = stop_at + 1, ledger_of(run)
            while kind == "sampled" and ledger._queue:
                ledger.next()
    event.remove(run.storage.engine, "before_cursor_execute", execute)
    assert stop_at > 3, "a trial, its attributes, its token"
    assert work is not None
    assert Work.of(run.study.get_trials()[work.number]) == work


def test_a_trial_whose_creation_was_not_answered_is_there_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[OperationalError] = []

    def lose_answer(session: Session) -> None:
        if not lost:
            lost.append(OperationalError("COMMIT", {}, Exception("the server is away")))
            raise lost[0]

    run.storage.patience_s = 60
    monkeypatch.setattr(run.storage, "_is_away", lambda error: bool(lost))
    event.listen(run.storage.scoped_session, "after_commit", lose_answer)
    ledger = ledger_of(run)
    lost.clear()
    first = ledger.next()
    assert lost
    assert first is not None
    assert [(t.number, t.candidate) for t in run.records()] == [(0, "baseline")]
    for key in KEYS:
        ledger.record(first.number, key, outcome(25, 10))
    lost.clear()
    ledger.finish(first.number, None)
    assert lost
    event.remove(run.storage.scoped_session, "after_commit", lose_answer)
    play(run, lambda number: (25.0, 10))
    assert states(run) == ["complete"] * 6
    assert len(run.study.get_trials()) == 6


def test_a_trial_that_has_ended_is_not_ended_again(run: Run) -> None:
    ledger = ledger_of(run)
    work = ledger.next()
    assert work is not None
    finish(ledger, work)
    with pytest.raises(UpdateFinishedTrialError):
        run.storage.end_trial(
            run.study.get_trials()[0]._trial_id, TrialState.COMPLETE, [1.0, 2.0], {"wall_s": 0.0}
        )
    assert run.records()[0].values == (25.0, 10.0)
