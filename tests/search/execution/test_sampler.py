"""What samplers propose: the same after candidates, constraints and resumes as in Optuna alone."""

from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from fake_runs import CONTENT, experiment, finish, ledger_of, new_run, play
from optuna.trial import TrialState

from search.execution.sampler import SAMPLERS, SearchedTrials
from search.experiment.model import Search
from search.experiment.space import suggest


def suggestions(
    candidates: int, sampler: optuna.samplers.BaseSampler, mark: str = "candidate"
) -> list[dict[str, Any]]:
    """What a sampler asks for after candidates that hold the whole front."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for _ in range(candidates):
        study.add_trial(optuna.create_trial(values=[99.0, 1.0], user_attrs={mark: "x"}))
    searched = SearchedTrials(sampler, study, study.get_trials())
    drawn = []
    for number in range(candidates, candidates + 25):
        trial = searched.ask()
        x = trial.suggest_float("x", 0, 1)
        y = trial.suggest_float("y", 0, 1)
        searched.enter(trial, number)
        searched.tell(number, TrialState.COMPLETE, [x, y])
        drawn.append(trial.params)
    return drawn


def test_an_experiment_can_choose_every_sampler() -> None:
    assert {*SAMPLERS} == {*get_args(Search.model_fields["sampler"].annotation)}


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "qmc", "random"])
def test_candidates_do_not_change_what_is_sampled(kind: str) -> None:
    samplers: dict[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=1),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=1, population_size=5),
        "qmc": lambda: SAMPLERS["qmc"](1, 30),
        "random": lambda: optuna.samplers.RandomSampler(seed=1),
    }
    assert suggestions(0, samplers[kind]()) == suggestions(12, samplers[kind]())


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_samplers_learn_constraints_as_optuna_s_own_trials_do(
    kind: str, directions: list[Any]
) -> None:
    samplers: dict[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=1),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=1, population_size=10),
    }
    own = optuna.create_study(directions=directions, sampler=samplers[kind]())
    for _ in range(40):
        trial = own.ask()
        x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
        trial.set_constraint("max_x", x - 0.3)
        own.tell(trial, [x, y][: len(directions)])

    def drawn(limit: float) -> list[dict[str, Any]]:
        study = optuna.create_study(directions=["maximize", "minimize"])
        searched = SearchedTrials(samplers[kind](), study, [], objectives=len(directions))
        for number in range(40):
            trial = searched.ask()
            x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
            searched.enter(trial, number)
            searched.tell(number, TrialState.COMPLETE, [x, y], {"max_x": x - limit})
        return [trial.params for trial in searched._memory.trials]

    assert drawn(0.3) == [trial.params for trial in own.trials] != drawn(1.0)


def test_tpe_would_have_been_confused_without_the_filter() -> None:
    """The test above can fail: trials that are no candidates change what is asked for."""
    unmarked = suggestions(12, optuna.samplers.TPESampler(seed=1), mark="other")
    assert suggestions(0, optuna.samplers.TPESampler(seed=1)) != unmarked


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc"])
def test_the_ledger_samples_what_optuna_s_own_ask_and_tell_would(
    tmp_path: Path, sampler: str
) -> None:
    """A trial is made in memory first, and the sequence of a seed is the one that it always was."""
    changes = {"trials": 60, "seed": 3, "sampler": sampler}
    run = new_run(tmp_path, experiment(search=changes, candidates=[]))
    play(run, lambda number: (20 + 7 * number % 11, 1 + 5 * number % 29))
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=SAMPLERS[sampler](3, 60)
    )
    assert run.experiment.space is not None
    for number, trial in enumerate(run.records()):
        asked = study.ask()
        suggest(asked, run.experiment.space, 25.0)
        assert asked.params == trial.params
        study.tell(asked, [20 + 7 * number % 11, 1 + 5 * number % 29])


@pytest.mark.long
def test_the_gaussian_process_repeats_itself_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    """It also sees what is under way: two trials at a time are not asked for the same point."""
    space = {**CONTENT["space"], "stages": {"low": 2, "high": 6}, "split": ["power"]}
    params = []
    for folder in ("one", "other"):
        search = {"trials": 6, "seed": 3, "sampler": "gp"}
        tiny = experiment(search=search, candidates=[], space=space)
        run = new_run(tmp_path / folder, tiny)
        first = ledger_of(run)
        for number in range(4):
            work = first.next()
            assert work is not None
            finish(first, work, 20 + number % 3, 5 + number)
        under_way = first.next()
        second = ledger_of(run)
        again = [second.next(), second.next()]
        assert again[0] == under_way
        for work in again:
            assert work is not None
            finish(second, work)
        assert second.finished
        params.append([trial.params for trial in run.records()])
    assert params[0] == params[1]
    assert len({str(point) for point in params[0]}) == 6
