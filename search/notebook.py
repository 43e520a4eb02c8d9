"""A run as a notebook shows it: one table of HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from search.analysis.front import front_of, pick
from search.analysis.status import sentence, status_of
from search.presentation.words import censored, spread
from search.store.paths import verification_path
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.verification.result import Verification

_MOST = 20
"""Members of the front that are shown."""


def run_html(run: RunRecord) -> str:
    """Name, status, the front with its knee, and what a verification said; names are escaped."""
    members, objective = front_of(run.records()), run.objective
    verification, verified = _verification(run)
    n = max((len(trial.replicates) for trial in members), default=0)
    about = f"{sentence(status_of(run.reread()))}; {verified}"
    parts = [f"<div><b>{escape(run.name)}</b>: {escape(about)}</div>"]
    if members:
        knee = pick(run, "knee")
        words = f"{objective.output} output, mean ± standard deviation over {n} replicates"
        columns = ["front", objective.steps_words, "max PSNR_GT (dB)", "stages", "ramp"]
        columns += ["against plain DIP"] * (verification is not None)
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        rows = [_row(run, trial, trial == knee, verification) for trial in members[:_MOST]]
        more = f"; {len(members) - _MOST} more" if len(members) > _MOST else ""
        parts.append(
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<div>{escape(words + more)}</div>"
        )
    return "".join(parts)


def _row(run: RunRecord, trial: Trial, is_knee: bool, verification: Verification | None) -> str:
    output, schedule = run.objective.output, trial.schedule
    cells = [
        trial.name + (" (knee)" if is_knee else ""),
        censored(trial, output) + spread(trial.measure(output, run.objective.steps_key), 0),
        spread(trial.measure(output, "max_psnr_gt_db"), 2),
        str(len(schedule.stages)) if schedule else "",
        str(schedule.ramp) if schedule else "",
    ]
    if verification is not None:
        verdict, held = verification.verdict(trial.number), verification.measured(trial.number)
        cells.append(str(verdict) if verdict else "plain DIP itself" if held else "not verified")
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _verification(run: RunRecord) -> tuple[Verification | None, str]:
    """The finished verification, if there is one, and what is to be said of it."""
    if not verification_path(run.folder).exists():
        return None, "not verified"
    from search.verification.result import Verification

    verification = Verification.open(run)
    if verification is None:
        return None, "not verified: its verification is not finished"
    seen = " on pictures that the search has seen" if verification.plan.seen else ""
    return verification, f"verified{seen}: {verification.verdict_of_search.value}"
