"""The cluster: a local Ray or one that runs already, and how it is shared among trials."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import on_loopback  # isort: skip

import ray
from ray import tune

from dipstage.errors import InputError
from search.experiment.model import Experiment
from search.store.paths import brief
from search.store.storage import ADDRESS_VARIABLE

if TYPE_CHECKING:
    from search.execution.trainable import Setting


@contextmanager
def ray_cluster(address: str | None, cpus: int | None = None) -> Iterator[None]:
    """A local cluster for the time of the block, or the one at `address`.

    cpus: of a local cluster, by default the machine's.
    """
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _refuse_silence(address)
    try:
        with _secrets_hidden(), on_loopback() if address is None else nullcontext():
            ray.init(
                address=address or "local",
                num_cpus=cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env=_our_code() if address else None,
            )
    except SystemExit:  # Of Ray's own handler of SIGTERM, which it puts in place as it starts.
        raise KeyboardInterrupt from None
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


def _our_code() -> dict[str, Any]:
    """Workers elsewhere run this code, whatever they have installed."""
    here = Path(__file__).parents[2]
    return {"py_modules": [str(here / package) for package in ("dipstage", "search")]}


_SECRETS = (
    ADDRESS_VARIABLE, "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY",
)  # fmt: skip


@contextmanager
def _secrets_hidden() -> Iterator[None]:
    """Processes of Ray inherit the environment; what they do not need they do not get."""
    hidden = {name: os.environ.pop(name, None) for name in _SECRETS}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})


def _refuse_silence(address: str) -> None:
    """Ray waits for minutes where nobody listens; a look at the port takes a moment."""
    host, colon, port = address.rpartition("/")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # Such as `auto`: for Ray to judge.
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: nobody listens there: {error}") from None


@dataclass(frozen=True, slots=True)
class Shares:
    """What one trial takes of the cluster, how many run at a time, and where they train.

    whole: what a trial takes that is to be alone: a GPU, or all cores of the largest machine.
    """

    trial: dict[str, float]
    whole: dict[str, float]
    concurrent: int
    device: str

    def request(self, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Of a trial, as Tune asks."""
        wanted = self.whole if config["work"]["alone"] else self.trial
        return tune.PlacementGroupFactory([{k.upper(): v for k, v in wanted.items()}])


def resources_of(
    experiment: Experiment,
    *,
    can_grow: bool = False,
    cores: int | None = None,
    trials_per_gpu: int = 1,
) -> Shares:
    """How the cluster is shared among trials; InputError if there is too little of it.

    can_grow: machines may be added while the search waits, if it says how many trials it wants.
    cores: what `cpus_per_trial: auto` came to when the run began; None for a run that begins.
    trials_per_gpu: for `gpus_per_trial: auto` (see the function of that name).
    """
    wanted = experiment.resources
    # Node by node: a trial runs on one, whatever the cluster has in all.
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpu = any(node.get("GPU", 0) for node in nodes)
    if wanted.device == "cuda" and not has_gpu and not can_grow:
        raise InputError(
            "resources.device is cuda and there is no GPU: set it to cpu, or give --address"
        )
    gpus = wanted.gpus_per_trial
    if gpus == "auto":
        uses_gpu = wanted.device == "cuda" or (has_gpu and wanted.device == "auto")
        gpus = 1.0 / trials_per_gpu if uses_gpu else 0.0
    said = wanted.cpus_per_trial
    cpus = float((cores or _cores(experiment, nodes, gpus)) if said == "auto" else said)
    slots = sum(_fit(node, cpus, gpus) for node in nodes)
    if not slots and not (can_grow and wanted.concurrent != "auto"):
        most = [max((node.get(kind, 0) for node in nodes), default=0) for kind in ("CPU", "GPU")]
        raise InputError(
            f"resources: a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one machine, the largest "
            f"has {most[0]:g} and {most[1]:g}"
            + ("; for a cluster that grows, set resources.concurrent" if can_grow else "")
        )
    device = wanted.device
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    usable = [node for node in nodes if _fit(node, cpus, gpus)]
    largest = max((node.get("CPU", 0) for node in usable), default=cpus)
    whole = {"cpu": cpus, "gpu": float(math.ceil(gpus))} if gpus else {"cpu": largest, "gpu": 0.0}
    return Shares(
        trial={"cpu": cpus, "gpu": gpus},
        whole=whole,
        concurrent=slots if wanted.concurrent == "auto" else wanted.concurrent,
        device=device,
    )


