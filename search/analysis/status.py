"""A search in numbers and in one line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from search.analysis.forecast import Workload, forecast
from search.analysis.front import front_of
from search.store.records import Trial
from search.store.run import RunRecord


@dataclass(frozen=True, slots=True)
class Status:
    """A search in numbers. Trials include candidates; `seconds_left` is None before a replicate has
    ended, and where nothing runs (see `search.analysis.forecast`).

    replicates_saved: those that raced trials were spared.
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
    trials_per_hour: float | None
    seconds_left: float | None

    @property
    def done(self) -> int:
        """Trials that ended, well or not."""
        return self.complete + self.raced + self.failed


def status_of(
    run: RunRecord, trials: list[Trial] | None = None, now: datetime | None = None
) -> Status:
    """Read the study; `trials` are its records, where they have just been read."""
    trials = run.records() if trials is None else trials
    by_state = {
        state: [t for t in trials if t.state == state]
        for state in ("complete", "raced", "failed", "running")
    }
    front = front_of(trials)
    best = max(front, key=lambda t: t.score.max_psnr_gt_db, default=None)
    work = Workload.of(run.attributes)
    wanted = work.sampled + len(work.candidates)
    done = sum(len(by_state[state]) for state in ("complete", "raced", "failed"))
    whole = max((len(t.replicates) for t in by_state["complete"]), default=0)
    # Trials' times are local and without a zone: Optuna's way.
    ahead = forecast(trials, work, now or datetime.now())
    return Status(
        wanted=wanted,
        complete=len(by_state["complete"]),
        raced=len(by_state["raced"]),
        replicates_saved=sum(whole - len(t.replicates) for t in by_state["raced"]),
        failed=len(by_state["failed"]),
        running=len(by_state["running"]),
        front=len(front),
        best=best.name if best else None,
        best_max_psnr_gt_db=best.score.max_psnr_gt_db if best else None,
        best_steps_to_max=best.score.steps_to_max if best else None,
        trials_per_hour=ahead.trials_per_hour,
        seconds_left=0.0 if done >= wanted else ahead.seconds_left,
    )


def sentence(status: Status) -> str:
    """The status in one line."""
    return ", ".join(counts(status) + found(status) + ahead(status))


def counts(status: Status) -> list[str]:
    """Trials by state."""
    parts = [f"{status.done}/{status.wanted} trials", f"{status.running} running"]
    if status.raced:
        parts.append(f"{status.raced} raced ({status.replicates_saved} replicates saved)")
    if status.failed:
        parts.append(f"{status.failed} failed")
    return parts


def found(status: Status) -> list[str]:
    """The best so far, and how large the front is."""
    if status.best is None:
        return []
    return [
        f"best {status.best_max_psnr_gt_db:.2f} dB at {status.best_steps_to_max:.0f} "
        f"({status.best})",
        f"front of {status.front}",
    ]


def ahead(status: Status) -> list[str]:
    """The time left."""
    if status.seconds_left is None or status.done >= status.wanted:
        return []
    return [f"{duration(status.seconds_left)} left"]


def duration(seconds: float) -> str:
    """Hours, minutes or seconds, as short as can be."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
