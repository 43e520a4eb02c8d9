"""The front and the other candidates as rows, and every trial in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from search.analysis.front import front_of, knee_of
from search.analysis.pareto import dominates, strictly_dominates
from search.experiment.objectives import Objective
from search.presentation.words import settings, spread
from search.store.records import Trial


@dataclass(frozen=True, slots=True)
class Cells:
    """One trial in words; a score that the trial lacks is empty.

    steps: the second objective, with `≥` where the end of a training may have cut off a replicate's
    maximum. psnr_db: the first objective. Both have `~` where they are predicted for a raced trial.
    beside: SSIM, or PSNR_GT if SSIM is the first objective.
    settings: what was sampled beside the staircase, such as `width 48, ema 0.98`.
    """

    name: str
    steps: str
    psnr_db: str
    beside: str
    stages: str
    ramp: str
    settings: str

    @classmethod
    def of(cls, trial: Trial, objective: Objective) -> Cells:
        """Return the cells of a trial, from the replicates that it has finished."""
        steps = psnr = beside = ""
        output, quality, cost = objective.output, objective.quality, objective.cost
        # Some tables show the maximum of PSNR_GT even if the search optimises something else.
        censored = trial.censored_maxima if objective.is_standard else trial.censored
        cut = "≥ " if censored(output) else ""
        if trial.estimate is not None:
            psnr = f"~ {quality.text(trial.estimate[0])}"
            steps = f"~ {cut}{cost.text(trial.estimate[1])}"
        elif trial.replicates:
            steps = cut + spread(trial.measure(output, cost.key), cost.digits)
            psnr = spread(trial.measure(output, quality.key), quality.digits)
            other = objective.beside
            beside = spread(trial.measure(output, other.key), other.digits)
        stages = str(len(trial.schedule.stages)) if trial.schedule else ""
        ramp = str(trial.schedule.ramp) if trial.schedule else ""
        return cls(trial.name, steps, psnr, beside, stages, ramp, settings(trial.params))


@dataclass(frozen=True, slots=True)
class FrontRow:
    """A member of the front, or a candidate that is not on it.

    relation: what the trial dominates, or what dominates it, in words.
    """

    trial: Trial
    cells: Cells
    on_front: bool
    is_knee: bool
    relation: str

    @property
    def name(self) -> str:
        """The trial's name, with a mark on the knee."""
        return self.cells.name + " (knee)" * self.is_knee


def front_words(objective: Objective) -> str:
    """Return what the best of a search is called: its front, or with one objective a trial."""
    return "best trial" if objective.single else "front"


def front_rows(trials: list[Trial], objective: Objective) -> list[FrontRow]:
    """Return the front, fewest steps first, then the candidates that are not on it."""
    members = front_of(trials)
    behind = [t for t in trials if t.candidate and t.values is not None and t not in members]
    knee = knee_of(members)
    return [
        FrontRow(
            trial,
            Cells.of(trial, objective),
            on_front=trial in members,
            is_knee=trial is knee,
            relation=relation(trial, trials, members),
        )
        for trial in members + behind
    ]


def names_on(members: list[Trial]) -> list[tuple[str, list[Trial]]]:
    """Return the names of notable members of a front, fewest steps first, each with its member."""
    if not members:
        return []
    knee, objective = knee_of(members), members[0].objective
    quality, cost = objective.quality.words, objective.cost
    fewest = "fewest steps" if cost.unit == "iterations" else f"lowest {cost.words}"
    return [
        ("knee", [knee] if knee else []),
        ("highest PSNR" if objective.metric == "psnr" else f"highest {quality}", members[-1:]),
        (fewest, members[:1]),
    ]


def observation_psnr_gt_db(trials: Iterable[Trial]) -> float | None:
    """Return the mean PSNR_GT of the observations; None if it is infinite or was not recorded."""
    own = {
        key: replicate.observation_psnr_gt_db
        for trial in trials
        for key, replicate in trial.replicates.items()
    }
    known = [value for value in own.values() if value is not None]
    return fmean(known) if known else None


def relation(trial: Trial, trials: Iterable[Trial], members: list[Trial]) -> str:
    """Say which candidates a member of the front dominates, or which members dominate a trial.

    A trial that violates a constraint is only said to be infeasible, and one whose objectives are
    not finite is only said to be that.
    """
    if not trial.feasible:
        return trial.infeasible_words
    if not trial.score.finite:
        return "an objective is infinite"
    if trial in members:
        below = [
            other
            for other in trials
            if other.candidate
            and other.values is not None
            and other.feasible
            and dominates(trial.score, other.score)
        ]
        if trial.single:
            return f"better than {', '.join(o.name for o in below)}" if below else ""
        strictly = [o.name for o in below if strictly_dominates(trial.score, o.score)]
        partly = [o.name for o in below if not strictly_dominates(trial.score, o.score)]
        words = [f"dominates {', '.join(strictly)}"] if strictly else []
        words += [f"dominates {', '.join(partly)} (equal in one objective)"] if partly else []
        return ", ".join(words)
    above = [m for m in members if dominates(m.score, trial.score)]
    if not above:
        same = [m.name for m in members if m.first_alike == trial.first_alike]
        return f"same schedule as {', '.join(same)}"
    if trial.single:
        return f"behind {', '.join(m.name for m in above)}"
    return f"dominated by {', '.join(m.name for m in above)}"
