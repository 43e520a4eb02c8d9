"""The sampler and its copy, in memory, of the trials that it learns from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

from search.experiment.objectives import Score
from search.experiment.space import suggest
from search.store.attributes import Learned, is_candidate, without_attributes
from search.store.optuna_internals import content_of, set_constraints

if TYPE_CHECKING:
    from search.experiment.model import Experiment


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
    """A sampler and the trials that it learns from, without the study's database.

    A sampler reads all trials for every parameter, which costs no query here. A trial is written to
    the database only when it is complete. Candidates are left out, because they are not draws from
    the search space. They have no parameters, but Optuna's samplers rank all trials first: if
    candidates held the front, the samplers would have nothing to learn from.

    If there are trials of other runs, all scores are differences to plain DIP of their run. A trial
    that ends before plain DIP of this run is under way for the sampler until then.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        study: Study,
        trials: Iterable[FrozenTrial],
        learned: Sequence[FrozenTrial] = (),
        plain: Score | None = None,
        *,
        objectives: int = 2,
    ) -> None:
        """Begin with the sampled ones among the `trials` of a study.

        Args:
            sampler: The sampler.
            study: Study whose trials are sampled.
            trials: Its trials so far.
            learned: Trials of other runs, with differences to plain DIP as their values.
            plain: Score of this study's plain DIP; None if it has not ended.
            objectives: Number of the study's objectives that are optimised: 1 for the first alone.
        """
        self._objectives = objectives
        directions = study.directions[:objectives]
        self._memory = optuna.create_study(directions=directions, sampler=sampler)
        self._here: dict[int, int] = {}
        self._plain, self._is_relative = plain, bool(learned)
        self._waiting: dict[int, Sequence[float]] = {}
        self._memory.add_trials(learned)
        for trial in trials:
            if not is_candidate(trial):
                self._here[trial.number] = len(learned) + len(self._here)
                self._add(trial)

    def _add(self, trial: FrozenTrial) -> None:
        bare = without_attributes(trial)
        if self._is_relative and trial.state is TrialState.COMPLETE:
            # Begun, then told as `tell` would have been: its end may have to wait.
            bare.state, bare.values, bare.datetime_complete = TrialState.RUNNING, None, None
            self._memory.add_trial(bare)
            self.tell(trial.number, trial.state, trial.values)
        else:
            if bare.state is TrialState.COMPLETE:
                bare.values = bare.values[: self._objectives]
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
        if number not in self._here:
            return
        set_constraints(self._memory, self._here[number], violations or {})
        if self._is_relative and values is not None:
            if self._plain is None:
                self._waiting[number] = values
                return
            values = [value - of_plain for value, of_plain in zip(values, self._plain, strict=True)]
        self._memory.tell(self._here[number], values and values[: self._objectives], state)

    def plain_ended(self, plain: Score) -> None:
        """Report the score of this study's plain DIP."""
        self._plain = plain
        for number in list(self._waiting):
            self.tell(number, TrialState.COMPLETE, self._waiting.pop(number))


def placed(params: Mapping[str, Any], experiment: Experiment) -> FrozenTrial | None:
    """Return a trial at a point of the search space; None if the point is not in the space."""
    assert experiment.space is not None
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(dict(params))
    trial = study.ask()
    with warnings.catch_warnings():
        # Optuna takes a value outside a range with a warning, and refuses an unknown choice.
        warnings.simplefilter("error")
        try:
            suggest(trial, experiment.space, experiment.task.noise_255)
        except (UserWarning, ValueError):
            return None
    return content_of(trial, study) if trial.params == dict(params) else None


def learned_trials(learned: Iterable[Learned], experiment: Experiment) -> list[FrozenTrial]:
    """Return the trials of other runs for `SearchedTrials`.

    All have the constraints of the experiment, because GPSampler refuses trials of which only some
    have them; those that no violation was recorded for meet them.
    """
    objectives = 1 if experiment.objective.single else 2
    met = dict.fromkeys(experiment.objective.limits, 0.0)
    return [
        optuna.create_trial(
            params=at.params,
            distributions=at.distributions,
            values=list(gains)[:objectives],
            constraints={**met, **(violations[0] if violations else {})},
        )
        for each in learned
        for params, gains, *violations in each.points
        if (at := placed(params, experiment)) is not None
    ]
