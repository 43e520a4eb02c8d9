"""Records of replicates, each of which is one training run, and the keys that name them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dipstage.documents.records import check_types, to_plain
from dipstage.schedules.stopping import OUTPUTS, Output, check_output
from dipstage.terminal.numbers import at
from dipstage.training.outcome import Scores, Stop
from search.experiment.objectives import Objective, Score


@dataclass(frozen=True, slots=True)
class ReplicateKey:
    """Label of the picture and seed of a replicate, written as `PICTURE-seedS`."""

    picture: str
    seed: int

    def __str__(self) -> str:
        return f"{self.picture}-seed{self.seed}"

    @classmethod
    def parse(cls, text: str) -> ReplicateKey:
        """Return the key for a text. This is the inverse of `str`."""
        picture, _, seed = text.rpartition("-seed")
        return cls(picture, int(seed))


@dataclass(frozen=True, slots=True)
class ReplicateScores(Scores):
    """Scores of one output.

    Args:
        steps_to_tolerance: Steps to a tolerance below the maximum; None without a tolerance.
        steps_to_target: Steps to the objective's target, or the budget if it was not reached; None
            without a target.
        ssim_censored: What `censored` is for PSNR_GT, for the maximum of SSIM_GT; None unless that
            is the objective, and in studies of versions that did not record it.
    """

    steps_to_tolerance: int | None = None
    steps_to_target: int | None = None
    ssim_censored: bool | None = None

    @property
    def objective_censored(self) -> bool:
        """True if the maximum that is the objective may lie beyond the end of training."""
        return bool(self.censored if self.ssim_censored is None else self.ssim_censored)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> ReplicateScores:
        """Create scores from the study's plain data."""
        return cls(**_checked(cls, _known(content, _SCORES)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection of the objective's stopping rule: see `dipstage.training.outcome.Selected`."""

    iteration: int
    iteration_smoothed: int
    psnr_gt_raw_db: float
    psnr_gt_smoothed_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicate:
    """A finished replicate as the study holds it, in the order of its keys on disk.

    Args:
        wall_s: Training time in seconds; of replicates that were trained side by side, each has an
            equal share of it.
        iterations_per_s: Speed of the training itself, also while others were trained beside it.
        precision: Precision of training; None in studies of versions that did not record it.
        observation_psnr_gt_db: PSNR of the observation itself, up-sampled where it is smaller than
            the picture; None if it is infinite, and in studies of versions that did not record it.
        selected: What the stopping rule selected; None if the objective is the oracle's.
        gpus: Share of a GPU that the training had; None without one.
        objectives: Values of installed objectives by name; None without any.
    """

    stop: Stop
    iterations: int
    resets: int
    wall_s: float
    iterations_per_s: float
    device: str
    precision: str | None = None
    observation_psnr_gt_db: float | None = None
    raw: ReplicateScores
    smoothed: ReplicateScores
    host: str
    versions: Mapping[str, str]
    selected: Selection | None = None
    gpus: float | None = None
    objectives: Mapping[str, float] | None = None

    def __repr__(self) -> str:
        """Return one line with the maximum of the raw output."""
        raw = self.raw
        best = at(raw.max_psnr_gt_db, raw.steps_to_max, censored=bool(raw.censored))
        return f"<Replicate: {best}, {self.stop.value} after {self.iterations} iterations>"

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Replicate:
        """Create a replicate from the study's plain data, which any version may have written."""
        typed: dict[str, Any] = {o: ReplicateScores.from_plain(content[o]) for o in OUTPUTS}
        typed["stop"] = Stop(content["stop"])
        if content.get("selected") is not None:
            typed["selected"] = Selection(**_checked(Selection, content["selected"]))
        known = _checked(cls, _known(content, _REPLICATE))
        kinds: dict[str, tuple[type, ...]] = {"versions": (str,), "objectives": (int, float)}
        for name, allowed in kinds.items():
            for key, value in (known.get(name) or {}).items():
                if not isinstance(value, allowed):
                    raise TypeError(f"{key} of {name} is {value!r:.80}")
        return cls(**{**known, **typed})

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON without None values. This is the inverse of `from_plain`."""
        plain: dict[str, Any] = to_plain(self, {})
        return plain | {"stop": self.stop.value}

    def scores(self, output: Output) -> ReplicateScores:
        """Return the scores of one output; InputError if it is unknown."""
        check_output(output)
        return self.raw if output == "raw" else self.smoothed

    def censored(self, output: Output) -> bool:
        """Return whether training ended before the maximum, or the stopping rule, was certain."""
        if self.selected is not None:
            return self.stop is Stop.BUDGET
        return self.scores(output).objective_censored

    def measure(self, output: Output, key: str) -> float:
        """Return a score of one output, a cost or an installed objective, by its key."""
        if self.objectives and key in self.objectives:
            return self.objectives[key]
        if key in _SCORES:
            return float(getattr(self.scores(output), key))
        if key == "steps_to_stop":
            return float(self.iterations)
        if key == "stopped_psnr_gt_db":
            assert self.selected is not None
            return float(getattr(self.selected, f"psnr_gt_{output}_db"))
        if key.startswith("gpu_"):
            return self.measure(output, key.removeprefix("gpu_")) * (self.gpus or 0.0)
        if key.startswith("seconds_"):
            steps = self.measure(output, key.replace("seconds", "steps"))
            return steps / self.iterations_per_s
        raise ValueError(f"replicates have no measure {key!r}")

    def score(self, objective: Objective) -> Score:
        """Return both objectives."""
        output = objective.output
        return Score(
            self.measure(output, objective.quality.key), self.measure(output, objective.cost.key)
        )

    def violations(self, objective: Objective) -> dict[str, float]:
        """Return by how much each constraint is violated; not above 0 where it is met."""
        if not objective.limits:
            return {}
        psnr = self.measure(objective.output, objective.psnr.key)
        steps = self.measure(objective.output, objective.steps.key)
        excess = {"max_steps": steps, "min_psnr_gt_db": -psnr}
        return {
            name: excess[name] - (limit if name == "max_steps" else -limit)
            for name, limit in objective.limits.items()
        }


def versions_of(replicates: Iterable[Replicate]) -> dict[str, str]:
    """Return the versions of the workers' packages; several of one are joined by commas."""
    seen: dict[str, dict[str, None]] = {}
    for replicate in replicates:
        for package, version in replicate.versions.items():
            seen.setdefault(package, {})[version] = None
    return {package: ", ".join(found) for package, found in seen.items()}


_SCORES = frozenset(field.name for field in fields(ReplicateScores))
_REPLICATE = frozenset(field.name for field in fields(Replicate))


MAX_DB, MAX_COST = 1000.0, 1e15
"""Limits of a finite PSNR in dB, either way, and of steps and seconds."""
MAX_INSTALLED = 1e100
"""Limit of a finite installed objective, either way: squares of larger ones would overflow."""


def _checked(kind: type, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return content; TypeError or ValueError for what no training gives."""
    check_types(kind, content)
    for name, value in content.items():
        if type(value) not in (int, float):
            continue
        if "_db" in name:  # PSNR of equal pictures is infinite.
            is_right = abs(value) <= MAX_DB or math.isinf(value)
        elif "ssim_gt" in name and "steps" not in name:
            is_right = not abs(value) > 2  # It may be NaN.
        else:
            is_right = 0 <= value <= MAX_COST and (value > 0 or name != "iterations_per_s")
        if not is_right:
            raise ValueError(f"{name} is {value:g}")
    return content


def _known(content: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    # This is the fast path: a study has thousands of replicates, rarely from a newer version.
    if content.keys() <= names:
        return content
    return {name: value for name, value in content.items() if name in names}
