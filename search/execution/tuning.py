"""Ray Tune as the engine of a search: it asks the ledger for trials and passes results back."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import (  # isort: skip
    LOW_ON_MEMORY,
    end_worker,
    end_workers,
    forget_heartbeat,
    heartbeat,
    uncounted_callbacks,
    without_credentials,
    why_it_died,
)

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from tenacity import retry_if_exception_type

from dipstage.documents.whole_files import write_whole
from dipstage.errors import WorkError, brief
from search.analysis.censoring import cut_off, cuts_off
from search.execution.cost import cost_words
from search.execution.heartbeats import LOOK_S, Heartbeats
from search.execution.loggers import Logger, logged
from search.execution.resources import (
    Shares,
    replicates_together,
    resources_of,
    trials_per_gpu,
    wants_probe,
)
from search.execution.trainable import ScheduleTrial
from search.store.attributes import write
from search.store.folders import is_remote
from search.store.paths import curve_path, picture_path
from search.store.retries import patient

if TYPE_CHECKING:
    from search.execution.ledger import Ledger
    from search.execution.training import Setting
    from search.execution.view import View
    from search.store.lease import Lease
    from search.store.run import RunRecord


_UNTIL_THERE = patient(retry_if_exception_type(OSError))
"""Retries a write to object storage as long as a call to a database is retried."""


class Halt(BaseException):
    """Ends the search from within Tune, which treats any `Exception` as the failure of a trial."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def _halting() -> Iterator[None]:
    """End the search if the driver cannot write a result or must stop; no trial is to blame."""
    try:
        yield
    except WorkError as error:
        raise Halt(str(error)) from None
    except OSError as error:
        raise Halt(
            f"{error.filename or 'the run folder'} cannot be written: {brief(error)}"
        ) from None


