"""All runs of a folder, and of a database, each as one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from dipstage.errors import InputError, WorkError, brief
from search.analysis.status import Status, status_of
from search.store.folders import path_exists, size_bytes
from search.store.paths import find_runs, verification_path
from search.store.run import RunRecord
from search.store.storage import PatientStorage, open_storage
from search.store.study import load_study

State: TypeAlias = Literal[
    "searching", "confirming", "verifying", "unfinished", "finished", "unreadable"
]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in one row; times are local, with their zone, and counts include candidates.

    Args:
        folder: Folder of the run; None if only the database has it.
        state: What a driver does at present, or else whether trials are left to do.
        verdict: Verdict of the search as a whole; `unfinished` for a verification that has begun.
        began: When the first trial began.
        changed: When a trial began or ended last.
        bytes: Size of the folder, links not followed.
        problem: Why the run is unreadable.
        best_words: Objectives of the best trial, as this run shows them.
    """

    name: str
    folder: str | None
    state: State
    trials: int | None = None
    wanted: int | None = None
    best: str | None = None
    best_max_psnr_gt_db: float | None = None
    best_steps_to_max: float | None = None
    front: int | None = None
    verdict: str | None = None
    began: str | None = None
    changed: str | None = None
    bytes: int | None = None
    problem: str | None = None
    best_words: str | None = None


def run_rows(runs_dir: Path, address: str | None) -> Iterator[RunRow]:
    """Yield the runs of a folder, then those of a database that have no folder there.

    Args:
        runs_dir: Folder of runs.
        address: Address of a database; None means that each study is in its run's folder.

    Raises:
        InputError: If the database cannot be opened.
    """
    database = None if address is None else open_storage(runs_dir, address)
    known: set[str] = set()
    for folder in find_runs(runs_dir):
        known.add(folder.name)
        yield _row(folder.name, folder, database, address)
    if database is not None:
        names = sorted(study.study_name for study in database.get_all_studies())
        for name in names:
            if "/" not in name and name not in known:
                yield _row(name, None, database, address, runs_dir)


def _row(
    name: str,
    folder: Path | None,
    database: PatientStorage | None,
    address: str | None,
    runs_dir: Path | None = None,
) -> RunRow:
    where, size = None if folder is None else str(folder), None
    try:
        size = None if folder is None else size_bytes(folder)
        if folder is not None and (path_exists(folder / "study.db") or database is None):
            run = RunRecord.inside(folder, name)
        else:
            assert database is not None
            home = folder if folder is not None else Path(str(runs_dir)) / name
            run = RunRecord(home, load_study(database, name), database, address)
        trials = run.records()
        status = status_of(run, trials)
        times = [time for t in trials for time in (t.started, t.ended) if time is not None]
        return RunRow(
            name, where, _state(run, status), status.done, status.wanted, status.best,
            status.best_max_psnr_gt_db, status.best_steps_to_max, status.front,
            _verdict(run), _stamp(min(times, default=None)), _stamp(max(times, default=None)), size,
            best_words=status.best_words,
        )  # fmt: skip
    except (InputError, WorkError) as error:
        problem = str(error)
    except Exception as error:  # Whatever is wrong with one run, the others are listed.
        problem = f"run {name!r} cannot be read ({type(error).__name__}: {brief(error)})"
    return RunRow(name, where, "unreadable", bytes=size, problem=problem)


def _state(run: RunRecord, status: Status) -> State:
    if run.driver() is not None:
        return "searching"
    from search.verification.parts import CONFIRMATION, HELD_OUT, TUNING, part, verifier

    doing: dict[str, State] = {
        CONFIRMATION: "confirming", TUNING: "verifying", HELD_OUT: "verifying"
    }  # fmt: skip
    for name, state in doing.items():
        if (made := part(run, name)) is not None and made.driver() is not None:
            return state
    if verifier(run) is not None:  # No part has begun, or it is between two.
        return "verifying"
    return "finished" if status.done >= status.wanted else "unfinished"


def _verdict(run: RunRecord) -> str | None:
    if not path_exists(verification_path(run.folder)):
        return None
    from search.verification.result import Verification

    verification = Verification.open(run)
    return "unfinished" if verification is None else verification.verdict_of_search.value


def _stamp(time: datetime | None) -> str | None:
    # Optuna stores times in local time without a time zone.
    return None if time is None else time.astimezone().isoformat(timespec="seconds")
