"""The Ray cluster: start a local one or join a running one. Import this module before `ray`."""

from __future__ import annotations

import logging
import os
import shutil
import site
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

# Before Ray, whose environment it sets.
from search.execution.ray_internals import (  # isort: skip
    default_folder,
    hidden_variables,
    in_own_groups,
    job_config,
    on_loopback,
    sockets_fit,
    without_services,
)

import ray

from dipstage.errors import InputError, WorkError
from search.execution.view import Quiet, View
from search.store import STORAGE_VARIABLE


@contextmanager
def ray_cluster(
    address: str | None, cpus: int | None = None, view: View | None = None
) -> Iterator[None]:
    """Provide a Ray cluster within the block: a new local one, or the one at `address`.

    If this process is connected already, its connection is used and left open.

    Args:
        address: Address of a running cluster; None starts a local one.
        cpus: Cores of a local cluster; by default all cores of the machine.
        view: Shows that Ray starts, and a notice if a local cluster cannot keep its files where
            Ray would; by default nothing is shown.

    Raises:
        InputError: If no cluster answers at `address`, or no folder has a name that is short enough
            for the sockets of a local one.
        WorkError: If Ray does not start on this machine in time.
    """
    view = view or Quiet()
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if not ray.is_initialized():
            if address is not None:
                _check_listening(address)
            folder = stack.enter_context(_folder(view.note)) if address is None else None
            view.starting()
            stack.enter_context(_connected(address, cpus, folder))
        yield


@contextmanager
def _connected(address: str | None, cpus: int | None, folder: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one that keeps its files in a folder; None for Ray's own."""
    try:
        with ExitStack() as stack:
            stack.enter_context(hidden_variables(*_SECRETS))
            if address is None:
                stack.enter_context(on_loopback())
                stack.enter_context(in_own_groups())
                stack.enter_context(without_services())
            ray.init(
                address=address or "local",
                num_cpus=cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                job_config=job_config([] if address else _code_here()),
                _temp_dir=folder,
                runtime_env={"py_modules": _PACKAGES} if address else None,
            )
    except SystemExit:  # Raised by the SIGTERM handler that Ray installs while it starts.
        raise KeyboardInterrupt from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({reason}); one with token "
            "authentication needs RAY_AUTH_MODE=token"
        ) from None
    except Exception as error:
        if type(error) is not Exception:  # Ray has no class of its own for a node that is late.
            raise
        reason = str(error).strip().splitlines()[0]
        raise WorkError(
            f"Ray did not start ({reason}): close other programs, or wait until the machine has "
            "less to do, and give the command again"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


_HERE = Path(__file__).parents[2]
"""The folder that holds both packages."""
_PACKAGES = [str(_HERE / package) for package in ("dipstage", "search")]
"""The packages that workers on other machines are sent."""


def _code_here() -> list[str]:
    """Return what workers on this machine must import from to run this code.

    That is nothing if it is installed: ahead of the standard library, the folder of all installed
    packages could hide parts of it.

    Raises:
        InputError: It is installed, and a module on PYTHONPATH would hide it from workers.
    """
    folders = (*site.getsitepackages(), site.getusersitepackages())
    installed = {Path(folder).resolve() for folder in folders}
    if _HERE.resolve() not in installed:
        return [str(_HERE)]
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        for name in ("dipstage", "search"):
            spec = PathFinder.find_spec(name, [folder])
            found = Path(spec.origin).resolve() if spec and spec.origin else None
            if found is not None and _HERE.resolve() not in found.parents:
                raise InputError(
                    f"{found} hides the package {name} from workers: rename or move that file, or "
                    "take its folder out of PYTHONPATH"
                )
    return []


_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


@contextmanager
def _folder(note: Callable[[str], None]) -> Iterator[str | None]:
    """Yield a folder of a short name for a local cluster, or None if Ray's own is short enough."""
    if sockets_fit(default_folder()):
        yield None
        return
    for parent in _SHORT:
        try:
            folder = tempfile.mkdtemp(prefix="ray-", dir=parent)
            break
        except OSError:
            continue
    else:
        raise InputError(
            "the folder of temporary files has too long a name for Ray's sockets: set RAY_TMPDIR "
            "to a short one, such as /tmp"
        )
    try:
        note(f"{default_folder()} is too long a name for Ray's sockets: {folder} is used instead")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_SECRETS = (
    STORAGE_VARIABLE, "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY",
)  # fmt: skip
"""Variables that Ray's processes, which other users can look at, do not inherit."""
MAX_PORT = 65535


def _check_listening(address: str) -> None:
    """Raise InputError if nothing listens at the address: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        return  # Not host:port, for example `auto`; Ray resolves it.
    if len(port) > 5 or int(port) > MAX_PORT:  # Of larger ones, sockets take the last 16 bits.
        raise InputError(f"--address {address}: a port is at most {MAX_PORT}")
    try:
        # IPv6 is written as [::1]:6379.
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"--address {address}: nobody listens there: {error}") from None