class Unpickled:
    """An object that Tune pickles without its content, which may hold the study's address."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class StudySearcher(Unpickled, Searcher):  # type: ignore[misc]
    """Search algorithm that Tune asks for trials. The ledger holds all its state."""

    def __init__(self, run: RunRecord, ledger: Ledger, lease: Lease) -> None:
        super().__init__()
        self._run, self._ledger, self._lease = run, ledger, lease
        self._numbers: dict[str, int] = {}

    @property
    def driven_s(self) -> float:
        """Seconds that drivers of the run were active."""
        return self._ledger.budget.driven_s

    def number_of(self, trial_id: str) -> int:
        """Return the study's number of a trial that Tune is running."""
        return self._numbers[trial_id]

    @_halting()
    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial."""
        self._lease.check()
        self._ledger.check_failure_rate()
        work = self._ledger.next()
        if work is None:
            return Searcher.FINISHED if self._ledger.finished else None
        self._numbers[trial_id] = work.number
        return {"work": work, "id": trial_id}

    @_halting()
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record a finished replicate."""
        self._take(self._numbers[trial_id], result)

    @_halting()
    def is_raced(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Record a replicate, and return whether racing stops its trial.

        Tune asks this before it calls `on_trial_result`.
        """
        number = self._numbers[trial_id]
        self._take(number, result)
        return self._ledger.race(number)

    @_halting()
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Finish a trial, unless only its worker has ended."""
        if error:
            return  # Tune calls `Watch.on_trial_error` next, with the reason.
        if result is None:
            self.worker_died(trial_id, "it ended without a result")
            return
        number = self._numbers.pop(trial_id)
        self._take(number, result)
        if result.get("out_of_memory"):
            self._ledger.out_of_memory(number, result["failure"])
        else:
            self._ledger.finish(number, result.get("failure"))

    @_halting()
    def worker_died(self, trial_id: str, reason: str) -> None:
        """Return the trial to the ledger, which decides whether it is tried again."""
        self._lease.check()
        number = self._numbers.pop(trial_id)
        if LOW_ON_MEMORY in reason:
            self._ledger.out_of_memory(number, reason)
        else:
            self._ledger.died(number, reason)

    def _take(self, number: int, result: dict[str, Any]) -> None:
        """Write the files of a replicate, release their content, and record its scores."""
        self._lease.check()
        if not result.get("curves"):
            return
        [key], [replicate] = result["replicate"], result["outcome"]
        path, curves = curve_path(self._run.folder, number, key), result["curves"].pop()
        _UNTIL_THERE(write_whole, path, curves) if is_remote(path) else write_whole(path, curves)
        if result.get("pictures"):
            # A replicate is complete without its picture, which only people look at.
            with suppress(OSError):
                path = picture_path(self._run.folder, number, key)
                path.parent.mkdir(exist_ok=True)
                write_whole(path, result["pictures"].pop())
        self._lease.check()  # Object storage may have been waited for.
        self._ledger.record(number, key, replicate)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is the source of truth."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("searches go on by dipsearch resume")


class Racer(Unpickled, FIFOScheduler):  # type: ignore[misc]
    """Scheduler that stops raced trials, always between two replicates."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._controller: Any = None

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Keep Tune's controller, which is passed with every new trial."""
        self._controller = tune_controller

    def let_go(self) -> None:
        """End the workers at once; Tune leaves them running if it is interrupted."""
        if self._controller is not None:
            end_workers(self._controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on. Tune calls this for every result except the last."""
        raced = self._searcher.is_raced(trial.trial_id, result)
        return str(TrialScheduler.STOP if raced else TrialScheduler.CONTINUE)


_EVERY_S = 10.0
"""Seconds between two records of the time that drivers were active: what a death may lose."""


class Watch(Unpickled, tune.Callback):  # type: ignore[misc]
    """Callback that updates the view twice a second, records the time that the driver was active,
    ends workers that hang, and reports dead workers to the searcher.
    """

    def __init__(
        self,
        run: RunRecord,
        searcher: StudySearcher,
        view: View,
        lease: Lease,
        loggers: list[Logger],
    ) -> None:
        self._run, self._searcher, self._view, self._next = run, searcher, view, 0.0
        self._lease, self._loggers = lease, loggers
        wanted = run.experiment.resources.heartbeat_timeout
        self._heartbeats = Heartbeats(None if wanted == "auto" else wanted)
        self._next_look = 0.0
        self._watched: dict[str, Any] = {}
        self._hung: dict[str, str] = {}
        self._written = time.monotonic()
        # The driver says it before the first trial if the settings alone censor every maximum.
        self._warned = cuts_off(run.experiment.trainer) is not None

    @_halting()
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Check the lease, update the view and record the time that the driver was active.

        Tune calls this several times a second.
        """
        self._lease.check()
        if time.monotonic() >= self._written + _EVERY_S:
            self._written = time.monotonic()
            write(self._run.study, driven_s=self._searcher.driven_s)
        if time.monotonic() >= self._next:
            self._view.update(self._run)
            if not self._warned and (warning := cut_off(self._run, self._run.records())):
                self._warned = True
                self._view.note(warning)
            for logger in self._loggers:
                logger.report_failure(self._view)
            self._next = time.monotonic() + 0.5
        if time.monotonic() >= self._next_look:
            self._end_hung()
            self._next_look = time.monotonic() + LOOK_S

    def _end_hung(self) -> None:
        beats = {trial_id: heartbeat(trial_id) for trial_id in self._watched}
        for trial_id, silent_s in self._heartbeats.look(beats).items():
            number = self._searcher.number_of(trial_id)
            reason = f"no heartbeat for {silent_s:.0f} s"
            self._view.note(f"trial {number}: {reason}, so its worker is ended as one that hangs")
            self._hung[trial_id] = reason
            end_worker(self._watched.pop(trial_id))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Expect heartbeats of a trial from now on."""
        self._watched[trial.trial_id] = trial

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Expect no more heartbeats of a trial."""
        self._watched.pop(trial.trial_id, None)
        forget_heartbeat(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a dead worker: a training that fails is an ordinary result."""
        self.on_trial_complete(iteration, trials, trial)
        hung = self._hung.pop(trial.trial_id, None)
        self._searcher.worker_died(trial.trial_id, hung or why_it_died(trial.error_file))


def _shares(run: RunRecord, setting: Setting, view: View, *, can_grow: bool) -> Shares:
    """Decide how the cluster is shared; a trial keeps the cores that it had when the run began."""
    experiment, cores = run.experiment, run.attributes.cores
    shares = resources_of(experiment, can_grow=can_grow, cores=cores)
    if cores is None:
        cores = int(shares.trial["cpu"])
        write(run.study, cores=cores)
    if not wants_probe(experiment, shares):
        return shares
    view.note("measuring how many trials a GPU holds best …")
    best, seen = trials_per_gpu(experiment, shares, replace(setting, device=shares.device))
    view.note(seen)
    return resources_of(experiment, can_grow=can_grow, cores=cores, trials_per_gpu=best)


def tune_trials(
    run: RunRecord,
    ledger: Ledger,
    setting: Setting,
    view: View,
    lease: Lease,
    *,
    can_grow: bool,
    trainable: type[tune.Trainable] | None = None,
) -> None:
    """Run the ledger's trials until none is left.

    Args:
        run: The run to search for.
        ledger: Its ledger.
        setting: What every replicate is trained with.
        view: Display of the progress.
        lease: The driver's lease on the run.
        can_grow: Whether machines may join the cluster later.
        trainable: Class that is created with the setting and reports its results as
            `ScheduleTrial` does; by default `ScheduleTrial`.

    Raises:
        InputError: If the resources cannot be had on this cluster.
        WorkError: If the search ends early.
    """
    shares = _shares(run, setting, view, can_grow=can_grow)
    setting = replace(
        setting,
        device=shares.device,
        cpus=int(shares.trial["cpu"]),
        together=replicates_together(run.experiment, shares),
        gpus=shares.trial["gpu"],
    )
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    write(run.study, concurrent=shares.concurrent, driven_since=now)
    if trainable is None:
        view.note(cost_words(run, ledger, setting, shares))
    searcher = StudySearcher(run, ledger, lease)
    racer = Racer(searcher)
    scratch = tempfile.mkdtemp(prefix="dipsearch-")
    try:
        with (
            uncounted_callbacks(),
            without_credentials(),
            logged(run, searcher.number_of, view) as loggers,
        ):
            tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(trainable or ScheduleTrial, setting=setting),
                    shares.request,
                ),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=racer,
                    num_samples=-1,
                    max_concurrent_trials=shares.concurrent,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name=run.name.replace("/", "-"),
                    storage_path=scratch,
                    verbose=0,
                    # Tune's reporter for notebooks would leave an empty output there.
                    progress_reporter=tune.CLIReporter(),
                    callbacks=[Watch(run, searcher, view, lease, loggers), *loggers],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()
    except Halt as halt:
        raise WorkError(f"{halt.reason}; resume the search once this is fixed") from None
    finally:
        racer.let_go()
        shutil.rmtree(scratch, ignore_errors=True)
