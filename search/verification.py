"""Verification: the front and the candidates again, on pictures and seeds the search never saw.

Two comparisons, each a run of its own inside the search's folder, driven and resumed as any run:
`learning-rate` tunes plain DIP's learning rate on the search's pictures, `verification` then
trains everything on the held-out ones. What they hold is fixed by `verification.yaml`, which is
written first.
"""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from dipstage.documents import write_whole, yaml_text
from dipstage.errors import InputError
from dipstage.images import Picture
from dipstage.records import to_plain
from search.paths import verification_path
from search.prepare import Candidate, load_pictures
from search.run import Run, Trial
from search.study import delete_study, open_storage
from search.verification_plan import (
    HELD_OUT,
    TUNING,
    Request,
    begin,
    held_out_experiment,
    tuning_experiment,
)
from search.verification_schedules import held_out_candidates, plain_candidates

if TYPE_CHECKING:
    from search.experiment import Experiment
    from search.progress import View

NEAR_DB = 0.05
"""Learning rates whose max PSNR_GT is this near the best are told apart by their steps."""


def verify(run: Run, request: Request, *, address: str | None = None, view: View) -> None:
    """Begin or go on with the verification of a run, and wait for its end.

    InputError, before anything starts, for pictures or seeds that the search has seen, for a
    request that differs from a verification that has begun, and for a run with nothing to verify.
    """
    lock = FileLock(run.folder / "verification.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"run {run.name!r} is being verified: wait for it to end") from None
    try:
        plan, held_out = begin(run, request)
        if not request.restart and is_finished(run):
            return
        from search import driver, tuning

        with driver.terminable(), tuning.ray_cluster(address), driver.terminable():
            tuning.resources_of(run.experiment)
            # Nothing is discarded or begun before there is a cluster to run it on.
            if request.restart:
                _discard(run)
            write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
            tuned = _make(
                run, TUNING, tuning_experiment(run),
                load_pictures(run.experiment), plain_candidates(plan),
            )  # fmt: skip
            driver.drive(tuned, address=address, view=view)
            main = _make(
                run, HELD_OUT, held_out_experiment(run, plan),
                held_out, held_out_candidates(run, plan, tuned_trial(tuned)),
            )  # fmt: skip
            driver.drive(main, address=address, view=view)
    finally:
        lock.release()


def part(run: Run, name: str) -> Run | None:
    """One of the two comparisons; None where it has not begun."""
    folder = run.folder / name
    if not (folder / "experiment.yaml").is_file():
        return None
    return Run.at(folder, _study_name(run, name), run.storage)


def _study_name(run: Run, name: str) -> str:
    """A name that no run can have, as `/` is no part of one."""
    return f"{run.name}/{name}"


def is_finished(run: Run) -> bool:
    """Whether both comparisons are there and every trial of them has ended."""
    for name in (TUNING, HELD_OUT):
        made = part(run, name)
        if made is None:
            return False
        records = made.records()
        if len(records) < made.candidates_wanted or any(t.state == "running" for t in records):
            return False
    return True


def tuned_trial(tuned: Run) -> Trial:
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


def _discard(run: Run) -> None:
    """Each folder is renamed before anything in it goes, so that a cut-off discard leaves none."""
    (run.folder / "verification.csv").unlink(missing_ok=True)
    for name in (HELD_OUT, TUNING):
        folder = run.folder / name
        if folder.exists():
            aside = folder.with_name(f".{name}.{uuid.uuid4().hex}")
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
    verification_path(run.folder).unlink(missing_ok=True)


def _make(
    run: Run,
    name: str,
    experiment: Experiment,
    pictures: dict[str, Picture],
    candidates: list[Candidate],
) -> Run:
    """The comparison, made now or by a driver before."""
    from search import driver

    made = part(run, name)
    if made is not None:
        return made
    if run.storage is not None:
        # Left by a discard, or by a driver that died before the folder was there.
        delete_study(open_storage(run.folder, run.storage), _study_name(run, name))
    digests = {label: picture.digest for label, picture in pictures.items()}
    named = experiment.model_copy(update={"candidates": [c.name for c in candidates]})
    study = _study_name(run, name)
    driver.create(named, run.folder / name, run.storage, digests, candidates, study)
    made = part(run, name)
    assert made is not None
    return made
