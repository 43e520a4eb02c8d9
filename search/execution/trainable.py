"""A trial in a worker: one schedule, trained on all its replicates. The Ray trainable."""

from __future__ import annotations

import gc
import math
from functools import partial
from typing import Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import send_heartbeat  # isort: skip

import torch
from ray import tune

from dipstage.training.memory import is_out_of_memory
from dipstage.training.outcome import Outcome, Stop
from search.execution.heartbeats import Pulse
from search.execution.training import (
    Setting,
    keep_picture,
    pack_curves,
    summarise,
    train_replicates,
)
from search.execution.work import Work
from search.store.replicate import Replicate

MAX_REASON = 500
"""Characters of an error that are kept."""


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
