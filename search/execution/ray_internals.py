"""Everything private or undocumented of Ray that is used here, as read in Ray 2.60.0.

An upgrade of Ray has this file to look at; a test says what of it has moved. Ray reads its
environment when it is imported, so this module is imported first and imports Ray only when called.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def hidden_variables(*names: str) -> Iterator[None]:
    """Remove environment variables, which Ray would read or pass on, within the block."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextmanager
def on_loopback() -> Iterator[None]:
    """Disable clustering so that Ray, which starts in the block, binds to loopback only."""
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
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

    before, services.ConsolePopen = services.ConsolePopen, Popen
    try:
        yield
    finally:
        services.ConsolePopen = before


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


def job_client(address: str, connect_s: float, answer_s: float, transfer_s: float) -> Any:
    """Return Ray's client of its Jobs API, which alone would wait for minutes without an answer."""
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            first = endpoint == "/api/version"
            options.setdefault("timeout", (connect_s, answer_s if first else transfer_s))
            return super()._do_request(method, endpoint, **options)

    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private"):
        logging.getLogger(f"ray.{name}").setLevel(logging.CRITICAL)
    return Client(address)


def mlflow_client(callback: Any) -> Any:
    """Return the client of MLflow that Ray's callback logs with."""
    return callback.mlflow_util._get_client()


def set_mlflow_run(callback: Any, trial: Any, run_id: str) -> None:
    """Make Ray's callback log a trial to a run of MLflow that is there."""
    callback._trial_runs[trial] = run_id
