"""The Optuna study, which is the source of truth, and the ledger that a driver keeps in it.

Every trial of the study carries, as user attributes, its schedule, each finished replicate, and
where it failed the reason. A driver that dies leaves RUNNING trials behind; the next driver takes
them up under the same number, with the replicates that they had finished.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from dipstage.errors import InputError
from dipstage.schedules import Schedule
from search.objectives import Objective, mean_score
from search.pareto import Score
from search.racing import race

if TYPE_CHECKING:
    from search.experiment import Experiment
    from search.prepare import Candidate

REPLICATE = "replicate:"
"""Prefix of the attribute that holds a finished replicate's outcome."""
RACED = "raced"
"""Attribute of a trial that was stopped because the front had beaten it."""
MAX_DEATHS = 3
_SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # Optuna's ten random trials, or a third of a search that is shorter than thirty.
    "tpe": lambda seed, trials: TPESampler(
        seed=seed, n_startup_trials=max(4, min(10, trials // 3))
    ),
    "random": lambda seed, trials: RandomSampler(seed=seed),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed),
}

optuna.logging.set_verbosity(optuna.logging.ERROR)
# An interrupt in the middle of a query is told by us; SQLAlchemy would print its traceback too.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def open_storage(folder: Path, url: str | None, *, create: bool = False) -> Any:
    """Optuna's storage at `url`, by default SQLite in the run's folder."""
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    by_address = url is not None
    arguments: dict[str, Any] = {}
    if url is None:
        path = folder / "study.db"
        if not create and not path.exists():
            raise InputError(
                f"run folder {folder} has no study.db: if its study is in a database, name it with "
                "--storage or DIPSEARCH_STORAGE"
            )
        # The path goes to sqlite3 itself: in an address, `?` and `%` would mean something else.
        url = "sqlite:///study.db"
        arguments["engine_kwargs"] = {"creator": partial(sqlite3.connect, path, timeout=60)}
    try:
        return optuna.storages.RDBStorage(
            url, skip_compatibility_check=not create, skip_table_creation=not create, **arguments
        )
    except (ArgumentError, NoSuchModuleError):
        # The message would repeat the address, and with it a password.
        raise InputError("--storage is no database address that SQLAlchemy knows") from None
    except (ImportError, SQLAlchemyError, StorageInternalError) as error:
        what = "--storage" if by_address else f"{folder / 'study.db'}"
        raise InputError(
            f"{what} cannot be opened as a study's database: {type(error).__name__}"
        ) from None


def create_study(
    storage: Any,
    experiment: Experiment,
    digests: dict[str, str],
    candidates: list[Candidate],
    name: str | None = None,
) -> None:
    """Create the study with what a resume needs: candidates and the pictures' content.

    name: of the study, by default the experiment's.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=name or experiment.name, directions=["maximize", "minimize"]
        )
    except optuna.exceptions.DuplicatedStudyError:
        raise InputError(
            f"the storage has a study {experiment.name!r} already: choose another --name"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(["max_psnr_gt_db", experiment.objective.steps_key])
    study.set_user_attr("pictures", digests)
    study.set_user_attr("trials", experiment.search.trials)
    study.set_user_attr("objective", asdict(experiment.objective))
    study.set_user_attr("candidates", [candidate.plain() for candidate in candidates])


def load_study(storage: Any, name: str) -> Study:
    """The study of a run; InputError if the storage has none of that name."""
    try:
        return Study(name, storage)
    except (KeyError, StorageInternalError):
        raise InputError(f"the storage has no study {name!r}: is it the one of this run?") from None


def delete_study(storage: Any, name: str) -> None:
    """Remove a study from its storage, if it is there."""
    with suppress(KeyError):
        optuna.delete_study(study_name=name, storage=storage)


def replicates(trial: FrozenTrial) -> dict[str, dict[str, Any]]:
    """Outcomes of a trial's finished replicates by their key."""
    return {
        key.removeprefix(REPLICATE): value
        for key, value in trial.user_attrs.items()
        if key.startswith(REPLICATE)
    }


