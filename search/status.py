"""A search in numbers and in one line."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from search.run import Run, Trial, front_of


@dataclass(frozen=True, slots=True)
class Status:
    """A search in numbers. Trials include candidates; `seconds_left` is None before the first.

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


def status_of(run: Run) -> Status:
    """Read the study."""
    trials = run.records()
    by_state = {
        state: [t for t in trials if t.state == state]
        for state in ("complete", "raced", "failed", "running")
    }
    front = front_of(trials)
    best = max(front, key=lambda t: t.score.max_psnr_gt_db, default=None)
    wanted = run.trials_wanted + run.candidates_wanted
    done = sum(len(by_state[state]) for state in ("complete", "raced", "failed"))
    whole = max((len(t.outcomes) for t in by_state["complete"]), default=0)
    # Not the trials that run at this moment: between two trials that is one too few.
    at_a_time = int(run.study.user_attrs.get("concurrent", 1)) if by_state["running"] else 0
    rate = _per_second(trials, min(at_a_time, wanted - done))
    return Status(
        wanted=wanted,
        complete=len(by_state["complete"]),
        raced=len(by_state["raced"]),
        replicates_saved=sum(whole - len(t.outcomes) for t in by_state["raced"]),
        failed=len(by_state["failed"]),
        running=len(by_state["running"]),
        front=len(front),
        best=best.name if best else None,
        best_max_psnr_gt_db=best.score.max_psnr_gt_db if best else None,
        best_steps_to_max=best.score.steps_to_max if best else None,
        trials_per_hour=rate * 3600 if rate else None,
        seconds_left=0.0 if done >= wanted else (wanted - done) / rate if rate else None,
    )


def _per_second(trials: list[Trial], at_a_time: int) -> float | None:
    """Trials at a time by the mean training time of the last 16 that ended.

    Not by the clock: a search that was interrupted for a night is no slower for it.
    """
    ended = sorted((t for t in trials if t.ended and t.wall_s > 0), key=lambda t: str(t.ended))
    last = [t.wall_s for t in ended[-16:]]
    return at_a_time / fmean(last) if last and at_a_time else None


def sentence(status: Status) -> str:
    """The status in one line."""
    parts = [f"{status.done}/{status.wanted} trials", f"{status.running} running"]
    if status.raced:
        parts.append(f"{status.raced} raced ({status.replicates_saved} replicates saved)")
    if status.failed:
        parts.append(f"{status.failed} failed")
    if status.best is not None:
        parts.append(
            f"best {status.best_max_psnr_gt_db:.2f} dB at {status.best_steps_to_max:.0f} "
            f"({status.best})"
        )
        parts.append(f"front of {status.front}")
    if status.seconds_left is not None and status.done < status.wanted:
        parts.append(f"{duration(status.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Hours, minutes or seconds, as short as can be."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
