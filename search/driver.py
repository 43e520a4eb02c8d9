"""The driver: starting a search, going on with one, its checks and its end."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from dipstage.documents import write_whole
from dipstage.errors import InputError
from dipstage.images import expand
from search.experiment import Experiment
from search.paths import run_folder
from search.prepare import Candidate, load_candidates, load_pictures
from search.progress import Quiet, View
from search.run import Run
from search.study import Ledger, create_study, delete_study, open_storage

if TYPE_CHECKING:
    from search.trial import Setting


def launch(
    experiment: Experiment,
    *,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> Run:
    """Start a search and wait for its end.

    storage: a database address for Optuna; SQLite in the run's folder where there is none.
    address: of a running Ray cluster; a local one is started where there is none.
    InputError, before anything starts, for a run that exists and for anything that is wrong with
    the experiment, its pictures, its candidates or the resources it wants.
    """
    runs_dir = Path(runs_dir)
    folder = run_folder(experiment.name, runs_dir)
    if folder.exists() and not (folder / "experiment.yaml").exists():
        raise InputError(f"{folder} is no run but exists: remove it, or choose another --name")
    if folder.exists():
        raise InputError(
            f"run {experiment.name!r} exists in {runs_dir}: go on with it by "
            f"dipsearch resume {experiment.name}, or choose another --name"
        )
    experiment = experiment.model_copy(update={"images": expand(experiment.images)})
    pictures = load_pictures(experiment)
    candidates = load_candidates(experiment)
    digests = {label: picture.digest for label, picture in pictures.items()}

    view = view or Quiet()
    for picture in pictures.values():
        for notice in picture.notices:
            view.note(notice)

    from search import tuning

    with terminable(), tuning.ray_cluster(address), terminable():
        tuning.resources_of(experiment)
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
    """Make a run that no driver has touched yet: its folder and its study, both or neither."""
    url = storage or os.environ.get("DIPSEARCH_STORAGE") or None
    # Made aside and renamed, so that a run that exists can always be resumed.
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, aside, ignore_errors=True)
        try:
            (aside / "curves").mkdir(parents=True)
            write_whole(aside / "experiment.yaml", experiment.yaml())
            opened = open_storage(aside, url, create=True)
            create_study(opened, experiment, digests, candidates, name)
            undo.callback(delete_study, opened, name or experiment.name)
            aside.rename(folder)
        except OSError as error:
            raise InputError(
                f"--runs-dir {folder.parent} cannot be written: {error.strerror}"
            ) from None
        undo.pop_all()
    opened.engine.dispose()


def resume(
    name: str,
    *,
    trials: int | None = None,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> Run:
    """Go on with a run, whatever ended it, to `trials` sampled trials; waits for the end.

    InputError if the run does not exist, if another driver holds it, if a picture has changed
    since, or if it already has more trials than `trials`.
    """
    run = Run.open(name, runs_dir, storage)
    drive(run, trials=trials, address=address, view=view or Quiet())
    return run


def drive(run: Run, *, trials: int | None = None, address: str | None, view: View) -> None:
    """Be the run's driver until nothing is left to do; see `resume`."""
    lock = run.lock
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"run {run.name!r} has a driver that is alive: wait for it to end"
        ) from None
    try:
        trials = run.trials_wanted if trials is None else trials
        _refuse_fewer(run, trials)
        setting = _setting(run)
        run.study.set_user_attr("trials", trials)
        ledger = Ledger(run.study, run.experiment, list(setting.replicates))
        if not ledger.finished:
            from search import tuning

            # Twice: Ray puts a handler of its own in place when it starts.
            with terminable(), tuning.ray_cluster(address), terminable():
                tuning.tune_trials(run, ledger, setting, view)
        view.end(run)
    finally:
        lock.release()


def _refuse_fewer(run: Run, trials: int) -> None:
    if trials < run.trials_wanted:
        raise InputError(
            f"--trials must be at least the {run.trials_wanted} that run {run.name!r} was asked "
            f"for, got {trials}"
        )
    if trials > run.trials_wanted and run.experiment.space is None:
        raise InputError(f"run {run.name!r} has no space to sample from: --trials cannot be raised")


def _setting(run: Run) -> Setting:
    from search.trial import Setting

    experiment = run.experiment
    pictures = load_pictures(experiment)
    digests = run.study.user_attrs["pictures"]
    for label, picture in pictures.items():
        if digests.get(label) != picture.digest:
            raise InputError(
                f"picture {picture.name!r} is not what it was when run {run.name!r} began: "
                "restore it, or launch a new run"
            )
    return Setting(
        pictures=pictures,
        seeds=tuple(experiment.seeds),
        sigma_255=experiment.task.sigma_255,
        trainer=experiment.trainer,
        objective=experiment.objective,
        cpus=experiment.resources.cpus_per_trial,
        gpu=False,
    )


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the search as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
