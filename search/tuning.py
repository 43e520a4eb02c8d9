# ruff: noqa: E402 - Ray reads the environment when it is imported.
"""Ray and Tune: the cluster, the resources of a trial, and Tune's view of the ledger."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read by Ray when it is imported. Loggers and snapshots of Tune are switched off: the study holds
# all there is, and a snapshot would hold the storage's address.
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
}
os.environ.update({k: v for k, v in _RAY_ENVIRONMENT.items() if k not in os.environ})

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from dipstage.documents import write_whole
from dipstage.errors import InputError
from search.experiment import Experiment
from search.paths import curve_path
from search.trial import ScheduleTrial

if TYPE_CHECKING:
    from search.progress import View
    from search.run import Run
    from search.study import Ledger
    from search.trial import Setting


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """A local cluster for the time of the block, or the one at `address`."""
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _refuse_silence(address)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({reason}); one with token "
            "authentication needs RAY_AUTH_MODE=token"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Ray waits for minutes where nobody listens; a look at the port takes a moment."""
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # Such as `auto`: for Ray to judge.
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: nobody listens there: {error}") from None


class StudySearcher(Searcher):  # type: ignore[misc]
    """Tune's view of the ledger. It keeps no state that would be worth a snapshot."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        super().__init__()
        self._run, self._ledger = run, ledger
        self._numbers: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given; the study's address must not be among it."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        work = self._ledger.next()
        if work is None:
            return Searcher.FINISHED if self._ledger.finished else None
        self._numbers[trial_id] = work.number
        return {
            "work": {
                "stages": work.schedule.pairs,
                "learning_rate": work.learning_rate,
                "warmup": work.warmup,
                "done": list(work.done),
            }
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._take(self._numbers[trial_id], result)

    def beaten(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop a trial after this result; Tune asks before it hands the result on."""
        number = self._numbers[trial_id]
        self._take(number, result)
        return self._ledger.race(number)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error:
            return  # Tune tells `Watch` next, with the reason.
        if result is None:
            self.worker_died(trial_id, "it ended without a result")
            return
        number = self._numbers.pop(trial_id)
        self._take(number, result)
        self._ledger.finish(number, result.get("failure"))

    def worker_died(self, trial_id: str, reason: str) -> None:
        """Hand the trial out again, or give it up."""
        self._ledger.died(self._numbers.pop(trial_id), reason)

    def _take(self, number: int, result: dict[str, Any]) -> None:
        """Write a replicate down, curves first, and let go of the curves."""
        if not result.get("curves"):
            return
        [key], [outcome] = result["replicate"], result["outcome"]
        write_whole(curve_path(self._run.folder, number, key), result["curves"].pop())
        self._ledger.record(number, key, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the source of truth."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("searches go on by dipsearch resume")


class Racer(FIFOScheduler):  # type: ignore[misc]
    """Stops trials that the front has beaten, after a replicate and never within one."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """As in `StudySearcher`."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Tune calls this for every result but a trial's last."""
        beaten = self._searcher.beaten(trial.trial_id, result)
        return str(TrialScheduler.STOP if beaten else TrialScheduler.CONTINUE)


class Watch(tune.Callback):  # type: ignore[misc]
    """Tells the view about the run, at most twice a second, and the searcher about deaths."""

    def __init__(self, run: Run, searcher: StudySearcher, view: View) -> None:
        self._run, self._searcher, self._view, self._next = run, searcher, view, 0.0

    def __getstate__(self) -> dict[str, Any]:
        """As in `StudySearcher`."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune looks for news several times a second."""
        if time.monotonic() >= self._next:
            self._view.update(self._run)
            self._next = time.monotonic() + 0.5

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Failures of the training are results, so this is the end of a worker."""
        lines = Path(trial.error_file).read_text().split("\n") if trial.error_file else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self._searcher.worker_died(trial.trial_id, last[:200])


def resources_of(experiment: Experiment) -> tuple[dict[str, float], int]:
    """What one trial takes, and how many run at a time; InputError if there is too little."""
    wanted, cluster = experiment.resources, ray.cluster_resources()
    cpus, gpus = wanted.cpus_per_trial, cluster.get("GPU", 0.0)
    gpus_per_trial = (
        (1.0 if gpus else 0.0) if wanted.gpus_per_trial == "auto" else wanted.gpus_per_trial
    )
    slots = int(cluster.get("CPU", 0) // cpus)
    if gpus_per_trial:
        slots = min(slots, int(gpus / gpus_per_trial + 1e-9))
    if not slots:
        raise InputError(
            f"resources: a trial needs {cpus} CPUs and {gpus_per_trial:g} GPUs, there are "
            f"{cluster.get('CPU', 0):g} and {gpus:g}"
        )
    concurrent = slots if wanted.concurrent == "auto" else wanted.concurrent
    return {"cpu": cpus, "gpu": gpus_per_trial}, concurrent


def tune_trials(run: Run, ledger: Ledger, setting: Setting, view: View) -> None:
    """Run the ledger's trials until it is finished."""
    resources, concurrent = resources_of(run.experiment)
    run.study.set_user_attr("concurrent", concurrent)
    setting = replace(setting, gpu=resources["gpu"] > 0)
    searcher = StudySearcher(run, ledger)
    scratch = tempfile.mkdtemp(prefix="dipsearch-")
    try:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(ScheduleTrial, setting=setting), resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=Racer(searcher),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=run.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[Watch(run, searcher, view)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
