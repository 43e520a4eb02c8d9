"""The training of replicates in a worker, and their records: all but what is Ray's."""

from __future__ import annotations

import io
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dipstage.pictures.images import Picture, png
from dipstage.randomness import Streams
from dipstage.restoration.choosing import noise_to_fit_255, stopping_rule
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS
from dipstage.tasks.problem import Task
from dipstage.training.measurements import BLOCK
from dipstage.training.outcome import Outcome, steps_within, trailing_mean
from dipstage.training.trainer import Job, fit_together
from search.analysis.common_target import first_at
from search.execution.custom import CustomObjective, installed
from search.experiment.objectives import Objective
from search.store.replicate import MAX_INSTALLED, Replicate, ReplicateKey
from search.store.versions import versions


@dataclass(frozen=True, slots=True)
class Setting:
    """Data that all trials of a search share; it is sent to each worker once.

    together: Replicates that a worker trains side by side.
    gpus: Share of a GPU that a trial reserves, unless it runs alone.
    """

    pictures: Mapping[str, Picture]
    seeds: tuple[int, ...]
    task: Task
    trainer: TrainerSettings
    objective: Objective
    cpus: int
    device: str
    together: int = 1
    gpus: float = 0.0

    @property
    def replicates(self) -> dict[str, ReplicateKey]:
        """The replicates of a trial by their keys as text, in the order of training.

        Pictures vary fastest, and each round pairs them with other seeds, so that the first few
        replicates say as much as they can.
        """
        keys = [
            ReplicateKey(label, self.seeds[(i + turn) % len(self.seeds)])
            for turn in range(len(self.seeds))
            for i, label in enumerate(self.pictures)
        ]
        return {str(key): key for key in keys}


def train_replicates(
    setting: Setting,
    keys: Sequence[str],
    schedule: Schedule,
    each_block: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Replicates side by side. Their randomness depends on picture and seed alone, so trials are
    paired.

    each_block: called after each block of iterations.
    """
    trainer, stop = setting.trainer, setting.objective.stop
    stopping = trainer.stopping(setting.objective.output)
    jobs = []
    for key in keys:
        replicate = setting.replicates[key]
        picture = setting.pictures[replicate.picture]
        truth, streams = picture.tensor(), Streams(picture.digest, replicate.seed)
        problem = setting.task.observe(truth, streams)
        if stop != "oracle":
            stopping = stopping_rule(stop, schedule.iterations, noise_to_fit_255(problem))
        job = Job(problem, truth, schedule, trainer, streams, stopping, lambda _: each_block())
        jobs.append(job)
    return fit_together(jobs, device=setting.device)


def summarise(
    outcome: Outcome,
    objective: Objective,
    budget: int,
    gpus: float,
    *,
    patience: int,
    together: int = 1,
) -> Replicate:
    """Return the record of a replicate that the study keeps.

    budget: iterations of the schedule. gpus: GPUs that the worker had. patience: see
    `TrainerSettings`. together: how many replicates the worker trained side by side; each is
    recorded with its share of the time and of the GPUs.
    """
    summary = {**outcome.summary(), "host": platform.node(), "versions": versions()}
    if objective.stop == "oracle":
        del summary["selected"]
    summary["wall_s"] /= together
    if gpus:
        summary["gpus"] = gpus / together
    target = objective.target_psnr_gt_db
    for output in OUTPUTS:
        curve = outcome.trace.psnr_gt_db(output)
        if output == "raw":
            curve = trailing_mean(curve, objective.window)
        if objective.tolerance_db:
            steps = steps_within(curve, objective.tolerance_db)
            summary[output]["steps_to_tolerance"] = steps
        if target is not None:
            reached = first_at(curve, target)
            summary[output]["steps_to_target"] = budget if reached is None else reached
        if objective.metric == "ssim":
            followed = outcome.iterations - 1 - summary[output]["steps_to_max_ssim_gt"]
            # SSIM is measured once a block, so fewer than a block may follow its last value.
            summary[output]["ssim_censored"] = followed < max(patience, BLOCK)
    replicate = Replicate.from_plain(summary)
    own = {name: _value(name, each, replicate) for name, each in installed(objective).items()}
    return replace(replicate, objectives=own) if own else replicate


def _value(name: str, objective: CustomObjective, replicate: Replicate) -> float:
    try:
        value = float(objective(replicate))
    except Exception as error:  # A worker that dies of it would be started again.
        raise ValueError(f"objective {name}: {type(error).__name__}: {error}") from error
    if MAX_INSTALLED < abs(value) < math.inf:
        raise ValueError(f"objective {name} is {value:g}: keep it within ±{MAX_INSTALLED:g}")
    return value


def pack_curves(outcome: Outcome) -> bytes:
    """The curves as a compressed NumPy archive, the same bytes for the same curves."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **outcome.trace.arrays())
    return buffer.getvalue()


def keep_picture(setting: Setting, key: str, outcome: Outcome) -> list[bytes]:
    """The output that counts as a PNG, of the first seed alone: one picture to look at for each
    ground truth. In a list, as curves are.
    """
    if setting.replicates[key].seed != setting.seeds[0]:
        return []
    is_raw, selected = setting.objective.output == "raw", outcome.selected
    if setting.objective.stop != "oracle" and selected is not None:
        return [png(selected.raw if is_raw else selected.smoothed)]
    return [png(outcome.best_raw if is_raw else outcome.best_smoothed)]
