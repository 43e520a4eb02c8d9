"""Follow a run that another process drives, in a terminal or line by line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from search.analysis.status import status_of
from search.terminal.progress import Lines, LiveView
from search.verification.parts import HELD_OUT, TUNING, Parts

if TYPE_CHECKING:
    from rich.console import Console

    from search.store.run import RunRecord

EVERY_S = 1.0


def watch(run: RunRecord, console: Console, how_to_resume: Callable[[RunRecord], str]) -> None:
    """Show a search, then what there is of its verification, until nothing is left to do.

    how_to_resume: returns the line that is shown while the run has no driver.
    """
    parts = Parts(run)
    if not console.is_terminal:
        lines = Lines(console)
        while (current := unfinished(run, parts)) is not None:
            lines.update(current)
            time.sleep(EVERY_S)
        return
    with LiveView(console, f"{run.name} …") as view:
        while (current := unfinished(run, parts)) is not None:
            driver = current.driver()
            view.below = how_to_resume(current) if driver is None else f"driver: {driver}"
            view.update(current)
            time.sleep(EVERY_S)


def unfinished(run: RunRecord, parts: Parts) -> RunRecord | None:
    """Return the search, or the part of its verification, that has trials to come; None if none.

    A verification that was begun and interrupted has trials to come.
    """
    for each in (run, parts.open(TUNING), parts.open(HELD_OUT)):
        if each is not None:
            status = status_of(each)
            if status.done < status.wanted:
                return each
    return None
