"""The driver: starting a search, going on with one, its checks and its end."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.images import Picture, expand
from dipstage.interrupts import terminable
from search.execution.ledger import Ledger
from search.execution.view import Quiet, View
from search.experiment.candidate import Candidate
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures
from search.store.attributes import write
from search.store.changes import adopt_changes, record_changes
from search.store.lease import Lease, leased
from search.store.paths import brief, is_remote, run_folder, runs_path
from search.store.run import RunRecord
from search.store.storage import PatientStorage, open_storage, storage_address
from search.store.study import clear_leftover, create_study, load_study

if TYPE_CHECKING:
    from search.execution.trainable import Setting


def launch(
    experiment: Experiment,
    *,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> RunRecord:
    """Start a search and wait for its end.

    runs_dir: a folder, or an address on object storage.
    storage: a database address for Optuna; SQLite in the run's folder where there is none.
    address: of a running Ray cluster; a local one is started where there is none.

    InputError, before anything starts, for a run that exists and for anything that is wrong with
    the experiment, its pictures, its candidates or the resources it wants. WorkError if something
    ends the search before its time; a resume goes on.
    """
    runs_dir = runs_path(runs_dir)
    folder = run_folder(experiment.name, runs_dir)
    if (folder / "experiment.yaml").exists():
        raise InputError(
            f"run {experiment.name!r} exists in {runs_dir}: go on with it by "
            f"dipsearch resume {experiment.name}, or choose another --name"
        )
    if folder.exists() and not is_remote(folder):
        raise InputError(f"{folder} is no run but exists: remove it, or choose another --name")
    experiment = experiment.model_copy(update={"images": expand(experiment.images)})
    pictures = load_pictures(experiment)
    candidates = load_candidates(experiment)
    refuse_missing_loggers(experiment, folder)
    digests = {label: picture.digest for label, picture in pictures.items()}

    view = view or Quiet()
    for picture in pictures.values():
        for notice in picture.notices:
            view.note(notice)

    from search.execution.cluster import ray_cluster
    from search.execution.resources import resources_of

    with terminable(), ray_cluster(address), terminable():
        resources_of(experiment, can_grow=address is not None)
        create(experiment, folder, storage, digests, candidates)
        return resume(
            experiment.name, runs_dir=runs_dir, storage=storage, address=address, view=view
        )


def create(
    experiment: Experiment,
    folder: Path,
    storage: str | None,
    digests: dict[str, str],
    candidates: list[Candidate],
    name: str | None = None,
) -> None:
    """Make a run that no driver has touched yet: its folder and its study, both or neither.

    name: of the study, by default the experiment's.
    """
    address, name = storage_address(storage), name or experiment.name

    def make_study(storage: PatientStorage) -> None:
        clear_leftover(storage, name)
        create_study(storage, experiment, digests, candidates, name)

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
            # A study without this mark is a leftover, which the next launch clears away.
            write(load_study(opened, name), made=True)
        opened.engine.dispose()
    except OSError as error:
        raise InputError(f"--runs-dir {folder.parent} cannot be written: {brief(error)}") from None


@contextmanager
def _folder_aside(experiment: Experiment, folder: Path) -> Iterator[Path]:
    """A new run's folder, which gets its name at the end of the block; yields where it lies first.

    On object storage nothing can be renamed; a run is there as soon as its experiment is.
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


def resume(
    name: str,
    *,
    trials: int | None = None,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
    experiment: Experiment | None = None,
    accept_changes: bool = False,
) -> RunRecord:
    """Go on with a run, whatever ended it, to `trials` sampled trials; waits for the end.

    experiment: the experiment again, where its pictures have moved.
    accept_changes: goes on with other resources, racing, sampling or code than the run began with.

    InputError if the run does not exist, if another driver holds it, if a picture or what else
    gives its numbers their meaning has changed since, or if it already has more trials than
    `trials`. WorkError as in `launch`.
    """
    run = RunRecord.open(name, runs_dir, storage)
    return drive(
        run, trials=trials, address=address, view=view or Quiet(),
        given=experiment, accept_changes=accept_changes,
    )  # fmt: skip


def drive(
    run: RunRecord,
    *,
    trials: int | None = None,
    address: str | None,
    view: View,
    given: Experiment | None = None,
    accept_changes: bool = False,
) -> RunRecord:
    """Be the run's driver until nothing is left to do; see `resume`."""
    with leased(run.storage, run.study.study_name, f"run {run.name!r}") as lease:
        experiment, changes = adopt_changes(run, given, accept=accept_changes)
        trials = run.trials_wanted if trials is None else trials
        _refuse_fewer(run, trials)
        setting = _setting(run, experiment)
        refuse_missing_loggers(experiment, run.folder)
        record_changes(run, experiment, changes)
        run = run.reread()
        write(run.study, trials=trials)
        if not run.attributes.made:
            write(run.study, made=True)
        _work(run, lease, setting, address, view)
        view.end(run)
        return run


def _work(run: RunRecord, lease: Lease, setting: Setting, address: str | None, view: View) -> None:
    ledger = Ledger(run.study, run.experiment, list(setting.replicates))
    if not ledger.finished:
        from search.execution.cluster import ray_cluster
        from search.execution.tuning import tune_trials

        # Twice: Ray puts a handler of its own in place when it starts.
        with terminable(), ray_cluster(address), terminable():
            tune_trials(run, ledger, setting, view, lease, can_grow=address is not None)


def _refuse_fewer(run: RunRecord, trials: int) -> None:
    if trials < run.trials_wanted:
        raise InputError(
            f"--trials must be at least the {run.trials_wanted} that run {run.name!r} was asked "
            f"for, got {trials}"
        )
    if trials > run.trials_wanted and run.experiment.space is None:
        raise InputError(f"run {run.name!r} has no space to sample from: --trials cannot be raised")


def refuse_missing_loggers(experiment: Experiment, folder: Path) -> None:
    """InputError for a logger that is asked for and cannot be had."""
    if experiment.logging.wanted:
        from search.execution.loggers import refuse_missing

        refuse_missing(experiment.logging, folder)


def _setting(run: RunRecord, experiment: Experiment) -> Setting:
    from search.execution.trainable import Setting

    return Setting(
        pictures=unchanged_pictures(run, experiment),
        seeds=tuple(experiment.seeds),
        sigma_255=experiment.task.sigma_255,
        trainer=experiment.trainer,
        objective=experiment.objective,
        cpus=1,  # These two are chosen when the cluster is known.
        device="cpu",
    )


def unchanged_pictures(run: RunRecord, experiment: Experiment) -> dict[str, Picture]:
    """The pictures of a run; InputError if one is not what it was when the run began."""
    pictures = load_pictures(experiment)
    digests = run.attributes.pictures
    if list(pictures) != list(digests):
        raise InputError(
            f"run {run.name!r} began with the pictures {', '.join(digests)}, not "
            f"{', '.join(pictures)}: restore them, or launch a new run"
        )
    for label, picture in pictures.items():
        if digests[label] != picture.digest:
            raise InputError(
                f"picture {picture.name!r} is not what it was when run {run.name!r} began "
                f"(SHA-256 {digests[label][:12]}… → {picture.digest[:12]}…): restore it, or "
                "launch a new run"
            )
    return pictures
