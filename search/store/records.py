"""Records of trials as the study holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any, Literal, TypeAlias

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import Measure, OutputMeasures
from dipstage.schedules.stopping import Output
from search.experiment.objectives import Objective, Score
from search.store.attributes import Raced, TrialAttributes, replicates
from search.store.replicate import MAX_COST, MAX_DB, Replicate, versions_of

State: TypeAlias = Literal["complete", "raced", "failed", "running"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as the study holds it.

    Args:
        candidate: Name of the candidate; None for a sampled trial.
        values: Both objectives of a complete trial; otherwise None.
        raced: Why a raced trial was stopped; otherwise None.
        same_as: Number of the first trial of the same schedule; None if this is the first.
        taken: Number of the trial that trained each replicate which this trial took over, by key.
        violations: By how much the trial violates each constraint; not above 0 where it is met. Of
            a raced trial, as predicted.
        objective: What the search optimises.
    """

    number: int
    state: State
    candidate: str | None
    schedule: Schedule | None
    params: dict[str, Any]
    replicates: dict[str, Replicate]
    values: tuple[float, float] | None
    raced: Raced | None
    failure: str | None
    started: datetime | None
    ended: datetime | None
    same_as: int | None = None
    taken: Mapping[str, int] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)

    @classmethod
    def of(cls, trial: FrozenTrial, objective: Objective) -> Trial:
        """Create a record from Optuna's trial; for `objective`, see the class."""
        attributes = TrialAttributes.of(trial)
        state, raced = _STATES.get(trial.state, "failed"), None
        if state == "complete" and attributes.raced is not None:
            state, raced = "raced", attributes.raced
        values = _checked(trial, objective, raced)
        return cls(
            number=trial.number,
            state=state,
            candidate=attributes.candidate,
            schedule=attributes.schedule,
            params=dict(trial.params),
            replicates=replicates(trial),
            values=None if raced else values,
            raced=raced,
            failure=attributes.failure if trial.state is TrialState.FAIL else None,
            started=trial.datetime_start,
            ended=trial.datetime_complete,
            same_as=attributes.same_as,
            taken=attributes.taken or {},
            violations=trial.constraints,
            objective=objective,
        )

    def __repr__(self) -> str:
        """Return one line with the objectives; those of a raced trial are predicted."""
        values = self.values or self.estimate
        cut, predicted = bool(self.censored(self.objective.output)), "~ " * (self.values is None)
        score = f", {predicted}{self.objective.at(values, cut)}" if values else ""
        name = f" ({self.candidate})" if self.candidate else ""
        return f"<Trial {self.number}{name}: {self.state}{score}>"

    @property
    def estimate(self) -> Score | None:
        """Objectives of a raced trial, as predicted when it was stopped; otherwise None."""
        return self.raced.estimate if self.raced else None

    @property
    def name(self) -> str:
        """The candidate's name, or `trial N` for a sampled trial."""
        return self.candidate or f"trial {self.number}"

    @property
    def learning_rate(self) -> float | None:
        """Learning rate of the last stage; None until the trial has a schedule."""
        return self.schedule.recipe.learning_rate if self.schedule else None

    @property
    def is_plain(self) -> bool:
        """True for plain DIP: a single stage that targets the observation."""
        return self.schedule is not None and self.schedule.is_plain

    @property
    def single(self) -> bool:
        """True if the search optimises the first objective alone."""
        return self.objective.single

    @property
    def feasible(self) -> bool:
        """True if no constraint is violated."""
        return all(excess <= 0 for excess in self.violations.values())

    @property
    def infeasible_words(self) -> str:
        """The violated constraints in words; empty for a feasible trial."""
        broken = [name for name, excess in self.violations.items() if excess > 0]
        return f"infeasible: {', '.join(broken)}" if broken else ""

    @property
    def score(self) -> Score:
        """Score by which the trial is compared: both objectives, or the first with a second of 0.

        Raises:
            ValueError: If the trial is not complete.
        """
        if self.values is None:
            raise ValueError(f"{self.name} is not complete")
        return Score(self.values[0], 0.0 if self.single else self.values[1])

    def measure(self, output: Output, key: str) -> Measure:
        """Return the mean and standard deviation of one score over the finished replicates."""
        values = [replicate.measure(output, key) for replicate in self.replicates.values()]
        mean = fmean(values)
        if len(values) == 1:
            return Measure(mean, 1, None)
        # `statistics.stdev` adds exact fractions, which takes one second for 5,000 trials.
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
        return Measure(mean, len(values), std)

    def measures(self, output: Output) -> OutputMeasures:
        """Return all measures of one output that a schedule file holds."""
        found = {key: self.measure(output, key) for key in self.measured}
        return OutputMeasures(**found, censored=self.censored_maxima(output))

    @property
    def measured(self) -> list[str]:
        """Names of the scores that schedule files and tables hold."""
        known = ["max_psnr_gt_db", "steps_to_max", "max_ssim_gt", "steps_to_max_ssim_gt"]
        tolerance = any(r.raw.steps_to_tolerance is not None for r in self.replicates.values())
        return known + ["steps_to_tolerance"] * tolerance

    def censored(self, output: Output) -> int:
        """Return the number of replicates that ended before what is optimised was certain."""
        return sum(replicate.censored(output) for replicate in self.replicates.values())

    def censored_maxima(self, output: Output) -> int:
        """Return the number of replicates whose maximum of PSNR_GT may lie beyond their end."""
        return sum(bool(each.scores(output).censored) for each in self.replicates.values())

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the workers' packages."""
        return versions_of(self.replicates.values())

    @property
    def wall_s(self) -> float:
        """Total training time of the replicates that this trial trained, in seconds."""
        own = (each for key, each in self.replicates.items() if key not in self.taken)
        return sum(float(replicate.wall_s) for replicate in own)

    @property
    def first_alike(self) -> int:
        """Number of the first trial of the same schedule, which may be this one."""
        return self.number if self.same_as is None else self.same_as

    def trained_by(self, key: str) -> int:
        """Return the number of the trial that trained a replicate, whose files bear it."""
        return self.taken.get(key, self.number)


