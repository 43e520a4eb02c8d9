"""What the sampler sees of a study: the trials that were searched, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.store.attributes import is_candidate, without_attributes
from search.store.optuna_internals import content_of

SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # Optuna's ten random trials, or a third of a search that is shorter than thirty.
    "tpe": lambda seed, trials: TPESampler(
        seed=seed, n_startup_trials=max(4, min(10, trials // 3))
    ),
    "random": lambda seed, trials: RandomSampler(seed=seed),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed),
}
"""By name, made from a seed and the number of trials that are wanted."""


class SearchedTrials:
    """A sampler and the trials that it learns from, without the study's database.

    A sampler reads all trials for every parameter; here that costs no query, and a trial is in
    the database only once it is whole. Candidates are left out: they lie outside the space, or
    off its measure. Optuna's samplers rank all trials before they look at parameters; a front
    held by candidates, which have none, would leave them nothing to learn from.
    """

    def __init__(self, sampler: BaseSampler, study: Study, trials: Iterable[FrozenTrial]) -> None:
        """Begin with the `trials` of a study, as far as they were searched."""
        self._memory = optuna.create_study(directions=study.directions, sampler=sampler)
        self._here: dict[int, int] = {}
        for trial in trials:
            if not is_candidate(trial):
                self._here[trial.number] = len(self._here)
                self._memory.add_trial(without_attributes(trial))

    def ask(self) -> optuna.Trial:
        """A trial to suggest parameters with; the study knows nothing of it yet."""
        return self._memory.ask()

    def content(self, trial: optuna.Trial) -> FrozenTrial:
        """What was made of a trial that was asked for: parameters, and the sampler's own notes."""
        return content_of(trial, self._memory)

    def enter(self, trial: optuna.Trial, number: int) -> None:
        """The study has a trial that was asked for under this number."""
        self._here[number] = trial.number

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """How the trial of the study with this number ended. Candidates are passed over."""
        if number in self._here:
            self._memory.tell(self._here[number], values, state)
