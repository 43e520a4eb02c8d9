"""Everything private or undocumented of Ray that is used here, as read in Ray 2.60.0.

An upgrade of Ray has this file to look at; a test says what of it has moved. Ray reads its
environment when it is imported, so this module is imported first and imports Ray only when called.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Loggers and snapshots of Tune are switched off: the study holds all there is, and a snapshot would
# hold the storage's address. So are the workers that Ray starts in advance, one for each core: Tune
# sets an environment variable for its workers, so Ray starts others for them.
_ENVIRONMENT = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
}
os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})
# In a notebook Ray asks for widgets that nothing here shows.
logging.getLogger("ray.widgets.util").setLevel(logging.CRITICAL)
_AGENT_S = 120
"""Seconds that a head may take, after its dashboard answers, to start its agent for jobs."""


@contextmanager
def hidden_variables(*names: str) -> Iterator[None]:
    """Remove environment variables, which Ray would read or pass on, within the block."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a module or class of Ray within the block."""
    kept = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


@contextmanager
def on_loopback() -> Iterator[None]:
    """Disable clustering so that Ray, which starts in the block, binds to loopback only."""
    from ray._private import ray_constants

    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    try:
        with _replaced(ray_constants, ENABLE_RAY_CLUSTER=False):
            yield
    finally:
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]


@contextmanager
def in_own_groups() -> Iterator[None]:
    """Give each process of a Ray that starts in the block a process group of its own.

    A signal to the driver's group, as a batch system sends it, would otherwise end Ray before the
    driver can end the search.
    """
    from ray._private import services

    class Popen(services.ConsolePopen):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{"process_group": 0, **options})

    with _replaced(services, ConsolePopen=Popen):
        yield


@contextmanager
def without_services() -> Iterator[None]:
    """Start no autoscaler, log monitor and dashboard for a Ray that starts in the block.

    A cluster of one machine does not grow, logs stay in their files, and without its pages the
    dashboard only reports how Ray is used, which is off. Ray would wait for it for two seconds.
    """
    from ray._private.node import Node

    names = ("start_monitor", "start_log_monitor", "start_api_server")
    with _replaced(Node, **dict.fromkeys(names, lambda *_, **__: None)):
        yield


@contextmanager
def uncounted_callbacks() -> Iterator[None]:
    """Let Tune count no callbacks for Ray's report of its use, which is off.

    It would import MLflow, Comet and Weights & Biases, where they are installed, to know theirs.
    """
    from ray.air._internal import usage

    with _replaced(usage, tag_callbacks=lambda _: False):
        yield


@contextmanager
def without_credentials() -> Iterator[None]:
    """Let Tune pass no credentials of AWS to the workers of trials.

    They need none, as the driver writes all results, and Ray keeps what is passed in its tables and
    its logs.
    """
    from ray.tune.execution import class_cache

    passed = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")}
    with _replaced(class_cache, ENV_VARS_TO_PROPAGATE=passed):
        yield


def job_config(folders: list[str]) -> Any:
    """Return the configuration of a job whose workers import from `folders` first.

    Ray would add the current folder and that of the script, where a user's `search.py` would hide
    the package of that name.
    """
    from ray.job_config import JobConfig

    class Folders(list[str]):
        def extend(self, added: Iterable[str]) -> None:
            """Keep out what Ray adds."""

    config = JobConfig()
    config._py_driver_sys_path = Folders(folders)
    return config


def end_workers(tune_controller: Any) -> None:
    """End the workers of Tune's controller at once."""
    tune_controller._actor_manager.cleanup()


def sockets_fit(folder: str) -> bool:
    """Return whether the sockets of a Ray that keeps its files in a folder have names that fit."""
    longest = f"{folder}/session_2026-01-01_00-00-00_000000_{2**22}/sockets/plasma_store"
    return len(os.fsencode(longest)) < (104 if sys.platform == "darwin" else 108)


def default_folder() -> str:
    """Return the folder in which Ray keeps its files unless it is told otherwise."""
    from ray._common.utils import get_default_ray_temp_dir

    return str(get_default_ray_temp_dir())


_HEARTBEATS = "dipsearch-heartbeats"
"""Namespace in the key-value store of a cluster, which costs no process and works on all nodes."""


def send_heartbeat(trial: str, beat: str) -> None:
    """Store the last heartbeat of a trial; without Ray, do nothing."""
    from ray.experimental.internal_kv import _internal_kv_initialized, _internal_kv_put

    if _internal_kv_initialized():
        _internal_kv_put(trial, beat, namespace=_HEARTBEATS)


def heartbeat(trial: str) -> str:
    """Return the last heartbeat of a trial; empty if there is none."""
    from ray.experimental.internal_kv import _internal_kv_get

    return (_internal_kv_get(trial, namespace=_HEARTBEATS) or b"").decode()


def forget_heartbeat(trial: str) -> None:
    """Remove the last heartbeat of a trial."""
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(trial, namespace=_HEARTBEATS)


def end_worker(trial: Any) -> None:
    """End the worker of one of Tune's trials at once, which Tune then takes for dead."""
    import ray

    ray.kill(trial.temporary_state.ray_actor)


LOW_ON_MEMORY = "running low on memory"
"""Ray says this of a worker that it ends before the machine runs out of memory."""


def why_it_died(error_file: str | None) -> str:
    """Return the line of Tune's error file that says why a worker died; empty if there is none."""
    if error_file is None:
        return ""
    text = Path(error_file).read_text(errors="replace")
    lines = [line for each in text.splitlines() if (line := each.strip())]
    # Advice follows it.
    said = next((line for line in lines if LOW_ON_MEMORY in line), None)
    return (said or (lines or [""])[-1])[:200]


def job_client(address: str, connect_s: float, answer_s: float, transfer_s: float) -> Any:
    """Return Ray's client of its Jobs API.

    Ray's own waits for minutes without an answer, and not at all for the agent of a new head.
    """
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            first = endpoint == "/api/version"
            options.setdefault("timeout", (connect_s, answer_s if first else transfer_s))
            return super()._do_request(method, endpoint, **options)

        def submit_job(self, **options: Any) -> Any:
            deadline = time.monotonic() + _AGENT_S
            while True:
                try:
                    return super().submit_job(**options)
                except RuntimeError as error:
                    is_late = "No available agent to submit job" in str(error)
                    if not is_late or time.monotonic() > deadline:
                        raise
                time.sleep(1)

    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private"):
        logging.getLogger(f"ray.{name}").setLevel(logging.CRITICAL)
    return Client(address)


def mlflow_client(callback: Any) -> Any:
    """Return the client of MLflow that Ray's callback logs with."""
    return callback.mlflow_util._get_client()


def set_mlflow_run(callback: Any, trial: Any, run_id: str) -> None:
    """Make Ray's callback log a trial to a run of MLflow that is there."""
    callback._trial_runs[trial] = run_id
