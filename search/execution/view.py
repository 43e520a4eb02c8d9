"""A protocol for reports of a driver's progress, which a terminal or a notebook implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from search.store.run import RunRecord


class View(Protocol):
    """Display of a search, updated twice a second while it runs and once at its end.

    Derive a display from it: methods that it leaves out then show nothing.
    """

    def starting(self) -> None:
        """Show that Ray starts, which can take half a minute."""
        return

    def update(self, run: RunRecord) -> None:
        """Show the current state of the run."""
        return

    def end(self, run: RunRecord) -> None:
        """Show the final state of the run, by default as any other."""
        self.update(run)

    def note(self, notice: str) -> None:
        """Show a notice, such as a picture that was converted on loading."""
        return


class Quiet(View):
    """View that shows nothing."""
