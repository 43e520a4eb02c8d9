"""A candidate: a schedule that is always evaluated beside what a search samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dipstage.schedules import Schedule

Role: TypeAlias = Literal["candidate", "plain", "found", "control"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule that is always evaluated, with the learning rate it was made for, if any.

    warmup: iterations over which the learning rate rises to it, where it is not the trainer's.
    role, trial: in a verification, what the schedule is there for, and the trial it comes from.
    """

    name: str
    schedule: Schedule
    learning_rate: float | None = None
    warmup: int | None = None
    role: Role = "candidate"
    trial: int | None = None

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Candidate:
        """Return the candidate that a study holds as plain data."""
        others = {key: value for key, value in content.items() if key != "stages"}
        return cls(schedule=Schedule.from_pairs(content["stages"], any_order=True), **others)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON; the inverse of `from_plain`."""
        return {
            "name": self.name,
            "stages": self.schedule.pairs,
            "learning_rate": self.learning_rate,
            "warmup": self.warmup,
            "role": self.role,
            "trial": self.trial,
        }
