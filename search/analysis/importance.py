"""Importance of parameters for each objective: Optuna's fANOVA over the sampled trials.

A random forest predicts an objective from the parameters. The importance of a parameter is its
share of the variance that single parameters explain over the whole search space (Hutter et al.
2014). It says how much a parameter matters, not in which direction.

fANOVA needs trials that have the same parameters. Optuna keeps the parameters that every trial has.
A single trial of two stages, which has no split to choose, would then remove the split for all. So
a parameter is kept here if most trials have it, and the trials without it are left out. Parameters
of a rare branch, such as the exponent of the power split, are reported as left out. Raced trials
(those stopped early) enter with their predicted score: without them the bad schedules would be
missing. Candidates have no parameters and are left out.
"""

from __future__ import annotations

import math
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
"""Minimum number of sampled trials; with fewer, the forest says nothing."""
_MIN_SHARE = 0.75
"""Minimum fraction of sampled trials that must contain a parameter."""
_MAX_DEPTH = 6
"""Maximum depth of the trees: deeper ones fit noise and take minutes for thousands of trials."""


@dataclass(frozen=True, slots=True)
class Importance:
    """Importance of each parameter for each objective, highest first; they add up to 1.

    values: by the objective's name; empty for an objective in which all trials are equal.
    trials: number of trials that were used.
    left_out: parameters that too few trials have, with the number of trials that do; `weights`
    stands for all weights of the free split.
    reason: why importance could not be computed, or "".
    """

    values: dict[str, dict[str, float]]
    trials: int
    left_out: dict[str, int]
    reason: str = ""

    @property
    def note(self) -> str:
        """Sentence on the trials used and the parameters left out, or on why there is none."""
        if self.reason:
            return self.reason
        words = f"fANOVA over {self.trials} sampled trials"
        if self.left_out:
            words += f"; in too few trials to be ranked: {', '.join(self.left_out)}"
        return words


def importance_of(run: RunRecord) -> Importance:
    """Return the importances with the number of trials used and the parameters left out."""
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
        most = max(count for name, count in has.items() if name not in shared)
        reason = (
            f"importance needs two parameters that at least {math.ceil(enough)} of the "
            f"{len(sampled)} sampled trials have: {run.name} has "
            f"{f'only {shared[0]}' if shared else 'none'}, and the next is in {most} trials"
        )
        return Importance({}, len(sampled), left_out, reason)
    usable = [trial for trial in sampled if all(name in trial.params for name in shared)]
    objective = run.objective
    keys = (objective.quality.key, objective.cost.key)[: 1 if objective.single else 2]
    values = {key: _fanova(usable, shared, i) for i, key in enumerate(keys)}
    return Importance(values, len(usable), left_out)


def _sampled(run: RunRecord) -> list[FrozenTrial]:
    """Return the sampled trials that have a finite score, measured or predicted."""
    trials = run.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sampled = [t for t in trials if not is_candidate(t) and t.distributions]
    return [t for t in sampled if all(map(math.isfinite, t.values))]


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
