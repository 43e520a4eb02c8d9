"""The ledger: nothing lost, nothing counted twice, whatever dies when."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from fake_runs import KEYS, experiment, new_run, outcome, play
from optuna.trial import TrialState

from dipstage.errors import InputError
from dipstage.presets import parse_preset
from search.ledger import MAX_DEATHS, Ledger, Work
from search.run import Run
from search.sampler import SearchedTrials
from search.space import decode
from search.storage import open_storage
from search.study import load_study, replicates


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return new_run(tmp_path, experiment())


def ledger_of(run: Run) -> Ledger:
    """A new driver's ledger."""
    return Ledger(run.study, run.experiment, KEYS)


def finish(ledger: Ledger, work: Work, psnr: float = 25.0, steps: int = 10) -> None:
    """All replicates of a trial that are not done yet."""
    for key in KEYS:
        if key not in work.done:
            ledger.record(work.number, key, outcome(psnr, steps))
    ledger.finish(work.number, None)


def states(run: Run) -> list[str]:
    """Of all trials that count."""
    return [trial.state for trial in run.records()]


def test_candidates_come_first_and_on_top_of_the_sampled_trials(run: Run) -> None:
    play(run, lambda number: (25.0 + number, 10))
    assert [trial.name for trial in run.records()] == [
        "baseline", "log10", "trial 2", "trial 3", "trial 4", "trial 5",
    ]  # fmt: skip
    assert run.records()[1].schedule == parse_preset("log10").schedule(30)
    space = run.experiment.space
    assert space is not None
    for trial in run.records()[2:]:
        assert trial.schedule == decode(trial.params, space).family.schedule(30)


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
    assert again[1] == Work(third.number, third.schedule, third.learning_rate, done=(KEYS[1],))
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


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a b", "a#b"])
def test_runs_live_where_they_were_asked_to_whatever_the_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    run = new_run(tmp_path / name, experiment())
    assert (tmp_path / name / "tiny" / "study.db").stat().st_size > 0
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    assert Run.open("tiny", tmp_path / name).trials_wanted == run.trials_wanted


def suggestions(candidates: int, sampler: optuna.samplers.BaseSampler) -> list[dict[str, Any]]:
    """What a sampler asks for after candidates that hold the whole front."""
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=SearchedTrials(sampler)
    )
    for _ in range(candidates):
        study.add_trial(optuna.create_trial(values=[99.0, 1.0], user_attrs={"candidate": "x"}))
    drawn = []
    for _ in range(25):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        y = trial.suggest_float("y", 0, 1)
        study.tell(trial, [x, y])
        drawn.append(trial.params)
    return drawn


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "random"])
def test_candidates_do_not_change_what_is_sampled(kind: str) -> None:
    samplers: dict[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=1),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=1, population_size=5),
        "random": lambda: optuna.samplers.RandomSampler(seed=1),
    }
    assert suggestions(0, samplers[kind]()) == suggestions(12, samplers[kind]())


def test_tpe_would_have_been_confused_without_the_filter() -> None:
    """The test above can fail: an unwrapped sampler asks for other points."""

    class Bare(SearchedTrials):
        def _searched(self, study: optuna.Study) -> optuna.Study:
            return study

    def drawn(candidates: int) -> list[dict[str, Any]]:
        study = optuna.create_study(
            directions=["maximize", "minimize"],
            sampler=Bare(optuna.samplers.TPESampler(seed=1)),
        )
        for _ in range(candidates):
            study.add_trial(optuna.create_trial(values=[99.0, 1.0], user_attrs={"candidate": "x"}))
        points = []
        for _ in range(25):
            trial = study.ask()
            study.tell(trial, [trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)])
            points.append(trial.params)
        return points

    assert drawn(0) != drawn(12)


def test_storages_that_cannot_be_opened_are_refused_without_their_password(
    tmp_path: Path, run: Run
) -> None:
    with pytest.raises(InputError, match=r"has no study\.db"):
        open_storage(tmp_path, None)
    for url in ("nonsense://u:secret@h/d", "secret", "postgresql+nodriver://u:secret@h/d"):
        with pytest.raises(InputError) as caught:
            open_storage(tmp_path, url)
        assert "secret" not in str(caught.value)
    for content in (b"", b"no database" * 100):
        (tmp_path / "study.db").write_bytes(content)
        with pytest.raises(InputError, match=r"study\.db cannot be opened|has no study"):
            load_study(open_storage(tmp_path, None), "tiny")
    with pytest.raises(InputError, match="no study 'other'"):
        load_study(open_storage(run.folder, None), "other")
