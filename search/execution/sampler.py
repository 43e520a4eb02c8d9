"""The sampler and its copy, in memory, of the trials that it learns from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.store.attributes import is_candidate, without_attributes
from search.store.optuna_internals import content_of


def startup(trials: int) -> int:
    """Return Optuna's ten random trials, or a third of a search that is shorter than thirty."""
    return max(4, min(10, trials // 3))


def _qmc(seed: int, trials: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Parameters that only some schedules have are drawn at random, which is no fault.
        return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)


SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": lambda seed, trials: TPESampler(seed=seed, n_startup_trials=startup(trials)),
    "gp": lambda seed, trials: GPSampler(
        seed=seed, n_startup_trials=startup(trials), warn_independent_sampling=False
    ),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed),
    "qmc": _qmc,
    "random": lambda seed, trials: RandomSampler(seed=seed),
}
"""Functions that make a sampler from a seed and the number of requested trials, by name."""


class SearchedTrials:
    """A sampler and the sampled trials that it learns from, without the study's database.

    A sampler reads all trials for every parameter, which costs no query here. A trial is written to
    the database only when it is complete. Candidates are left out, because they are not draws from
    the search space. They have no parameters, but Optuna's samplers rank all trials first: if
    candidates held the front, the samplers would have nothing to learn from.
    """

    def __init__(self, sampler: BaseSampler, study: Study, trials: Iterable[FrozenTrial]) -> None:
        """Begin with the sampled ones among the `trials` of a study."""
        self._memory = optuna.create_study(directions=study.directions, sampler=sampler)
        self._here: dict[int, int] = {}
        for trial in trials:
            if not is_candidate(trial):
                self._here[trial.number] = len(self._here)
                self._memory.add_trial(without_attributes(trial))

    def ask(self) -> optuna.Trial:
        """Return a new trial to suggest parameters with, which is not yet in the study."""
        return self._memory.ask()

    def content(self, trial: optuna.Trial) -> FrozenTrial:
        """Return the parameters of a trial from `ask`, and the sampler's own attributes."""
        return content_of(trial, self._memory)

    def enter(self, trial: optuna.Trial, number: int) -> None:
        """Record the number that a trial from `ask` has in the study."""
        self._here[number] = trial.number

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """Report how a trial of the study ended. Candidates are ignored."""
        if number in self._here:
            self._memory.tell(self._here[number], values, state)
