"""A candidate: a schedule that is always evaluated beside what a search samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from dipstage.errors import InputError
from dipstage.schedules.presets import is_preset, parse_preset, shorter
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule

Role: TypeAlias = Literal["candidate", "plain", "found", "control"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule that is always evaluated.

    Args:
        name: Its name in tables and files.
        schedule: The schedule. What its recipe leaves open is up to the trainer's settings.
        role: In a verification, what the schedule is there for.
        trial: In a verification, the trial of the search that it comes from.
        origin: Where a schedule file comes from and how it was rescaled, in words.
    """

    name: str
    schedule: Schedule
    role: Role = "candidate"
    trial: int | None = None
    origin: str | None = None

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Candidate:
        """Return the candidate that a study holds as plain data.

        Version 0.1 wrote the learning rate and the warm-up beside the stages, and no recipe.
        """
        others = dict(content)
        recipe = Recipe.from_plain(others.pop("recipe", None))
        for name in ("learning_rate", "warmup"):
            value = others.pop(name, None)
            if value is not None:
                recipe = replace(recipe, **{name: value})
        return cls(
            schedule=Schedule.from_pairs(others.pop("stages"), recipe, any_order=True), **others
        )

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON; the inverse of `from_plain`."""
        return {
            "name": self.name,
            "stages": self.schedule.pairs,
            "recipe": self.schedule.recipe.to_plain(),
            "role": self.role,
            "trial": self.trial,
            "origin": self.origin,
        }


def preset_schedule(entry: str, iterations: int) -> Schedule:
    """Return the schedule of a preset among the candidates.

    Raises:
        InputError: The preset is none, or does not fit into the budget.
    """
    try:
        preset = parse_preset(entry)
    except InputError as error:
        raise InputError(f"candidates: {error}") from None  # It names the preset.
    try:
        return preset.schedule(iterations)
    except InputError as error:
        what = str(error).partition(":")[0]
        instead = f", write {short} instead" if (short := shorter(entry, iterations)) else ""
        raise InputError(
            f"candidates: {entry}: {what}: raise trainer.iterations{instead}, or leave it out"
        ) from None


def refused_presets(entries: list[str], iterations: int) -> list[str]:
    """Return what is wrong with the presets among the candidates, a sentence for each."""
    found = []
    for entry in filter(is_preset, entries):
        try:
            preset_schedule(entry, iterations)
        except InputError as error:
            found.append(str(error))
    return found
