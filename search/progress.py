"""What a person sees while a search runs: a live view in a terminal, lines in a log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from search.status import sentence, status_of

if TYPE_CHECKING:
    from search.run import Run


class View(Protocol):
    """Told twice a second while a search runs, and at its end."""

    def update(self, run: Run) -> None:
        """Look at the run."""
        ...

    def end(self, run: Run) -> None:
        """The search ended."""
        ...

    def note(self, notice: str) -> None:
        """Something was changed on loading that a person should know."""
        ...


class Quiet:
    """Shows nothing."""

    def update(self, run: Run) -> None:
        """See `View`."""

    def end(self, run: Run) -> None:
        """See `View`."""

    def note(self, notice: str) -> None:
        """See `View`."""


class Lines:
    """One line for every trial that ends."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console = console
        self._last: tuple[str, int] | None = None

    def update(self, run: Run) -> None:
        """See `View`."""
        status = status_of(run)
        if (run.name, status.done) != self._last:
            self._last = (run.name, status.done)
            self._print(f"{run.name}: {sentence(status)}")

    def end(self, run: Run) -> None:
        """See `View`."""
        self.update(run)

    def note(self, notice: str) -> None:
        """See `View`."""
        self._print(f"notice: {notice}")

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
        self._live.update(Text("starting Ray …"), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, run: Run) -> None:
        """See `View`."""
        self._live.update(self._draw(run))

    def end(self, run: Run) -> None:
        """See `View`."""

    def note(self, notice: str) -> None:
        """See `View`."""
        self._live.console.print(f"notice: {notice}", markup=False)

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
            table(["front", run.objective.steps_words, "max PSNR_GT (dB)"], rows)
            if rows
            else Text(""),
        )
