"""What a person sees while a search runs: a live view in a terminal, lines in a log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

if TYPE_CHECKING:
    from search.run import Run, Trial


class View(Protocol):
    """Told twice a second while a search runs, and at its end."""

    def update(self, run: Run) -> None:
        """Look at the run."""
        ...

    def end(self, run: Run) -> None:
        """The search ended."""
        ...


class Quiet:
    """Shows nothing."""

    def update(self, run: Run) -> None:
        """See `View`."""

    def end(self, run: Run) -> None:
        """See `View`."""


@dataclass(frozen=True, slots=True)
class Status:
    """A search in numbers. Trials include candidates; `seconds_left` is None before the first."""

    wanted: int
    complete: int
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
        return self.complete + self.failed


def status_of(run: Run) -> Status:
    """Read the study."""
    trials = run.records()
    by_state = {
        state: [t for t in trials if t.state == state]
        for state in ("complete", "failed", "running")
    }
    front = _front(trials)
    best = max(front, key=lambda t: t.score.max_psnr_gt_db, default=None)
    wanted = run.trials_wanted + run.candidates_wanted
    done = len(by_state["complete"]) + len(by_state["failed"])
    rate = _per_second([*by_state["complete"], *by_state["failed"]])
    return Status(
        wanted=wanted,
        complete=len(by_state["complete"]),
        failed=len(by_state["failed"]),
        running=len(by_state["running"]),
        front=len(front),
        best=best.name if best else None,
        best_max_psnr_gt_db=best.score.max_psnr_gt_db if best else None,
        best_steps_to_max=best.score.steps_to_max if best else None,
        trials_per_hour=rate * 3600 if rate else None,
        seconds_left=(wanted - done) / rate if rate else None,
    )


def _front(trials: list[Trial]) -> list[Trial]:
    from search.run import front_of

    return front_of(trials)


def _per_second(ended: list[Trial]) -> float | None:
    """Rate over the last trials: their number by the time since the first of them began.

    Time in which no driver ran would count, so only the last 16 are looked at.
    """
    times = sorted((t.ended, t.started) for t in ended if t.ended and t.started)[-16:]
    if not times:
        return None
    first = min(started for _, started in times)
    seconds = (times[-1][0] - first).total_seconds()
    return len(times) / seconds if seconds > 0 else None


def sentence(status: Status) -> str:
    """The status in one line."""
    parts = [f"{status.done}/{status.wanted} trials", f"{status.running} running"]
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


class Lines:
    """One line for every trial that ends."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console, self._done = console, -1

    def update(self, run: Run) -> None:
        """See `View`."""
        status = status_of(run)
        if status.done != self._done:
            self._done = status.done
            self._print(sentence(status))

    def end(self, run: Run) -> None:
        """See `View`."""
        self.update(run)

    def _print(self, text: str) -> None:
        now = datetime.now(UTC).strftime("%H:%M:%S")
        self._console.print(f"{now} {text}", markup=False)


class LiveView:
    """A bar, the status and the front's members."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, which is a terminal."""
        self._live = Live(console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._live.update(Text("starting Ray …"))
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, run: Run) -> None:
        """See `View`."""
        self._live.update(self._draw(run))

    def end(self, run: Run) -> None:
        """See `View`."""

    def _draw(self, run: Run) -> Any:
        from dipstage.console import table

        status = status_of(run)
        rows = [
            [t.name, f"{t.score.steps_to_max:.0f}", f"{t.score.max_psnr_gt_db:.2f}"]
            for t in run.front()[-10:]
        ]
        return Group(
            Text(f"{run.name}: {sentence(status)}"),
            ProgressBar(total=status.wanted, completed=status.done, width=60),
            table(["front", "steps to max", "max PSNR_GT (dB)"], rows) if rows else Text(""),
        )
