"""Shares of the cluster: cores and GPUs of each trial, and how many run at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

# Before Ray: it sets Ray's environment.
import search.execution.ray_internals  # noqa: F401  # isort: skip

import ray
from ray import tune

from dipstage.errors import InputError, brief
from search.experiment.model import Experiment

if TYPE_CHECKING:
    from search.execution.training import Setting


@dataclass(frozen=True, slots=True)
class Shares:
    """Resources of one trial, the number of trials that run at a time, and their device.

    trial: cores and GPUs of an ordinary trial.
    whole: cores and GPUs of a trial that must run alone: a whole GPU, or all cores of the largest
    machine.
    """

    trial: dict[str, float]
    whole: dict[str, float]
    concurrent: int
    device: str

    def request(self, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return the resource request of a trial in the form that Tune expects."""
        wanted = self.whole if config["work"].alone else self.trial
        return tune.PlacementGroupFactory([{k.upper(): v for k, v in wanted.items()}])


def resources_of(
    experiment: Experiment,
    *,
    can_grow: bool = False,
    cores: int | None = None,
    trials_per_gpu: int = 1,
) -> Shares:
    """Decide how the cluster is shared among trials.

    Args:
        experiment: The experiment, whose `resources` are resolved.
        can_grow: Whether machines may join later. The cluster may then be too small for a trial at
            first, provided that `resources.concurrent` is a number.
        cores: The value that `cpus_per_trial: auto` had when the run began; None for a new run.
        trials_per_gpu: Trials on one GPU for `gpus_per_trial: auto`, see `trials_per_gpu`.

    Raises:
        InputError: If the cluster has no GPU but one is required or counted by the objective, or if
            no machine fits a trial.
    """
    wanted = experiment.resources
    # Nodes are considered one by one because a trial cannot span several.
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
    if experiment.objective.against == "gpu_seconds" and not gpus:
        raise InputError("objective.against is gpu_seconds and trials use no GPU: use seconds")
    requested = wanted.cpus_per_trial
    cpus = float((cores or _cores(experiment, nodes, gpus)) if requested == "auto" else requested)
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
"""Largest side of a picture, in pixels, at which a second core is not worth its cost."""


def _cores(experiment: Experiment, nodes: list[dict[str, float]], gpus: float) -> int:
    """Return the cores of a trial.

    A trial on a GPU or on small pictures gets one core, and so does every trial as long as there
    are enough of them to keep all cores busy (docs/performance.md). Otherwise a trial gets as many
    cores as still let all trials run at once.
    """
    if gpus or (experiment.size is not None and experiment.size <= _ONE_CORE_UP_TO):
        return 1
    concurrent = _most_concurrent(experiment)
    most = max((int(n.get("CPU", 0)) for n in nodes), default=1)
    sizes = range(most, 1, -1)
    return next((c for c in sizes if sum(_fit(n, c, 0) for n in nodes) >= concurrent), 1)


def _most_concurrent(experiment: Experiment) -> int:
    """Return how many trials would run at a time on a cluster of unlimited size."""
    trials = experiment.search.trials + len(experiment.candidates)
    concurrent = experiment.resources.concurrent
    return trials if concurrent == "auto" else min(trials, concurrent)


_TOGETHER = 16
"""Replicates that a trial trains side by side on a GPU, unless racing may end it after a few."""


def replicates_together(experiment: Experiment, shares: Shares) -> int:
    """Return how many replicates a trial trains side by side."""
    wanted = experiment.resources.together
    if wanted != "auto":
        return wanted
    races = experiment.racing.enabled and experiment.search.trials > 0
    return 1 if shares.device == "cpu" or races else _TOGETHER


def wants_probe(experiment: Experiment, shares: Shares) -> bool:
    """Return whether the number of trials on one GPU must be measured.

    Replicates that are trained side by side fill a GPU better than several processes do.
    """
    is_open = experiment.resources.gpus_per_trial == "auto" and shares.trial["gpu"] > 0
    return is_open and replicates_together(experiment, shares) == 1


_PROBE_S = 300.0
"""Timeout of the measurement, including the wait for a free GPU."""


def trials_per_gpu(experiment: Experiment, shares: Shares, setting: Setting) -> tuple[int, str]:
    """Measure how many trials should share one GPU of the cluster.

    The measurement runs on whichever GPU is free first. The result is never more than is needed to
    run all trials at once, because Ray fills one GPU before it uses the next.

    Returns:
        The number of trials, and a sentence that says what was measured.

    Raises:
        InputError: If a GPU cannot train a single trial.
    """
    from search.execution.probe import probe

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in nodes if node.get("GPU", 0)]
    by_cpu = max((int(n.get("CPU", 0) / shares.trial["cpu"] / n["GPU"]) for n in nodes), default=1)
    by_trials = math.ceil(_most_concurrent(experiment) / max(1, sum(node["GPU"] for node in nodes)))
    most = min(by_cpu, by_trials)
    if most <= 1:
        return 1, "1 to a GPU: there are no more trials, or no more cores, for each"
    picture = max(setting.pictures.values(), key=lambda each: each.pixels.size)
    remote = ray.remote(num_gpus=1, num_cpus=1, max_retries=1)(probe)
    answer = remote.remote(setting.device, picture, experiment.largest, most)
    try:
        best, seen = ray.get(answer, timeout=_PROBE_S)
    except ray.exceptions.RayTaskError as error:
        raise InputError(
            f"resources: no trial can be trained on a GPU here ({brief(error.cause)}): set "
            "resources.device to cpu, in the run's experiment.yaml, and resume it with "
            "--accept-changes"
        ) from None
    except ray.exceptions.RayError as error:  # No GPU became free in time, or its machine was lost.
        ray.cancel(answer, force=True)
        return 1, f"1 to a GPU: how many fit best could not be measured ({brief(error)})"
    return best, f"{best} to a GPU (iterations a second by trials on it: {seen})"


_MEASUREMENT_S = 20.0
"""Timeout of the measurement of a training, including the start of a worker."""
_BRIEF = 1_000_000
"""Pixels times iterations of a training that ends about as soon as its measurement would."""


def measured_training_s(setting: Setting, shares: Shares, iterations: int) -> float | None:
    """Return the seconds of a training of so many iterations, averaged over the pictures.

    They are measured for about a second; None if no machine is free, nothing can be trained, or a
    training is so brief that nobody asks how long it takes.
    """
    from search.execution.probe import seconds_of_iteration

    pixels = [picture.pixels.size for picture in setting.pictures.values()]
    if iterations * max(pixels) <= _BRIEF:
        return None
    largest = max(setting.pictures.values(), key=lambda picture: picture.pixels.size)
    cpus, gpus = shares.trial["cpu"], shares.trial["gpu"]
    measure = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(seconds_of_iteration)
    answer = measure.remote(setting.device, setting.cpus, largest, setting.trainer)
    try:
        found: float = ray.get(answer, timeout=_MEASUREMENT_S)
    except ray.exceptions.RayError:
        # The trials will say why.
        ray.cancel(answer, force=True)
        return None
    return found * iterations * fmean(pixels) / max(pixels)


def _fit(node: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many trials fit on a node; a fraction of a GPU too small for one stays idle."""
    by_cpu = int(node.get("CPU", 0) // cpus)
    if not gpus:
        return by_cpu
    by_gpu = node.get("GPU", 0) * int(1 / gpus + 1e-9) if gpus <= 1 else node.get("GPU", 0) // gpus
    return min(by_cpu, int(by_gpu))
