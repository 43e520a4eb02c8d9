"""Follow a run that another process drives, in a terminal or line by line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError
from search.analysis.status import status_of
from search.store.folders import path_exists
from search.store.paths import verification_path
from search.terminal.progress import Lines, LiveView
from search.verification.parts import HELD_OUT, TUNING, Parts, verifier

if TYPE_CHECKING:
    from rich.console import Console

    from search.store.lease import Holder
    from search.store.run import RunRecord

EVERY_S = 1.0
IDLE = 10
"""Looks without a driver, which takes a moment to begin, until a log says that there is none."""


def wait_for(opened: Callable[[], RunRecord], begins: Path, console: Console) -> RunRecord:
    """Return a run as soon as there is one; say once that it is waited for.

    Args:
        opened: Opens the run, or raises InputError.
        begins: File that a run has once it has begun.
        console: Where to say so.

    Raises:
        InputError: If the run has begun but cannot be opened.
    """
    told = False
    while True:
        try:
            return opened()
        except InputError:
            if path_exists(begins):
                raise
        if not told:
            name, told = begins.parent.name, True
            console.print(
                f"{name} has not begun: waiting for it in {begins.parent.parent} (Ctrl-C ends)",
                markup=False,
            )
        time.sleep(EVERY_S)


def watch(run: RunRecord, console: Console, how_to_resume: Callable[[RunRecord], str]) -> None:
    """Show a search, then what there is of its verification, until nothing is left to do.

    how_to_resume: returns the line that is shown while the run has no driver.
    """
    parts = Parts(run)
    if not console.is_terminal:
        lines, idle = Lines(console), 0
        while (left := unfinished(run, parts)) is not None:
            current, driver = left
            lines.update(current)
            idle = idle + 1 if driver is None else 0
            if idle == IDLE:
                console.print(how_to_resume(current), markup=False)
            time.sleep(EVERY_S)
        return
    with LiveView(console, f"{run.name} …") as view:
        shown = None
        while (left := unfinished(run, parts)) is not None:
            current, driver = left
            shown = current
            view.below = how_to_resume(current) if driver is None else f"driver: {driver}"
            view.update(current)
            time.sleep(EVERY_S)
        if shown is not None:  # What is left on the screen is the end.
            view.below = None
            view.end(shown)


def unfinished(run: RunRecord, parts: Parts) -> tuple[RunRecord, Holder | None] | None:
    """Return the search, or the part of its verification, that has trials to come; None if none.

    A verification that was begun and interrupted has trials to come. While a process drives one
    whose next part has not begun, that is the part before it, or the search.

    Returns:
        The search or the part, and the process that drives it.
    """
    if _has_trials_to_come(run):
        return run, run.driver()
    begun = [each for name in (TUNING, HELD_OUT) if (each := parts.open(name)) is not None]
    for each in begun:
        if _has_trials_to_come(each):
            return each, each.driver() or verifier(run)
    if len(begun) == 2 or not path_exists(verification_path(run.folder)):
        return None
    driver = verifier(run)
    return None if driver is None else ([run, *begun][-1], driver)


def _has_trials_to_come(run: RunRecord) -> bool:
    status = status_of(run)
    return status.done < status.wanted
