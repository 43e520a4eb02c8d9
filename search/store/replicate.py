"""A replicate, one training run: the key that names it, and what the study keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dipstage.documents.records import to_plain
from dipstage.outcome import Scores, Stop
from dipstage.stopping import OUTPUTS, Output
from search.experiment.objectives import Objective, Score


@dataclass(frozen=True, slots=True)
class ReplicateKey:
    """The picture (by its label) and seed of a replicate; as text `PICTURE-seedS`."""

    picture: str
    seed: int

    def __str__(self) -> str:
        return f"{self.picture}-seed{self.seed}"

    @classmethod
    def parse(cls, text: str) -> ReplicateKey:
        """Return the key that a text names; the inverse of `str`."""
        picture, _, seed = text.rpartition("-seed")
        return cls(picture, int(seed))


@dataclass(frozen=True, slots=True)
class ReplicateScores(Scores):
    """Scores of one output; `steps_to_tolerance` where the objective has a tolerance."""

    steps_to_tolerance: int | None = None

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> ReplicateScores:
        """Return the scores that the study holds as plain data."""
        return cls(**_known(content, _SCORES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """What the study keeps of a finished replicate, in the order of its keys on disk.

    precision, compiled: None in studies of versions that did not record them.
    """

    stop: Stop
    iterations: int
    resets: int
    wall_s: float
    iterations_per_s: float
    device: str
    precision: str | None = None
    compiled: bool | None = None
    raw: ReplicateScores
    smoothed: ReplicateScores
    host: str
    versions: Mapping[str, str]

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Replicate:
        """Return the replicate that the study holds as plain data, whatever version wrote it."""
        typed: dict[str, Any] = {o: ReplicateScores.from_plain(content[o]) for o in OUTPUTS}
        typed["stop"] = Stop(content["stop"])
        return cls(**{**_known(content, _REPLICATE), **typed})

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON, without what is None; the inverse of `from_plain`."""
        plain: dict[str, Any] = to_plain(self, {})
        return plain | {"stop": self.stop.value}

    def scores(self, output: Output) -> ReplicateScores:
        """Return the scores of one output."""
        return self.raw if output == "raw" else self.smoothed

    def score(self, objective: Objective) -> Score:
        """Return both objectives."""
        scores = self.scores(objective.output)
        steps = getattr(scores, objective.steps_key)
        return Score(float(scores.max_psnr_gt_db), float(steps))


_SCORES = frozenset(field.name for field in fields(ReplicateScores))
_REPLICATE = frozenset(field.name for field in fields(Replicate))


def _known(content: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    # A study has thousands of replicates, and hardly ever one of a newer version.
    if content.keys() <= names:
        return content
    return {name: value for name, value in content.items() if name in names}
