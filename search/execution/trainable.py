"""A trial in a worker: one schedule, trained on all its replicates. The Ray trainable."""

from __future__ import annotations

import gc
import io
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import send_heartbeat  # isort: skip

import numpy as np
import torch
from ray import tune

from dipstage.pictures.images import Picture, png
from dipstage.randomness import Streams
from dipstage.restoration.choosing import noise_to_fit_255, stopping_rule
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS
from dipstage.tasks.problem import Task
from dipstage.training.measurements import BLOCK
from dipstage.training.memory import is_out_of_memory
from dipstage.training.outcome import Outcome, Stop, steps_within, trailing_mean
from dipstage.training.trainer import Job, fit_together
from search.analysis.common_target import first_at
from search.execution.custom import CustomObjective, installed
from search.execution.heartbeats import Pulse
from search.execution.work import Work
from search.experiment.objectives import Objective
from search.store.replicate import MAX_INSTALLED, Replicate, ReplicateKey
from search.store.versions import versions

MAX_REASON = 500
"""Characters of an error that are kept."""


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


class ScheduleTrial(tune.Trainable):  # type: ignore[misc]
    """Trains one replicate a step, skips those that an earlier worker finished.

    A failure of the training is a result with its reason, so whatever Tune sees as an error is
    the death of a worker. Curves and pictures travel as the only element of a list, which the
    driver empties: Tune keeps every result that it was given.
    """

    def setup(self, config: dict[str, Any], setting: Setting) -> None:
        """Called once for each actor."""
        torch.set_num_threads(setting.cpus)
        self._setting = setting
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called when an actor goes on to another trial."""
        self._take(new_config)
        return True

    def _take(self, config: dict[str, Any]) -> None:
        work: Work = config["work"]
        self._schedule = work.schedule
        self._left = [key for key in self._setting.replicates if key not in work.done]
        self._trained: dict[str, Outcome] = {}
        self._together = 1 if work.alone else self._setting.together
        # As `Shares.whole` reserves them.
        self._gpus = float(math.ceil(self._setting.gpus)) if work.alone else self._setting.gpus
        self._pulse = Pulse(partial(send_heartbeat, config.get("id", "")))

    def _outcome(self, key: str) -> Outcome:
        """The outcome of the next replicate, which may have been trained together with others."""
        others = self._left[: self._together - 1]
        if key not in self._trained and others:
            try:
                self._train([key, *others])
                return self._trained.pop(key)
            except Exception:
                # The failure may be that of another replicate, or there is memory for fewer: the
                # rest of the trial goes on one by one.
                self._together = 1
            self._free_memory()
        if key not in self._trained:
            self._train([key])
        return self._trained.pop(key)

    def _train(self, keys: list[str]) -> None:
        self._beside = len(keys)
        outcomes = train_replicates(self._setting, keys, self._schedule, self._pulse.block)
        self._trained = dict(zip(keys, outcomes, strict=True))

    def _free_memory(self) -> None:
        """Free what a failed training took. Within `except` its error would still hold that."""
        gc.collect()
        if self._setting.device == "cuda":
            torch.cuda.empty_cache()

    def step(self) -> dict[str, Any]:
        """Report the next replicate."""
        self._pulse.rest()
        try:
            return self._step()
        finally:
            self._pulse.rest()

    def _step(self) -> dict[str, Any]:
        key = self._left.pop(0)
        try:
            outcome = self._outcome(key)
            if outcome.stop is Stop.DIVERGED:
                return {
                    "done": True,
                    "failure": f"diverged on {key} after {outcome.iterations} iterations",
                }
            summary = summarise(
                outcome,
                self._setting.objective,
                self._schedule.iterations,
                self._gpus,
                patience=self._setting.trainer.patience,
                together=self._beside,
            )
        except Exception as error:
            ran_out = is_out_of_memory(error)
            words = str(error) or ("memory ran out" if ran_out else "it has no message")
            reason = " ".join(f"{type(error).__name__} on {key}: {words}".split())[:MAX_REASON]
            if self._setting.device == "cuda" and not (ran_out or isinstance(error, ValueError)):
                # A GPU that failed once may fail for ever in this process: let the worker die.
                raise
            failed = {"done": True, "failure": reason, "out_of_memory": ran_out}
        else:
            return self._report(key, outcome, summary)
        self._free_memory()
        return failed

    def _report(self, key: str, outcome: Outcome, summary: Replicate) -> dict[str, Any]:
        return {
            "done": not self._left,
            "replicate": [key],
            "outcome": [summary],
            "curves": [pack_curves(outcome)],
            "pictures": keep_picture(self._setting, key, outcome),
        }
