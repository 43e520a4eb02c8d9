"""Verification: the front and the candidates again, on pictures and seeds the search never saw.

Two comparisons, each a run of its own inside the search's folder, driven and resumed as any run:
`learning-rate` tunes plain DIP's learning rate on the search's pictures, `verification` then
trains everything on the held-out ones. What they hold is fixed by `verification.yaml`, which is
written first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.images import Picture
from dipstage.interrupts import terminable
from search.experiment.candidate import Candidate
from search.store.lease import leased
from search.store.paths import path_exists, remove_tree, verification_path
from search.store.records import Trial
from search.store.run import RunRecord
from search.store.study import delete_study, load_study
from search.verification.plan import (
    HELD_OUT,
    TUNING,
    Request,
    begin,
    held_out_experiment,
    tuning_experiment,
)
from search.verification.schedules import held_out_candidates, plain_candidates

if TYPE_CHECKING:
    from search.execution.view import View
    from search.experiment.model import Experiment

NEAR_DB = 0.05
"""Learning rates whose max PSNR_GT is this near the best are told apart by their steps."""


def verify(
    run: RunRecord,
    request: Request,
    *,
    address: str | None = None,
    view: View,
    accept_changes: bool = False,
) -> None:
    """Begin or go on with the verification of a run, and wait for its end.

    accept_changes: goes on with one that other code began.

    InputError, before anything starts, for pictures or seeds that the search has seen, for a
    request that differs from a verification that has begun, and for a run with nothing to verify.
    """
    with leased(run.storage, f"{run.name}/verify", f"the verification of run {run.name!r}"):
        plan, held_out = begin(run, request)
        if not request.restart and is_finished(run):
            return
        from search.execution import driver
        from search.execution.cluster import ray_cluster
        from search.execution.resources import resources_of

        driver.refuse_missing_loggers(run.experiment, run.folder)
        own = driver.unchanged_pictures(run, run.experiment)
        for picture in held_out.values():
            for notice in picture.notices:
                view.note(notice)
        with terminable(), ray_cluster(address), terminable():
            resources_of(run.experiment, can_grow=address is not None)
            # Nothing is discarded or begun before there is a cluster to run it on.
            if request.restart:
                _discard(run)
            write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
            tuned = _make(
                run, TUNING, tuning_experiment(run),
                own, plain_candidates(plan),
            )  # fmt: skip
            if not _has_ended(tuned):
                tuned = driver.drive(
                    tuned, address=address, view=view, accept_changes=accept_changes
                )
            main = _make(
                run, HELD_OUT, held_out_experiment(run, plan),
                held_out, held_out_candidates(run, plan, tuned_trial(tuned)),
            )  # fmt: skip
            driver.drive(main, address=address, view=view, accept_changes=accept_changes)


def part(run: RunRecord, name: str) -> RunRecord | None:
    """One of the two comparisons; None where it has not begun."""
    folder = run.folder / name
    if not path_exists(folder / "experiment.yaml"):
        return None
    if run.address is not None:
        study = load_study(run.storage, _study_name(run, name))
        return RunRecord(folder, study, run.storage, run.address)
    return RunRecord.at(folder, _study_name(run, name), run.address)


class Parts:
    """The two comparisons of a run that is followed: opened again only where they began anew."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._opened: dict[str, tuple[float, RunRecord]] = {}

    def open(self, name: str) -> RunRecord | None:
        """As `part`."""
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


def _study_name(run: RunRecord, name: str) -> str:
    """A name that no run can have, as `/` is no part of one."""
    return f"{run.name}/{name}"


def is_finished(run: RunRecord) -> bool:
    """Whether both comparisons are there and every trial of them has ended."""
    for name in (TUNING, HELD_OUT):
        made = part(run, name)
        if made is None or not _has_ended(made):
            return False
    return True


def _has_ended(made: RunRecord) -> bool:
    records = made.records()
    return len(records) >= made.candidates_wanted and all(t.state != "running" for t in records)


def tuned_trial(tuned: RunRecord) -> Trial:
    """Plain DIP at the learning rate that suits it: of those near the best max PSNR_GT, the one
    with the fewest steps. InputError if none is complete.
    """
    trials = [trial for trial in tuned.records() if trial.values is not None]
    if not trials:
        failures = "; ".join(f"{t.name}: {t.failure}" for t in tuned.records())
        raise InputError(f"plain DIP failed at every learning rate: {failures}")
    best = max(trial.score.max_psnr_gt_db for trial in trials)
    near = [trial for trial in trials if trial.score.max_psnr_gt_db >= best - NEAR_DB]
    return min(near, key=lambda trial: (trial.score.steps_to_max, -trial.score.max_psnr_gt_db))


def _discard(run: RunRecord) -> None:
    (run.folder / "verification.csv").unlink(missing_ok=True)
    for name in (HELD_OUT, TUNING):
        folder = run.folder / name
        if folder.exists():
            # Without its experiment it is no run: a discard that is cut off leaves none.
            (folder / "experiment.yaml").unlink(missing_ok=True)
            remove_tree(folder)
    verification_path(run.folder).unlink(missing_ok=True)


def _make(
    run: RunRecord,
    name: str,
    experiment: Experiment,
    pictures: dict[str, Picture],
    candidates: list[Candidate],
) -> RunRecord:
    """The comparison, made now or by a driver before."""
    from search.execution import driver

    made = part(run, name)
    if made is not None:
        return made
    if run.address is not None:
        # Left by a discard.
        delete_study(run.storage, _study_name(run, name))
    digests = {label: picture.digest for label, picture in pictures.items()}
    named = experiment.model_copy(update={"candidates": [c.name for c in candidates]})
    study = _study_name(run, name)
    driver.create(named, run.folder / name, run.address, digests, candidates, study)
    made = part(run, name)
    assert made is not None
    return made