def _checked(
    trial: FrozenTrial, objective: Objective, raced: Raced | None
) -> tuple[float, float] | None:
    """Return the objectives of a trial that is complete, predicted or not; of others None.

    Raises:
        TypeError: If the database holds something else than a number where one belongs.
        ValueError: If an objective is finite and beyond what can be measured. Installed objectives
            may have any value.
    """
    sampled = [
        value
        for name, value in trial.params.items()
        if not isinstance(trial.distributions[name], CategoricalDistribution)
    ]
    values = trial.values or []
    for value in (trial.number, *values, *trial.constraints.values(), *sampled):
        if not isinstance(value, int | float):
            raise TypeError(f"{value!r:.80} of a trial is no number")
    if trial.state is not TrialState.COMPLETE:
        return None
    own, installed = (values[0], values[1]), objective.custom
    most = MAX_DB if objective.quality.unit == "dB" else MAX_COST
    # What racing predicts may be below 0.
    least = -MAX_COST if raced else 0.0
    for quality, cost in (own, raced.estimate) if raced else (own,):
        if objective.metric not in installed and most < abs(quality) < math.inf:
            raise ValueError(f"{objective.quality.key} is {quality:g}")
        is_right = objective.against in installed or least <= cost <= MAX_COST
        if not is_right and math.isfinite(cost):
            raise ValueError(f"{objective.cost.key} is {cost:g}")
    return own


def finite(trials: Iterable[Trial]) -> list[Trial]:
    """Return the complete trials whose objectives are finite: others have no place in a figure."""
    return [trial for trial in trials if trial.values is not None and trial.score.finite]


def distinct(trials: Iterable[Trial]) -> list[Trial]:
    """Return the complete trials, of equal schedules only the first."""
    first: dict[int, Trial] = {}
    for trial in trials:
        if trial.values is not None:
            first.setdefault(trial.first_alike, trial)
    return list(first.values())


def plain_of(records: Iterable[Trial]) -> Trial | None:
    """Return the search's own plain DIP: a complete candidate of one stage."""
    for trial in records:
        if trial.candidate and trial.values and trial.is_plain:
            return trial
    return None
