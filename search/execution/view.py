"""How a driver reports its progress: a protocol that a terminal or a notebook implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from search.store.run import RunRecord


class View(Protocol):
    """Told twice a second while a search runs, and at its end."""

    def update(self, run: RunRecord) -> None:
        """Look at the run."""
        ...

    def end(self, run: RunRecord) -> None:
        """The search ended."""
        ...

    def note(self, notice: str) -> None:
        """Something was changed on loading that a person should know."""
        ...


class Quiet:
    """Shows nothing."""

    def update(self, run: RunRecord) -> None:
        """See `View`."""

    def end(self, run: RunRecord) -> None:
        """See `View`."""

    def note(self, notice: str) -> None:
        """See `View`."""
