"""The sampler and its copy, in memory, of the trials that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.store.attributes import is_candidate, without_attributes
from search.store.optuna_internals import content_of, set_constraints

SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # Optuna's ten random trials, or a third of a search that is shorter than thirty.
    "tpe": lambda seed, trials: TPESampler(
        seed=seed, n_startup_trials=max(4, min(10, trials // 3))
    ),
    "random": lambda seed, trials: RandomSampler(seed=seed),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed),
}
"""Functions that make a sampler from a seed and the number of requested trials, by name."""


class SearchedTrials:
    """A sampler and the sampled trials that it learns from, without the study's database.

    A sampler reads all trials for every parameter, which costs no query here. A trial is written to
    the database only when it is complete. Candidates are left out, because they are not draws from
    the search space. They have no parameters, but Optuna's samplers rank all trials first: if
    candidates held the front, the samplers would have nothing to learn from.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        study: Study,
        trials: Iterable[FrozenTrial],
        *,
        objectives: int = 2,
    ) -> None:
        """Begin with the sampled ones among the `trials` of a study.

        objectives: Number of the study's objectives that are optimised: 1 for the first alone.
        """
        self._objectives = objectives
        directions = study.directions[:objectives]
        self._memory = optuna.create_study(directions=directions, sampler=sampler)
        self._here: dict[int, int] = {}
        for trial in trials:
            if not is_candidate(trial):
                self._here[trial.number] = len(self._here)
                bare = without_attributes(trial)
                if bare.state is TrialState.COMPLETE:
                    bare.values = bare.values[:objectives]
                self._memory.add_trial(bare)

    def ask(self) -> optuna.Trial:
        """Return a new trial to suggest parameters with, which is not yet in the study."""
        return self._memory.ask()

    def content(self, trial: optuna.Trial) -> FrozenTrial:
        """Return the parameters of a trial from `ask`, and the sampler's own attributes."""
        return content_of(trial, self._memory)

    def enter(self, trial: optuna.Trial, number: int) -> None:
        """Record the number that a trial from `ask` has in the study."""
        self._here[number] = trial.number

    def tell(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        violations: Mapping[str, float] | None = None,
    ) -> None:
        """Report how a trial of the study ended. Candidates are ignored."""
        if number in self._here:
            set_constraints(self._memory, self._here[number], violations or {})
            self._memory.tell(self._here[number], values and values[: self._objectives], state)
