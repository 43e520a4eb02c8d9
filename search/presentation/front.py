"""The front and its candidates, each beside what dominates it."""

from __future__ import annotations

from collections.abc import Iterable

from search.analysis.pareto import dominates, strictly_dominates
from search.store.records import Trial


def relation(trial: Trial, trials: Iterable[Trial], members: list[Trial]) -> str:
    """Dominance in words: which candidates a trial beats, or which front members beat it."""
    others = [other for other in trials if other.values is not None and other is not trial]
    if trial in members:
        beaten = [
            other for other in others if other.candidate and dominates(trial.score, other.score)
        ]
        strictly = [o.name for o in beaten if strictly_dominates(trial.score, o.score)]
        partly = [o.name for o in beaten if not strictly_dominates(trial.score, o.score)]
        words = [f"beats {_names(strictly)} in both"] if strictly else []
        words += [f"beats {_names(partly)} in one, equal in the other"] if partly else []
        return ", ".join(words)
    above = [m.name for m in members if dominates(m.score, trial.score)]
    strictly_above = all(
        strictly_dominates(m.score, trial.score) for m in members if m.name in above
    )
    return f"beaten {'in both ' if strictly_above else ''}by {_names(above)}"


def _names(names: list[str]) -> str:
    return ", ".join(names)
