"""Failures among the last trials: a search stops if there are too many."""

from __future__ import annotations

from collections import deque

from dipstage.errors import WorkError

WINDOW = 10
"""Number of trials, those that ended last, whose failures are counted."""


class RecentEndings:
    """The trials that ended last under this driver."""

    def __init__(self) -> None:
        self._failures: deque[str | None] = deque(maxlen=WINDOW)

    def add(self, failure: str | None) -> None:
        """Record that a trial ended; `failure` says why it failed, None if it did not."""
        self._failures.append(failure)

    def check(self, max_failed_share: float) -> None:
        """Raise WorkError if too many failed, because something is wrong with all trials."""
        failures = [reason for reason in self._failures if reason is not None]
        if len(self._failures) < WINDOW or len(failures) <= max_failed_share * WINDOW:
            return
        reasons = "; ".join(dict.fromkeys(failures[-3:]))
        raise WorkError(
            f"{len(failures)} of the last {WINDOW} trials failed, more than "
            f"search.max_failed_share {max_failed_share:g}: {reasons}"
        )
