"""Which parameters decide an objective: Optuna's fANOVA over the trials that were sampled.

A forest is fitted to an objective over the parameters, and a parameter's importance is its share of
the variance that single parameters explain, over the whole range that was searched (Hutter et al.
2014). It says that a parameter matters, not in which direction.

fANOVA needs trials that have the same parameters. Optuna would keep those that every trial has, and
a single trial of two stages, which has no split to choose, would cost all of them the split. So a
parameter counts here where most trials have it, and the trials without it are left out; parameters
of a branch, such as the exponent of the power split, are named as left out. Raced trials count with
the score that they were predicted to reach: without them the bad schedules would be missing.
Candidates have no parameters and do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.store.attributes import is_candidate, without_attributes

if TYPE_CHECKING:
    from search.store.run import RunRecord

MIN_TRIALS = 8
"""Sampled trials below which a forest says nothing."""
_MIN_SHARE = 0.75
"""Of the sampled trials, for a parameter to count."""
_MAX_DEPTH = 6
"""Of the trees: deeper ones fit noise, and take minutes for thousands of trials."""


@dataclass(frozen=True, slots=True)
class Importance:
    """Importance of each parameter for each objective, highest first; they add up to 1.

    values: by the objective's name; an objective in which all trials are equal has no parameters.
    trials: how many trials it rests on.
    left_out: parameters that too few trials have, with how many do; `weights` are the free split's.
    reason: why there is none, or "".
    """

    values: dict[str, dict[str, float]]
    trials: int
    left_out: dict[str, int]
    reason: str = ""

    @property
    def note(self) -> str:
        """What it rests on and what it leaves out, or why there is none; in words."""
        if self.reason:
            return self.reason
        words = f"fANOVA over {self.trials} sampled trials"
        if self.left_out:
            words += f"; not in enough trials to count: {', '.join(self.left_out)}"
        return words


def importances(run: RunRecord) -> dict[str, dict[str, float]]:
    """Importance of each parameter for max_psnr_gt_db and for steps, highest first.

    Empty where too few trials have ended: `importance_of` says why, and what is left out.
    """
    return importance_of(run).values


def importance_of(run: RunRecord) -> Importance:
    """Importances with what they rest on."""
    sampled = _sampled(run)
    if len(sampled) < MIN_TRIALS:
        reason = f"importance needs {MIN_TRIALS} complete sampled trials, {run.name} has "
        return Importance({}, len(sampled), {}, reason + str(len(sampled)))
    has = Counter(name for trial in sampled for name in trial.distributions)
    enough = max(MIN_TRIALS, _MIN_SHARE * len(sampled))
    shared = sorted(name for name, count in has.items() if count >= enough)
    left_out: dict[str, int] = {}
    for name, count in sorted(has.items()):
        if name not in shared:
            name = "weights" if name.startswith("weight_") else name
            left_out[name] = max(count, left_out.get(name, 0))
    if left_out and len(shared) < 2:  # The importance of a single parameter is always 1.
        reason = (
            f"importance needs {MIN_TRIALS} trials that have the same parameters, {run.name} has "
        )
        most = max(count for name, count in has.items() if name not in shared)
        return Importance({}, len(sampled), left_out, reason + str(most))
    usable = [trial for trial in sampled if all(name in trial.params for name in shared)]
    keys = ("max_psnr_gt_db", run.objective.steps_key)
    values = {key: _fanova(usable, shared, i) for i, key in enumerate(keys)}
    return Importance(values, len(usable), left_out)


def _sampled(run: RunRecord) -> list[FrozenTrial]:
    """Trials that a sampler made and that have a score, measured or predicted."""
    trials = run.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [t for t in trials if not is_candidate(t) and t.distributions]


def _fanova(trials: Sequence[FrozenTrial], names: list[str], objective: int) -> dict[str, float]:
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if len({trial.values[objective] for trial in trials}) < 2:
        return {}
    memory = optuna.create_study(directions=["maximize", "minimize"])
    for trial in trials:
        memory.add_trial(without_attributes(trial))
    found = get_param_importances(
        memory,
        evaluator=FanovaImportanceEvaluator(max_depth=_MAX_DEPTH, seed=0),
        params=names,
        target=lambda trial: trial.values[objective],
    )
    return {name: float(share) for name, share in found.items()}
