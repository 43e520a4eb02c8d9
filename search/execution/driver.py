"""The driver of a search: it starts or continues a run, checks it and waits for its end."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.arguments import check_whole
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError, brief
from dipstage.interrupts import terminable
from dipstage.tasks.registry import notices_of
from search.analysis.censoring import cuts_off
from search.execution.custom import installed
from search.execution.learning import learn
from search.execution.ledger import Ledger
from search.execution.logging_wanted import refuse_missing_loggers
from search.execution.view import Quiet, View
from search.experiment.candidate import Candidate
from search.experiment.model import MAX_HOURS, MAX_TRIALS, Experiment, Resources
from search.experiment.prepare import (
    expanded,
    load_candidates,
    load_pictures,
    loaded_task,
    refuse_early_end,
)
from search.store.attributes import Learned, write
from search.store.changes import (
    Change,
    adopt_changes,
    record_changes,
    refuse_changed_files,
    unchanged_pictures,
    without_effect,
)
from search.store.database_address import storage_address
from search.store.folders import is_remote
from search.store.lease import Lease, leased
from search.store.paths import named, refuse_unwritable, run_folder, runs_path
from search.store.run import RunRecord
from search.store.storage import PatientStorage, check_storage, open_storage
from search.store.study import clear_leftover, create_study, load_study
from search.store.suggested import run_words

if TYPE_CHECKING:
    from search.execution.training import Setting


def launch(
    experiment: Experiment,
    *,
    runs_dir: Path | str | None = None,
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> RunRecord:
    """Start a search and wait for its end; see `search.launch`."""
    refuse_no_address(address)
    refuse_early_end(experiment)
    view, runs_dir = view or Quiet(), runs_path(runs_dir)
    folder = run_folder(experiment.name, runs_dir)
    refuse_unwritable(runs_dir)
    if (folder / "experiment.yaml").exists():
        raise InputError(
            f"run {experiment.name!r} exists in {runs_dir}: continue it with "
            f"dipsearch resume {run_words(folder)}, or choose another --name"
        )
    if not is_remote(folder) and os.path.lexists(folder):
        raise InputError(f"{folder} exists but is not a run: remove it, or choose another --name")
    storage = storage_address(storage)
    if storage is not None or is_remote(folder):
        check_storage(folder, storage)
    experiment = experiment.model_copy(update={"images": expanded(experiment.images)})
    pictures = load_pictures(experiment)
    candidates = load_candidates(experiment)
    learned = learn(experiment, candidates, runs_dir, storage)
    refuse_missing_loggers(experiment, folder)
    installed(experiment.objective)
    for notice in (
        constraints_notice(experiment),
        *(notice for picture in pictures.values() for notice in picture.notices),
        *notices_of(loaded_task(experiment)),
        *(f"{each.name}: {each.origin}" for each in candidates if each.origin),
        *(
            f"the sampler learns from {len(each.points)} trials of {each.run}"
            for each in learned
            if each.points
        ),
        cuts_off(experiment.trainer),
        racing_notice(experiment, len(pictures) * len(experiment.seeds)),
    ):
        if notice is not None:
            view.note(notice)
    digests = {label: picture.digest for label, picture in pictures.items()}

    from search.execution.cluster import ray_cluster
    from search.execution.resources import resources_of

    with terminable(), ray_cluster(address, view=view), terminable():
        resources_of(experiment, can_grow=address is not None)
        create(experiment, folder, storage, digests, candidates, learned=learned)
        run = RunRecord.open(experiment.name, runs_dir, storage)
        return drive(run, address=address, view=view)


def refuse_no_address(address: str | None) -> None:
    """Raise InputError if the address of a cluster is given but is none."""
    if address is not None and (not isinstance(address, str) or not address.strip()):
        raise InputError(f"--address must be that of a Ray cluster, got {address!r}: leave it out")


def constraints_notice(experiment: Experiment) -> str | None:
    """Return a notice if the sampler does not see the constraints that there are."""
    sampler = experiment.search.sampler
    if not experiment.objective.limits or sampler not in ("random", "qmc"):
        return None
    return (
        f"the sampler {sampler} does not learn from constraints: they only decide which trials are "
        "feasible"
    )


def racing_notice(experiment: Experiment, replicates: int) -> str | None:
    """Return a notice if racing is asked for but can stop no trial of so many replicates."""
    racing, is_asked_for = experiment.racing, "racing" in experiment.model_fields_set
    is_off = not racing.enabled or not experiment.search.trials
    if not is_asked_for or is_off or racing.can_stop(replicates):
        return None
    return (
        f"racing.min_replicates is {racing.min_replicates} and a trial has {replicates} "
        f"replicate{'s' * (replicates > 1)}: no trial is stopped early"
    )


def create(
    experiment: Experiment,
    folder: Path,
    address: str | None,
    digests: dict[str, str],
    candidates: list[Candidate],
    name: str | None = None,
    learned: Sequence[Learned] = (),
) -> None:
    """Create a new run: both its folder and its study, or neither.

    Args:
        folder: Folder of the run, which does not exist yet.
        address: Address of a database; None means SQLite in the folder, whatever the environment
            says, as for the parts of a run whose own study is there.

    The other arguments are those of `create_study`.

    Raises:
        InputError: If the folder cannot be written, or if the storage has a study of this name.
    """
    name = name or experiment.name

    def make_study(storage: PatientStorage) -> None:
        clear_leftover(storage, name)
        create_study(storage, experiment, digests, candidates, name, learned)

    try:
        if address is None:
            with _folder_aside(experiment, folder) as aside:
                opened = open_storage(aside, None, create=True)
                make_study(opened)
                opened.engine.dispose()
            return
        opened = open_storage(folder, address, create=True)
        with leased(opened, name, f"run {name!r}"):
            make_study(opened)
            with _folder_aside(experiment, folder):
                pass
            # The next launch removes a study without this mark as a leftover.
            write(load_study(opened, name), made=True)
        opened.engine.dispose()
    except OSError as error:
        if address is None and (folder / "experiment.yaml").exists():
            raise InputError(
                f"run {name!r} exists in {folder.parent}, another launch has just made it: "
                f"continue it with dipsearch resume {run_words(folder)}, or choose another --name"
            ) from None
        raise InputError(f"{named(folder.parent)} cannot be written: {brief(error)}") from None


@contextmanager
def _folder_aside(experiment: Experiment, folder: Path) -> Iterator[Path]:
    """Yield a temporary folder for a new run, which gets its final name at the end of the block.

    On object storage nothing can be renamed. There a run exists once its experiment file does.
    """
    if is_remote(folder):
        yield folder
        write_whole(folder / "experiment.yaml", experiment.yaml())
        return
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        (aside / "curves").mkdir(parents=True)
        write_whole(aside / "experiment.yaml", experiment.yaml())
        yield aside
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def drive(
    run: RunRecord,
    *,
    trials: int | None = None,
    hours: float | None = None,
    address: str | None,
    view: View | None = None,
    given: Experiment | None = None,
    accept_changes: bool = False,
    resources: Resources | None = None,
) -> RunRecord:
    """Drive a run until nothing is left to do; see `search.resume`.

    Args:
        run: The run to drive.
        trials: Total number of sampled trials; by default the number last asked for.
        hours: Total of `search.hours`; by default those last asked for.
        address: Address of a running Ray cluster; None starts a local one.
        view: Display of the progress; by default nothing is shown.
        given: The experiment with new paths, if its pictures have moved.
        accept_changes: Whether to continue with changed settings or code.
        resources: The hardware to continue on; by default that of the experiment.

    Raises:
        InputError: If another driver holds the run, if it already has more trials, or if a picture
            or a setting that affects its numbers has changed.
        WorkError: If the search ends early.
    """
    view = view or Quiet()
    refuse_no_address(address)
    with leased(run.storage, run.study.study_name, f"run {run.name!r}") as lease:
        experiment, changes = adopt_changes(run, given, accept=accept_changes, resources=resources)
        totals = {"search.trials": trials, "search.hours": hours}
        keys = without_effect(given, experiment) if given is not None else []
        if keys := [key for key in keys if totals.get(key) is None]:
            view.note(
                "only the pictures and the files of the task are taken from the "
                f"experiment that was given, which also differs in {', '.join(keys)}"
            )
        asked = trials is not None or hours is not None
        trials = run.trials_wanted if trials is None else trials
        check_whole("--trials", trials)
        trials = int(trials)  # NumPy's are no JSON.
        _refuse_trials(run, trials)
        _refuse_no_hours(hours)
        setting = _setting(run, experiment)
        refuse_missing_loggers(experiment, run.folder)

        done = sum(trial.state != "running" for trial in run.records())
        is_over = run.attributes.ended is not None and not asked
        if is_over or done >= trials + run.candidates_wanted:
            run = _begun(run, experiment, changes, trials, hours, reopens=asked)
        else:
            from search.execution.cluster import ray_cluster
            from search.execution.resources import resources_of

            installed(experiment.objective)
            # Twice, because Ray installs its own signal handler when it starts.
            with terminable(), ray_cluster(address, view=view), terminable():
                can_grow, cores = address is not None, run.attributes.cores
                resources_of(experiment, can_grow=can_grow, cores=cores)
                lease.check()
                run = _begun(run, experiment, changes, trials, hours, reopens=asked)
                _work(run, lease, setting, view, can_grow=can_grow)
        view.end(run)
        return run


def _begun(
    run: RunRecord, experiment: Experiment, changes: list[Change], trials: int,
    hours: float | None, *, reopens: bool,
) -> RunRecord:  # fmt: skip
    """Write down what was asked for, once nothing can refuse it any more."""
    record_changes(run, experiment, changes)
    changed = run.reread()
    write(changed.study, trials=trials)
    if hours is not None:
        write(changed.study, hours=hours)
    if reopens and changed.attributes.ended is not None:
        ended = sum(t.ended is not None and t.candidate is None for t in changed.records())
        write(changed.study, ended=None, gain_from=ended)
    if not changed.attributes.made:
        write(changed.study, made=True)
    return changed


def conclude(run: RunRecord) -> None:
    """End a search before its last trial, without training; see `dipsearch resume --finish`.

    A trial that was under way keeps its finished replicates, and goes on if the search does.

    Raises:
        InputError: If another driver holds the run, or if no trial is complete.
    """
    with leased(run.storage, run.study.study_name, f"run {run.name!r}"):
        records = run.records()
        if not any(trial.state == "complete" for trial in records):
            raise InputError(
                f"run {run.name!r} has no complete trial, so there is nothing to conclude: "
                f"continue it with dipsearch resume {run_words(run.folder)}"
            )
        ended = sum(trial.state != "running" for trial in records)
        if run.attributes.ended is None and ended < run.trials_wanted + run.candidates_wanted:
            write(run.study, ended="--finish was asked for")


def _work(run: RunRecord, lease: Lease, setting: Setting, view: View, *, can_grow: bool) -> None:
    ledger = Ledger(run.study, run.experiment, list(setting.replicates))
    if not ledger.finished:
        from search.execution.tuning import tune_trials

        try:
            tune_trials(run, ledger, setting, view, lease, can_grow=can_grow)
        except KeyboardInterrupt:
            lease.check()
            write(run.study, driven_s=ledger.budget.driven_s)
            raise
    lease.check()
    if ledger.ended is not None:
        write(run.study, ended=ledger.ended)
    write(run.study, driven_s=ledger.budget.driven_s)


def _refuse_no_hours(hours: float | None) -> None:
    if hours is not None and (not isinstance(hours, int | float) or not 0 < hours <= MAX_HOURS):
        shown = f"{hours:g}" if isinstance(hours, int | float) else repr(hours)
        raise InputError(f"--hours must be above 0 and at most {MAX_HOURS:,}, got {shown}")


def _refuse_trials(run: RunRecord, trials: int) -> None:
    if trials < run.trials_wanted:
        raise InputError(
            f"--trials must be at least the {run.trials_wanted} that run {run.name!r} was asked "
            f"for, got {trials}"
        )
    if trials > max(MAX_TRIALS, run.trials_wanted):
        raise InputError(f"--trials must be at most {MAX_TRIALS:,}, got {trials:,}")
    if trials > run.trials_wanted and run.experiment.space is None:
        raise InputError(f"run {run.name!r} has no space to sample from: --trials cannot be raised")


def _setting(run: RunRecord, experiment: Experiment) -> Setting:
    from search.execution.training import Setting

    refuse_changed_files(run, experiment)
    return Setting(
        pictures=unchanged_pictures(run, experiment),
        seeds=tuple(experiment.seeds),
        task=loaded_task(experiment),
        trainer=experiment.trainer,
        objective=experiment.objective,
        cpus=1,  # This and the device are chosen once the cluster is known.
        device="cpu",
    )
