"""Reading trials by plain queries gives exactly what Optuna's own way gives."""

import copy
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from fake_runs import KEYS, experiment, new_run, outcome, play
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text

from search import Run
from search.execution.ledger import Ledger
from search.store.attributes import replicate_attribute
from search.store.storage import CREATION


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with trials of every kind, one of them under way."""
    runs = tmp_path_factory.mktemp("rows")
    run = new_run(runs, experiment(search={"trials": 30, "seed": 1, "sampler": "nsga2"}))
    play(run, lambda number: "diverged" if number % 7 == 5 else (20.0 + number, 5 + number))
    run.study.set_user_attr("trials", 32)
    ledger = Ledger(run.study, run.experiment, KEYS)
    work = ledger.next()
    assert work is not None
    ledger.record(work.number, KEYS[2], outcome(0.1 + 0.2, 3))
    # As other programs write them.
    odd = optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)
    run.study.add_trial(
        optuna.create_trial(
            values=[float("inf"), float("-inf")], params={"odd": 0.1}, distributions={"odd": odd},
            intermediate_values={0: 1.0, 7: float("nan"), 9: float("inf")},
            system_attrs={"note": [1, None]}, user_attrs={"ä": {"b": True}},
        )
    )  # fmt: skip
    run.study.enqueue_trial({"stages": 3})
    run.storage.engine.dispose()
    return run.folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """That run, to change at will."""
    shutil.copytree(folder, tmp_path / folder.name)
    return Run.open(folder.name, tmp_path)


def both_ways(run: Run, besides: set[int], after: int) -> tuple[list[FrozenTrial], ...]:
    """By this project's storage, and by the one of Optuna that it extends."""
    storage, study = run.storage, run.study._study_id
    return (
        storage._get_trials(study, None, besides, after),
        RDBStorage._get_trials(storage, study, None, besides, after),
    )


def plain(trial: FrozenTrial) -> Any:
    """All that a trial holds, with the order of what it holds."""
    held = copy.copy(trial.__dict__)
    # NaN equals nothing.
    held["intermediate_values"] = repr(held["intermediate_values"])
    return [(key, list(v.items()) if isinstance(v, dict) else v) for key, v in held.items()]


@pytest.mark.parametrize(
    ("besides", "after"), [(set(), -1), ({2, 5}, 20), (set(), 20), ({3}, -1), (set(), 10_000)]
)
def test_trials_are_read_exactly_as_optuna_reads_them(
    run: Run, besides: set[int], after: int
) -> None:
    ours, theirs = both_ways(run, besides, after)
    assert [plain(trial) for trial in ours] == [plain(trial) for trial in theirs]
    assert len(ours) == {-1: 35, 20: 15 + len(besides), 10_000: 0}[after]


def test_tables_of_another_version_are_left_to_optuna(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run.storage.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99'"))
    monkeypatch.setattr("search.store.storage.read_trials", lambda *_: pytest.fail("was read"))
    assert len(Run.open(run.name, run.folder.parent).records()) == 35


def test_reading_all_trials_takes_as_few_queries_however_many_there_are(run: Run) -> None:
    queries: list[str] = []
    reopened = Run.open(run.name, run.folder.parent)
    event.listen(reopened.storage.engine, "before_cursor_execute", lambda *a: queries.append(a[2]))
    assert len(reopened.records()) == 35
    assert len(queries) == 9


def test_records_are_made_once_of_trials_that_have_ended_and_anew_of_others(run: Run) -> None:
    first = run.records()
    [under_way] = [t for t in run.study.get_trials() if t.state is TrialState.RUNNING]
    [(name, value)] = replicate_attribute(KEYS[0], outcome(1, 2)).items()
    run.storage.set_trial_user_attr(under_way._trial_id, name, value)
    again = run.records()
    changed = [a.number for a, b in zip(first, again, strict=True) if a != b]
    assert changed == [under_way.number]
    assert all(a is b for a, b in zip(first, again, strict=True) if a.ended)
    assert run.reread().records() == again


def test_a_trial_is_written_exactly_as_optuna_writes_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, study = run.storage, run.study._study_id
    under_way = next(t for t in run.study.get_trials() if t.state is TrialState.RUNNING)
    ours = storage.add_trial(study, under_way)
    monkeypatch.setattr(storage, "_rows_are_known", False)
    theirs = storage.add_trial(study, under_way)
    assert (ours.number, theirs.number) == (35, 36)
    read = [storage.get_trial(trial._trial_id) for trial in (ours, theirs)]
    for trial, returned in zip(read, (ours, theirs), strict=True):
        assert trial == returned
        trial.number, trial._trial_id = under_way.number, under_way._trial_id
        assert len(trial.system_attrs.pop(CREATION)) == 32
    under_way.system_attrs.pop(CREATION)
    assert read == [under_way, under_way]


def test_times_are_local_as_optuna_tells_them(run: Run) -> None:
    started = run.records()[0].started
    assert started is not None
    assert timedelta(0) <= datetime.now() - started < timedelta(minutes=5)
