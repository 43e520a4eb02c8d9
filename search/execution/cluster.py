"""The Ray cluster: start a local one or join a running one. Import this module before `ray`."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import on_loopback  # isort: skip

import ray

from dipstage.errors import InputError
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
    """
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_listening(address)
    try:
        with _without_secrets(), on_loopback() if address is None else nullcontext():
            ray.init(
                address=address or "local",
                num_cpus=cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
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
    try:
        yield
    finally:
        ray.shutdown()


def _code_to_ship() -> dict[str, Any]:
    """Return Ray's runtime environment that ships this code to workers on other machines."""
    here = Path(__file__).parents[2]
    return {"py_modules": [str(here / package) for package in ("dipstage", "search")]}


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
