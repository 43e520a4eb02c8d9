"""The front and the candidates behind it, each beside what it dominates or is dominated by."""

from __future__ import annotations

from collections.abc import Iterable

from search.analysis.pareto import dominates, strictly_dominates
from search.store.records import Trial


def relation(trial: Trial, trials: Iterable[Trial], members: list[Trial]) -> str:
    """Say which candidates a member of the front dominates, or which members dominate a trial."""
    others = [other for other in trials if other.values is not None and other is not trial]
    if trial in members:
        below = [o for o in others if o.candidate and dominates(trial.score, o.score)]
        strictly = [o.name for o in below if strictly_dominates(trial.score, o.score)]
        partly = [o.name for o in below if not strictly_dominates(trial.score, o.score)]
        words = [f"dominates {', '.join(strictly)} in both"] if strictly else []
        words += [f"dominates {', '.join(partly)} in one, equal in the other"] if partly else []
        return ", ".join(words)
    above = [m for m in members if dominates(m.score, trial.score)]
    in_both = "in both " * all(strictly_dominates(m.score, trial.score) for m in above)
    return f"dominated {in_both}by {', '.join(m.name for m in above)}"
