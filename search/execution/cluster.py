"""The Ray cluster: start a local one or join a running one. Import this module before `ray`."""

from __future__ import annotations

import logging
import os
import site
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import in_own_groups, job_config, on_loopback  # isort: skip

import ray

from dipstage.errors import InputError, WorkError
from search.store.storage import ADDRESS_VARIABLE


@contextmanager
def ray_cluster(address: str | None, cpus: int | None = None) -> Iterator[None]:
    """Provide a Ray cluster within the block: a new local one, or the one at `address`.

    If this process is connected already, its connection is used and left open.

    Args:
        address: Address of a running cluster; None starts a local one.
        cpus: Cores of a local cluster; by default all cores of the machine.

    Raises:
        InputError: If no cluster answers at `address`.
        WorkError: If Ray does not start on this machine in time.
    """
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_listening(address)
    try:
        with ExitStack() as stack:
            stack.enter_context(_without_secrets())
            if address is None:
                stack.enter_context(on_loopback())
                stack.enter_context(in_own_groups())
            ray.init(
                address=address or "local",
                num_cpus=cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                job_config=job_config([] if address else _code_here()),
                runtime_env=_code_to_ship() if address else None,
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
    except OSError as error:
        if "AF_UNIX" not in str(error):
            raise
        raise InputError(
            "the folder of temporary files has too long a name for Ray's sockets: set RAY_TMPDIR "
            "to a short one, such as /tmp"
        ) from None
    except Exception as error:
        if type(error) is not Exception:  # Ray has no class of its own for a node that is late.
            raise
        reason = str(error).strip().splitlines()[0]
        raise WorkError(
            f"Ray did not start ({reason}): try again when the machine has less to do"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


_HERE = Path(__file__).parents[2]
"""The folder that holds both packages."""


def _code_here() -> list[str]:
    """Return what workers on this machine must import from to run this code.

    That is nothing if it is installed: ahead of the standard library, the folder of all installed
    packages could hide parts of it.
    """
    folders = (*site.getsitepackages(), site.getusersitepackages())
    installed = {Path(folder).resolve() for folder in folders}
    return [] if _HERE.resolve() in installed else [str(_HERE)]


def _code_to_ship() -> dict[str, Any]:
    """Return Ray's runtime environment that ships this code to workers on other machines."""
    return {"py_modules": [str(_HERE / package) for package in ("dipstage", "search")]}


_SECRETS = (
    ADDRESS_VARIABLE, "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY",
)  # fmt: skip


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Remove secrets from the environment within the block: Ray's processes would inherit them."""
    hidden = {name: os.environ.pop(name, None) for name in _SECRETS}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})


def _check_listening(address: str) -> None:
    """Raise InputError if nothing listens at the address: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # Not host:port, for example `auto`; Ray resolves it.
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: nobody listens there: {error}") from None
