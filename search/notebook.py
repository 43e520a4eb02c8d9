"""The HTML table that a notebook shows for a run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from search.analysis.status import sentence, status_of
from search.presentation.front import FrontRow, front_rows
from search.presentation.verdicts import NOT_VERIFIED
from search.store.paths import verification_path
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.verification.result import Verification

_MOST = 20
"""Maximum number of members of the front that are shown."""


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
        columns = ["front", objective.steps_words, "max PSNR_GT (dB)", "stages", "ramp"]
        columns += ["against plain DIP"] * (verification is not None)
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(_row(row, verification) for row in rows[:_MOST])
        more = f"; {len(rows) - _MOST} more" if len(rows) > _MOST else ""
        parts.append(
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<div>{escape(words + more)}</div>"
        )
    return "".join(parts)


def _row(row: FrontRow, verification: Verification | None) -> str:
    cells = [row.name, row.cells.steps, row.cells.psnr_db, row.cells.stages, row.cells.ramp]
    if verification is not None:
        number = row.trial.number
        verdict, held = verification.verdict(number), verification.measured(number)
        cells.append(str(verdict) if verdict else "plain DIP itself" if held else NOT_VERIFIED)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


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
