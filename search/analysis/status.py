"""Status of a search in numbers and in one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from dipstage.terminal.numbers import duration
from search.analysis.forecast import Workload, forecast
from search.analysis.front import front_of
from search.store.records import Trial
from search.store.run import RunRecord


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a search in numbers. All counts of trials include candidates.

    Args:
        wanted: Number of trials that are asked for; if the search ended early, those that ended.
        replicates_saved: Number of replicates that racing made unnecessary.
        front: Number of trials on the front.
        best_max_psnr_gt_db: First objective of the best trial.
        best_steps_to_max: Its second objective, or its steps for information.
        best_censored: Whether the end of training may have cut off a maximum of the best trial.
        best_words: Both objectives of the best trial in words.
        infeasible: Number of trials that violate a constraint, raced ones by their prediction.
        trials_per_hour: Present rate of trials; None if it is unknown.
        seconds_left: Remaining time; None if no replicate has ended or no trial runs (see
            `search.analysis.forecast`).
        ended: Why the search ended before its last trial; None if it did not.
    """

    wanted: int
    complete: int
    raced: int
    replicates_saved: int
    failed: int
    running: int
    front: int
    best: str | None
    best_max_psnr_gt_db: float | None
    best_steps_to_max: float | None
    best_censored: bool
    best_words: str
    infeasible: int
    trials_per_hour: float | None
    seconds_left: float | None
    ended: str | None = None

    @property
    def done(self) -> int:
        """Number of trials that ended, including failed ones."""
        return self.complete + self.raced + self.failed

    def __repr__(self) -> str:
        """Return one line."""
        return f"<Status: {sentence(self)}>"


def status_of(run: RunRecord, trials: list[Trial] | None = None) -> Status:
    """Return the status of a run; `trials` are its own, if they have just been read."""
    trials = run.records() if trials is None else trials
    count = Counter(trial.state for trial in trials)
    front = front_of(trials)
    best = max(front, key=lambda t: t.score.max_psnr_gt_db, default=None)
    attributes = run.attributes
    work = Workload.of(attributes)
    censored = bool(best and best.censored(run.objective.output))
    done = count["complete"] + count["raced"] + count["failed"]
    wanted = work.sampled + len(work.candidates) if attributes.ended is None else done
    whole = max((len(t.replicates) for t in trials if t.state == "complete"), default=0)
    # Optuna stores trials' times in local time without a time zone.
    ahead = forecast(trials, work, datetime.now())
    return Status(
        wanted=wanted,
        complete=count["complete"],
        raced=count["raced"],
        replicates_saved=sum(whole - len(t.replicates) for t in trials if t.state == "raced"),
        failed=count["failed"],
        running=count["running"] if attributes.ended is None else 0,
        front=len(front),
        best=best.name if best else None,
        best_max_psnr_gt_db=best.values[0] if best and best.values else None,
        best_steps_to_max=best.values[1] if best and best.values else None,
        best_censored=censored,
        best_words=run.objective.at(best.values, censored) if best and best.values else "",
        infeasible=sum(not trial.feasible for trial in trials),
        trials_per_hour=ahead.trials_per_hour,
        seconds_left=0.0 if done >= wanted else ahead.seconds_left,
        ended=attributes.ended,
    )


def sentence(status: Status) -> str:
    """Return the status in one line."""
    return ", ".join(counts(status) + found(status) + ahead(status))


def counts(status: Status) -> list[str]:
    """Return the number of trials in each state, in words."""
    parts = [f"{status.done}/{status.wanted} trials", f"{status.running} running"]
    if status.raced:
        saved = status.replicates_saved
        parts.append(f"{status.raced} raced ({saved} replicate{'s' * (saved != 1)} saved)")
    if status.failed:
        parts.append(f"{status.failed} failed")
    if status.ended is not None:
        parts.append(f"ended early because {status.ended}")
    if status.infeasible:
        parts.append(f"{status.infeasible} infeasible")
    return parts


def found(status: Status) -> list[str]:
    """Return the best trial so far and the size of the front, in words."""
    if status.best is None:
        return []
    return [f"best {status.best_words} ({status.best})", f"front of {status.front}"]


def pace(status: Status) -> list[str]:
    """Return the present rate of trials, in words; empty if it is unknown."""
    return [f"{status.trials_per_hour:.3g} trials an hour"] if status.trials_per_hour else []


def ahead(status: Status) -> list[str]:
    """Return the remaining time, in words; empty if it is unknown."""
    if status.seconds_left is None or status.done >= status.wanted:
        return []
    return [f"{duration(status.seconds_left)} left"]
