"""What the sampler sees of a study: the trials that were searched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # Optuna's ten random trials, or a third of a search that is shorter than thirty.
    "tpe": lambda seed, trials: TPESampler(
        seed=seed, n_startup_trials=max(4, min(10, trials // 3))
    ),
    "random": lambda seed, trials: RandomSampler(seed=seed),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed),
}
"""By name, made from a seed and the number of trials that are wanted."""


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