_ONE_CORE_UP_TO = 128
"""Side of a picture up to which a training gains too little from a second core."""


def _cores(experiment: Experiment, nodes: list[dict[str, float]], gpus: float) -> int:
    """Cores of a trial: one while there are trials enough for all of them (docs/performance.md),
    else as many as let all run at once.
    """
    if gpus or (experiment.size is not None and experiment.size <= _ONE_CORE_UP_TO):
        return 1
    at_a_time, most = _at_a_time(experiment), max((int(n.get("CPU", 0)) for n in nodes), default=1)
    sizes = range(most, 1, -1)
    return next((c for c in sizes if sum(_fit(n, c, 0) for n in nodes) >= at_a_time), 1)


def _at_a_time(experiment: Experiment) -> int:
    """Trials that the experiment lets run side by side, if there is room for all."""
    trials = experiment.search.trials + len(experiment.candidates)
    concurrent = experiment.resources.concurrent
    return trials if concurrent == "auto" else min(trials, concurrent)


def wants_probe(experiment: Experiment, shares: Shares) -> bool:
    """Whether how many trials a GPU holds is to be found out."""
    return experiment.resources.gpus_per_trial == "auto" and shares.trial["gpu"] > 0


_PROBE_S = 300.0
"""How long a probe may take, waiting for a free GPU included."""


def trials_per_gpu(experiment: Experiment, shares: Shares, setting: Setting) -> tuple[int, str]:
    """How many trials a GPU of the cluster should hold, and what was seen, in words.

    Measured on whichever GPU is free first; never more than lets all trials run at once, as Ray
    fills one GPU before it takes the next. InputError where none can be trained on.
    """
    from search.execution.probe import probe

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in nodes if node.get("GPU", 0)]
    by_cpu = max((int(n.get("CPU", 0) / shares.trial["cpu"] / n["GPU"]) for n in nodes), default=1)
    by_trials = math.ceil(_at_a_time(experiment) / max(1, sum(node["GPU"] for node in nodes)))
    most = min(by_cpu, by_trials)
    if most <= 1:
        return 1, "1 to a GPU: there are no more trials, or no more cores, for each"
    picture = max(setting.pictures.values(), key=lambda each: each.pixels.size)
    remote = ray.remote(num_gpus=1, num_cpus=1, max_retries=1)(probe)
    answer = remote.remote(setting.device, picture, setting.trainer, most)
    try:
        best, seen = ray.get(answer, timeout=_PROBE_S)
    except ray.exceptions.RayTaskError as error:
        raise InputError(
            f"resources: no trial can be trained on a GPU here ({brief(error.cause)}): set "
            "resources.device to cpu, in the run's experiment.yaml, and resume it with "
            "--accept-changes"
        ) from None
    except ray.exceptions.RayError as error:  # No GPU fell free, or its machine was lost.
        ray.cancel(answer, force=True)
        return 1, f"1 to a GPU: how many fit best could not be measured ({brief(error)})"
    return best, f"{best} to a GPU (iterations a second by trials on it: {seen})"


def _fit(node: dict[str, float], cpus: float, gpus: float) -> int:
    """Trials that a node holds. A GPU's rest that is too small for a trial stays idle."""
    by_cpu = int(node.get("CPU", 0) // cpus)
    if not gpus:
        return by_cpu
    by_gpu = node.get("GPU", 0) * int(1 / gpus + 1e-9) if gpus <= 1 else node.get("GPU", 0) // gpus
    return min(by_cpu, int(by_gpu))
