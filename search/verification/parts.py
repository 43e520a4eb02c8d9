"""The comparisons that a verification consists of, each a run inside the search's folder."""

from __future__ import annotations

from search.store.folders import path_exists
from search.store.lease import Holder, holder, verifying
from search.store.records import Trial
from search.store.run import RunRecord
from search.store.study import load_study

CONFIRMATION, TUNING, HELD_OUT = "confirmation", "learning-rate", "verification"
"""Folders of the comparisons. `learning-rate` holds the tuning of plain DIP, as in version 0.1."""


def study_name(run: RunRecord, name: str) -> str:
    """Return the name of a part's study; no run can have it, because it contains a `/`."""
    return f"{run.name}/{name}"


def part(run: RunRecord, name: str) -> RunRecord | None:
    """Return one of the comparisons; None if it has not begun."""
    folder = run.folder / name
    if not path_exists(folder / "experiment.yaml"):
        return None
    if run.address is not None:
        study = load_study(run.storage, study_name(run, name))
        return RunRecord(folder, study, run.storage, run.address)
    return RunRecord.inside(folder, study_name(run, name))


def verifier(run: RunRecord) -> Holder | None:
    """Return the process that confirms or verifies a run, also between its parts; None if none."""
    return holder(run.storage, verifying(run.study.study_name))


def has_ended(made: RunRecord) -> bool:
    """Return whether all trials of a comparison have ended."""
    records = made.records()
    return len(records) >= made.candidates_wanted and all(t.state != "running" for t in records)


def has_scores(made: RunRecord) -> bool:
    """Return whether a comparison has any results, which can be read before it has ended."""
    return any(trial.replicates or trial.state != "running" for trial in made.records())


def is_finished(run: RunRecord) -> bool:
    """Return whether the tuning and the held-out comparison have ended."""
    return all((made := part(run, name)) and has_ended(made) for name in (TUNING, HELD_OUT))


def failed_after(trial: Trial, replicates: int) -> str:
    """Return how far a trial came that failed, in words.

    replicates: How many it was to have.
    """
    return f"{trial.name} failed after {len(trial.replicates)} of {replicates} replicates"


class Parts:
    """The comparisons of a run that is followed; they are opened again if they began anew."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._opened: dict[str, tuple[float, RunRecord]] = {}

    def open(self, name: str) -> RunRecord | None:
        """Return one of the comparisons; None if it has not begun."""
        path = self._run.folder / name / "experiment.yaml"
        if not path_exists(path):
            return None
        made = path.stat().st_mtime
        if name not in self._opened or self._opened[name][0] != made:
            found = part(self._run, name)
            if found is None:
                return None
            self._opened[name] = made, found
        return self._opened[name][1]
