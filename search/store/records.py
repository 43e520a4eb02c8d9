"""What the study holds of each trial, and what is asked of many of them: rows, front, picks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any, Literal, TypeAlias

from optuna.trial import FrozenTrial, TrialState

from dipstage.documents.schedule_file import Measure, OutputMeasures
from dipstage.schedules import Schedule
from dipstage.stopping import Output
from search.experiment.objectives import Score
from search.store.study import RACED, replicates

State: TypeAlias = Literal["complete", "raced", "failed", "running"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as the study holds it; `candidate` is the name of a candidate.

    values: both objectives of a complete trial. estimate: what a raced trial's were predicted to
    be when it was stopped.
    """

    number: int
    state: State
    candidate: str | None
    schedule: Schedule | None
    learning_rate: float | None
    warmup: int | None
    params: dict[str, Any]
    outcomes: dict[str, dict[str, Any]]
    values: tuple[float, float] | None
    estimate: tuple[float, float] | None
    failure: str | None
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> Trial:
        """From Optuna's record."""
        attributes = trial.user_attrs
        stages = attributes.get("stages")
        state = _STATES.get(trial.state, "failed")
        if state == "complete" and RACED in attributes:
            state = "raced"
        return cls(
            number=trial.number,
            state=state,
            candidate=attributes.get("candidate"),
            schedule=Schedule.from_pairs(stages, any_order=True) if stages else None,
            learning_rate=attributes.get("learning_rate"),
            warmup=attributes.get("warmup"),
            params=dict(trial.params),
            outcomes=replicates(trial),
            values=(trial.values[0], trial.values[1]) if state == "complete" else None,
            estimate=(trial.values[0], trial.values[1]) if state == "raced" else None,
            failure=attributes.get("failure") if trial.state is TrialState.FAIL else None,
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )

    @property
    def name(self) -> str:
        """The candidate's name, else `trial N`."""
        return self.candidate or f"trial {self.number}"

    @property
    def score(self) -> Score:
        """Both objectives; ValueError for a trial that is not complete."""
        if self.values is None:
            raise ValueError(f"{self.name} is not complete")
        return Score(*self.values)

    def measure(self, output: Output, key: str) -> Measure:
        """Mean and spread of one score over the finished replicates."""
        values = [float(outcome[output][key]) for outcome in self.outcomes.values()]
        mean = fmean(values)
        if len(values) == 1:
            return Measure(mean, 1, None)
        # `statistics.stdev` adds fractions, which takes a second for 5,000 trials.
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
        return Measure(mean, len(values), std)

    def measures(self, output: Output) -> OutputMeasures:
        """All that a schedule file says of one output."""
        return OutputMeasures(
            max_psnr_gt_db=self.measure(output, "max_psnr_gt_db"),
            steps_to_max=self.measure(output, "steps_to_max"),
            max_ssim_gt=self.measure(output, "max_ssim_gt"),
            steps_to_max_ssim_gt=self.measure(output, "steps_to_max_ssim_gt"),
            censored=self.censored(output),
            steps_to_tolerance=(
                self.measure(output, "steps_to_tolerance") if self.has_tolerance else None
            ),
        )

    @property
    def has_tolerance(self) -> bool:
        """Whether steps to within a tolerance of the maximum were recorded."""
        return any("steps_to_tolerance" in o["raw"] for o in self.outcomes.values())

    def censored(self, output: Output) -> int:
        """Replicates whose maximum the end of the run may have cut off."""
        return sum(bool(outcome[output]["censored"]) for outcome in self.outcomes.values())

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that the workers ran with; several are joined by a comma."""
        seen: dict[str, list[str]] = {}
        for outcome in self.outcomes.values():
            for package, version in outcome["versions"].items():
                found = seen.setdefault(package, [])
                if version not in found:
                    found.append(version)
        return {package: ", ".join(found) for package, found in seen.items()}

    @property
    def wall_s(self) -> float:
        """Seconds of training over the finished replicates."""
        return sum(float(outcome["wall_s"]) for outcome in self.outcomes.values())
