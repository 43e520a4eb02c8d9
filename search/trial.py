"""A trial in a worker: one schedule, trained on all its replicates. The Ray trainable."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray import tune

from dipstage.images import Picture
from dipstage.outcome import Outcome, Stop
from dipstage.randomness import Streams
from dipstage.schedules import Schedule
from dipstage.settings import TrainerSettings
from dipstage.stopping import Output
from dipstage.trainer import fit, observe
from search.versions import versions


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a search share; sent to each worker once."""

    pictures: Mapping[str, Picture]
    seeds: tuple[int, ...]
    sigma_255: float
    trainer: TrainerSettings
    output: Output
    cpus: int
    gpu: bool

    @property
    def replicates(self) -> dict[str, tuple[str, int]]:
        """Picture label and seed of each replicate by its key; seeds vary slowest."""
        return {
            f"{label}-seed{seed}": (label, seed) for seed in self.seeds for label in self.pictures
        }


def train_replicate(
    setting: Setting, key: str, schedule: Schedule, learning_rate: float
) -> Outcome:
    """One replicate. Its randomness depends on picture and seed alone, so trials are paired."""
    from dataclasses import replace

    label, seed = setting.replicates[key]
    picture = setting.pictures[label]
    truth = picture.tensor()
    streams = Streams(picture.digest, seed)
    trainer = replace(setting.trainer, learning_rate=learning_rate)
    return fit(
        observe(truth, setting.sigma_255, streams),
        truth,
        schedule,
        trainer,
        streams,
        stopping=trainer.stopping(setting.output),
        device="cuda" if setting.gpu else "cpu",
    )


def pack_curves(outcome: Outcome) -> bytes:
    """The curves as a compressed NumPy archive, the same bytes for the same curves."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **outcome.trace.arrays())
    return buffer.getvalue()


class ScheduleTrial(tune.Trainable):  # type: ignore[misc]
    """Trains one replicate a step, skips those that an earlier worker finished.

    A failure of the training is a result with its reason, so whatever Tune sees as an error is
    the death of a worker. Curves travel as the only element of a list, which the driver empties:
    Tune keeps every result that it was given.
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
        work = config["work"]
        self._schedule = Schedule.from_pairs(work["stages"])
        self._learning_rate = float(work["learning_rate"])
        self._left = [key for key in self._setting.replicates if key not in work["done"]]

    def step(self) -> dict[str, Any]:
        """Train the next replicate."""
        key = self._left.pop(0)
        try:
            outcome = train_replicate(self._setting, key, self._schedule, self._learning_rate)
        except Exception as error:
            if self._setting.gpu and not isinstance(error, torch.OutOfMemoryError | ValueError):
                # A GPU that failed once may fail for ever in this process: let the worker die.
                raise
            reason = f"{type(error).__name__} on {key}: {error}"
            return {"done": True, "failure": " ".join(reason.split())}
        if outcome.stop is Stop.DIVERGED:
            return {
                "done": True,
                "failure": f"diverged on {key} after {outcome.iterations} iterations",
            }
        return {
            "done": not self._left,
            "replicate": [key],
            "outcome": [
                {
                    **outcome.summary(),
                    "host": platform.node(),
                    "versions": versions(),
                }
            ],
            "curves": [pack_curves(outcome)],
        }
