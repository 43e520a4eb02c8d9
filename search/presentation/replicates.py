"""Rows of all replicates of a run, its confirmation and its verification."""

from __future__ import annotations

from typing import Any

from search.analysis.trial_rows import replicate_rows
from search.store.run import RunRecord
from search.verification.parts import CONFIRMATION, HELD_OUT, TUNING, part


def rows_of_replicates(run: RunRecord) -> list[dict[str, Any]]:
    """Return a row for each replicate of a run, its confirmation and its verification."""
    parts = (part(run, name) for name in (CONFIRMATION, TUNING, HELD_OUT))
    return [
        {"run": made.name, "role": roles.get(trial.name, "sampled"), **cells}
        for made in (run, *filter(None, parts))
        for roles in ({each.name: each.role for each in made.attributes.candidates},)
        for trial in made.records()
        for cells in replicate_rows(trial)
    ]
