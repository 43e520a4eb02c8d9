"""Display in a notebook: a run as an HTML table, and the progress of a search."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from search.analysis.status import ahead, counts, found, pace, sentence, status_of
from search.execution.view import Quiet, View
from search.presentation.front import FrontRow, front_rows
from search.presentation.verdicts import NOT_VERIFIED
from search.store.paths import verification_path
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.verification.result import Verification

_MOST = 20
"""Maximum number of members of the front that are shown."""


class NotebookView(View):
    """A line of status under the cell that runs the search, and its notices."""

    EVERY_S = 1.0

    def __init__(self, display: Any, html: Any) -> None:
        """Show through `display` and `HTML` of `IPython.display`."""
        self._html, self._notes = html, list[str]()
        self._last, self._text = 0.0, "starting Ray …"
        self._shown = display(html(self._page()), display_id=True)

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        if time.monotonic() - self._last >= self.EVERY_S:
            self.end(run)

    def end(self, run: RunRecord) -> None:
        """See `View`."""
        status, self._last = status_of(run), time.monotonic()
        parts = [*counts(status), *found(status), *pace(status), *ahead(status)]
        self._text = f"{run.name}: {', '.join(parts)}"
        self._shown.update(self._html(self._page()))

    def note(self, notice: str) -> None:
        """See `View`."""
        self._notes.append(f"notice: {notice}")
        self._shown.update(self._html(self._page()))

    def _page(self) -> str:
        return "".join(f"<div>{escape(line)}</div>" for line in [*self._notes, self._text])


def in_notebook() -> bool:
    """Return whether this is a kernel of IPython, which a notebook shows."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def chosen_view(view: View | None) -> Iterator[View]:
    """Yield a view, or the one that suits where this runs: a notebook, a terminal, or neither."""
    if view is not None:
        yield view
    elif in_notebook():
        from IPython.display import HTML, display

        yield NotebookView(display, HTML)
    else:
        from dipstage.terminal.console import make_console
        from search.terminal.progress import LiveView

        console = make_console(going_on=True)
        if not console.is_terminal:
            yield Quiet()
        else:
            with LiveView(console) as live:
                yield live


def run_html(run: RunRecord) -> str:
    """Return name, status, the front with its knee, and what a verification says, escaped."""
    objective = run.objective
    rows = [row for row in front_rows(run.records(), objective) if row.on_front]
    verification, verified = _verification(run)
    n = max((len(row.trial.replicates) for row in rows), default=0)
    about = f"{sentence(status_of(run.reread()))}; {verified}"
    parts = [f"<div><b>{escape(run.name)}</b>: {escape(about)}</div>"]
    if rows:
        words = f"{objective.output} output, mean ± standard deviation over {n} replicates"
        columns = ["front", objective.cost.words, objective.quality.label, "stages", "ramp"]
        searched = any(row.cells.settings for row in rows)
        columns += ["settings"] * searched
        columns += ["against plain DIP"] * (verification is not None)
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(_row(row, verification, searched=searched) for row in rows[:_MOST])
        more = f"; {len(rows) - _MOST} more" if len(rows) > _MOST else ""
        parts.append(
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<div>{escape(words + more)}</div>"
        )
    return "".join(parts)


def _row(row: FrontRow, verification: Verification | None, *, searched: bool) -> str:
    cells = [row.name, row.cells.steps, row.cells.psnr_db, row.cells.stages, row.cells.ramp]
    cells += [row.cells.settings] * searched
    if verification is not None:
        cells.append(_against_plain(row.trial, verification))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _against_plain(trial: Trial, verification: Verification) -> str:
    if trial.is_plain:
        return "plain DIP itself"
    if verdict := verification.verdict(trial.number):
        return str(verdict)
    return "not claimed" if verification.measured(trial.number) else NOT_VERIFIED


def _verification(run: RunRecord) -> tuple[Verification | None, str]:
    """Return the finished verification, if there is one, and its result in words."""
    if not verification_path(run.folder).exists():
        return None, NOT_VERIFIED
    from search.verification.result import Verification

    verification = Verification.open(run)
    if verification is None:
        return None, f"{NOT_VERIFIED}: its verification is not finished"
    seen = " on pictures that the search has seen" if verification.plan.seen else ""
    return verification, f"verified{seen}: {verification.verdict_of_search.value}"
