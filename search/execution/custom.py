"""Installed objectives: functions of the entry-point group `dipsearch.objectives`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Literal, Protocol

from dipstage.errors import InputError
from search.experiment.objectives import COSTS, METRICS, Objective
from search.store.replicate import Replicate

GROUP = "dipsearch.objectives"


class CustomObjective(Protocol):
    """A number that a package computes from the record of a replicate."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Direction in which scores improve: `metric` is maximised, `against` is minimised."""
        ...

    def __call__(self, replicate: Replicate) -> float:
        """Return the objective of a replicate.

        Args:
            replicate: Scores of both outputs, iterations and times.
        """
        ...


def installed(objective: Objective) -> dict[str, CustomObjective]:
    """Return the installed objectives that an objective names.

    Raises:
        InputError: One is not installed, cannot be imported, or has another direction.
    """
    return {name: _load(name, wanted) for name, wanted in objective.custom.items()}


def _load(name: str, wanted: Literal["maximize", "minimize"]) -> CustomObjective:
    key, known = ("metric", METRICS) if wanted == "maximize" else ("against", COSTS)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise InputError(
            f"objective.{key} must be {', '.join(known)} or an installed objective "
            f"({', '.join(sorted(found)) or 'there are none'}), got {name!r}"
        )
    try:
        made: CustomObjective = found[name].load()
    except Exception as error:
        raise InputError(
            f"objective.{key}: {name} cannot be imported: {type(error).__name__}: {error}"
        ) from None
    direction = getattr(made, "direction", None)
    if direction != wanted or not callable(made):
        raise InputError(
            f"objective.{key}: {name} must be callable and have the direction {wanted}, got "
            f"{direction!r}: change its sign, or name it in the other place"
        )
    return made