def objective_of(study: Study) -> Objective:
    """What the study optimises."""
    return Objective(**study.user_attrs["objective"])


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a driver died before the trial had a schedule: it counts for nothing."""
    return bool(trial.user_attrs.get("interrupted"))


@dataclass(frozen=True, slots=True)
class Work:
    """A trial to be run: everything that a worker needs, but the pictures."""

    number: int
    schedule: Schedule
    learning_rate: float
    warmup: int | None = None
    done: tuple[str, ...] = ()

    @classmethod
    def of(cls, trial: FrozenTrial) -> Work:
        """What is left of a trial that a driver handed out."""
        attributes = trial.user_attrs
        return cls(
            trial.number,
            Schedule.from_pairs(attributes["stages"], any_order=True),
            attributes["learning_rate"],
            attributes.get("warmup"),
            tuple(replicates(trial)),
        )


class Ledger:
    """Hands out trials and writes down what comes back. One driver has one ledger."""

    def __init__(self, study: Study, experiment: Experiment, keys: list[str]) -> None:
        """`keys` name the replicates that make a trial complete."""
        self._study, self._experiment, self._keys = study, experiment, keys
        self._objective = objective_of(study)
        seed = experiment.search.seed + len(study.get_trials(deepcopy=False))
        wanted = int(study.user_attrs["trials"])
        study.sampler = SearchedTrials(_SAMPLERS[experiment.search.sampler](seed, wanted))
        self._queue: deque[Work] = deque()
        self._running: dict[int, Work] = {}
        # Scores by replicate: of trials under way, and of complete ones for them to race against.
        self._scores: dict[int, dict[str, Score]] = {}
        self._complete: list[dict[str, Score]] = []
        self._adopt()
        trials = [t for t in study.get_trials(deepcopy=False) if not is_interrupted(t)]
        self._complete = [
            self._score_all(t)
            for t in trials
            if t.state is TrialState.COMPLETE and RACED not in t.user_attrs
        ]
        named = {t.user_attrs.get("candidate") for t in trials}
        self._candidates = deque(
            c for c in study.user_attrs["candidates"] if c["name"] not in named
        )
        sampled = sum("candidate" not in t.user_attrs for t in trials)
        self._to_sample = max(0, wanted - sampled)

    def _adopt(self) -> None:
        """Take up what a dead driver left RUNNING."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "stages" not in trial.user_attrs:
                self._set(trial.number, "interrupted", True)
                self._fail(trial.number, "the driver ended before the trial had a schedule")
                continue
            work = Work.of(trial)
            self._running[trial.number] = work
            self._scores[trial.number] = self._score_all(trial)
            if RACED in trial.user_attrs:
                self._tell_raced(trial.number)
                continue
            if int(trial.user_attrs.get("deaths", 0)) >= MAX_DEATHS:
                self._give_up(trial.number, MAX_DEATHS, trial.user_attrs.get("death", ""))
                continue
            if not self._finish_if_all_done(trial.number):
                self._queue.append(self._running.pop(trial.number))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do and nothing is under way."""
        return not (self._queue or self._running or self._candidates or self._to_sample)

    def next(self) -> Work | None:
        """A trial to run: one taken up again, a candidate, or a sampled one; None to wait."""
        if self._queue:
            work = self._queue.popleft()
        elif self._candidates:
            work = self._new_candidate(self._candidates.popleft())
        elif self._to_sample:
            work = self._sample()
            self._to_sample -= 1
        else:
            return None
        self._running[work.number] = work
        return work

    def _new_candidate(self, candidate: Mapping[str, Any]) -> Work:
        trial = self._study.ask()
        trial.set_user_attr("candidate", candidate["name"])
        warmup = candidate.get("warmup")
        if warmup is not None:
            trial.set_user_attr("warmup", warmup)
        schedule = Schedule.from_pairs(candidate["stages"], any_order=True)
        work = self._dispatchable(trial, schedule, candidate["learning_rate"])
        return replace(work, warmup=warmup)

    def _sample(self) -> Work:
        from search.space import suggest

        assert self._experiment.space is not None
        trial = self._study.ask()
        point = suggest(trial, self._experiment.space)
        schedule = point.family.schedule(self._experiment.trainer.iterations)
        return self._dispatchable(trial, schedule, point.learning_rate)

    def _dispatchable(
        self, trial: optuna.Trial, schedule: Schedule, learning_rate: float | None
    ) -> Work:
        rate = self._experiment.trainer.learning_rate if learning_rate is None else learning_rate
        trial.set_user_attr("learning_rate", rate)
        # Last: a RUNNING trial with stages is one that a later driver can take up.
        trial.set_user_attr("stages", schedule.pairs)
        self._scores[trial.number] = {}
        return Work(trial.number, schedule, rate)

    def record(self, number: int, key: str, outcome: Mapping[str, Any]) -> None:
        """Write down a finished replicate."""
        self._set(number, REPLICATE + key, dict(outcome))
        work = self._running[number]
        self._running[number] = replace(work, done=(*work.done, key))
        self._scores[number][key] = self._objective.score(outcome)

    def race(self, number: int) -> bool:
        """Whether the front has beaten a trial under way; it is then marked, to be finished.

        Candidates are never raced: they are there to be compared with.
        """
        racing = self._experiment.racing
        if not racing.enabled or "candidate" in self._trial(number).user_attrs:
            return False
        raced = race(
            self._scores[number],
            self._complete,
            self._keys,
            racing.confidence,
            racing.min_replicates,
        )
        if raced is None:
            return False
        self._set(number, RACED, {**asdict(raced), "estimate": list(raced.estimate)})
        return True

    def finish(self, number: int, failure: str | None) -> None:
        """The trial ended: COMPLETE with the means over its replicates, or FAIL with the reason.

        A raced trial is COMPLETE with its estimate, so that the sampler learns from it.
        """
        if failure is None and RACED in self._trial(number).user_attrs:
            self._tell_raced(number)
            return
        if failure is None and not self._finish_if_all_done(number):
            failure = "the trial ended without all of its replicates"
        if failure is not None:
            self._fail(number, failure)
        self._running.pop(number, None)

    def died(self, number: int, reason: str = "") -> None:
        """The worker died: run the rest again, unless that has happened too often."""
        if self._finish_if_all_done(number):
            return
        work = self._running.pop(number)
        deaths = int(self._trial(number).user_attrs.get("deaths", 0)) + 1
        self._set(number, "death", reason)
        self._set(number, "deaths", deaths)
        if deaths >= MAX_DEATHS:
            self._give_up(number, deaths, reason)
        else:
            self._queue.append(work)

    def _give_up(self, number: int, deaths: int, reason: str) -> None:
        last = f", last: {reason}" if reason else ""
        self._fail(number, f"its worker died {deaths} times{last}")
        self._running.pop(number, None)

    def _finish_if_all_done(self, number: int) -> bool:
        scores = self._scores[number]
        if set(self._keys) - set(scores):
            return False
        self._tell(number, mean_score(scores[key] for key in self._keys))
        self._complete.append(scores)
        return True

    def _tell_raced(self, number: int) -> None:
        self._tell(number, Score(*self._trial(number).user_attrs[RACED]["estimate"]))

    def _tell(self, number: int, score: Score) -> None:
        outcomes = replicates(self._trial(number))
        self._set(number, "wall_s", sum(outcome["wall_s"] for outcome in outcomes.values()))
        self._study.tell(number, list(score))
        self._running.pop(number, None)
        self._scores.pop(number, None)

    def _score_all(self, trial: FrozenTrial) -> dict[str, Score]:
        return {key: self._objective.score(outcome) for key, outcome in replicates(trial).items()}

    def _fail(self, number: int, reason: str) -> None:
        self._scores.pop(number, None)
        self._set(number, "failure", reason)
        self._study.tell(number, state=TrialState.FAIL)

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _set(self, number: int, key: str, value: Any) -> None:
        study = self._study
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        study._storage.set_trial_user_attr(trial_id, key, value)


class SearchedTrials(BaseSampler):
    """A sampler that does not see candidates: they lie outside the space, or off its measure.

    Optuna's samplers rank all trials before they look at parameters; a front held by candidates,
    which have none, would leave them nothing to learn from.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        """Wrap `sampler`."""
        self._sampler = sampler
        self._view: Study | None = None

    def _searched(self, study: Study) -> Study:
        if self._view is None:
            self._view = _StudyWithoutCandidates(study.study_name, study._storage)
            # Shared, so that the cache is dropped when the study asks for the next trial.
            self._view._thread_local = study._thread_local
        return self._view

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Any:
        """See `BaseSampler`."""
        return self._sampler.infer_relative_search_space(self._searched(study), trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> Any:
        """See `BaseSampler`."""
        return self._sampler.sample_relative(self._searched(study), trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, dist: Any) -> Any:
        """See `BaseSampler`."""
        return self._sampler.sample_independent(self._searched(study), trial, name, dist)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """See `BaseSampler`."""
        self._sampler.before_trial(self._searched(study), trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """See `BaseSampler`."""
        if "candidate" not in trial.user_attrs:
            self._sampler.after_trial(self._searched(study), trial, state, values)

    def reseed_rng(self) -> None:
        """See `BaseSampler`."""
        self._sampler.reseed_rng()


class _StudyWithoutCandidates(Study):
    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        # Optuna 5.0: all samplers read trials through this method.
        trials = super()._get_trials(*args, **kwargs)
        return [trial for trial in trials if "candidate" not in trial.user_attrs]
