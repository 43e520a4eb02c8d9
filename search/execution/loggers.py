"""Logging to TensorBoard, MLflow and Weights & Biases through Ray's callbacks.

Each logger works in its own thread and reads trials from the study. If a server is slow or
unreachable, the search neither waits nor fails: the logger reports it once and stops until the next
resume.
"""

from __future__ import annotations

import io
import logging
import math
import os
import queue
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before Ray, whose environment it sets.
from search.execution.ray_internals import mlflow_client, set_mlflow_run  # isort: skip

import numpy as np
from ray import tune
from ray.tune.logger import LoggerCallback

from dipstage.errors import brief
from dipstage.schedules.stopping import OUTPUTS
from search.experiment.objectives import mean_score
from search.store.attributes import write

if TYPE_CHECKING:
    from search.execution.view import View
    from search.experiment.objectives import Objective
    from search.store.records import Trial
    from search.store.replicate import Replicate
    from search.store.run import RunRecord

LOGGED = "logged_as"
"""Tag in MLflow that holds the name by which loggers know the study."""
_POINTS = 200
"""Maximum number of points of a curve in TensorBoard."""
_CURVES = ("psnr_gt_raw_db", "psnr_gt_smoothed_db", "loss")
_PENDING = 10_000
"""Maximum number of events that wait for a server; a logger with more gives up."""
_END = "close"
CLOSING_S = 30.0
"""Maximum time in seconds that a search waits for a logger when it ends."""
INTERRUPTED_S = 3.0
"""The same for a search that was interrupted."""


@dataclass(frozen=True, slots=True)
class LoggedTrial:
    """A trial in the form that Ray's callbacks expect of Tune's trials."""

    number: int
    trial_id: str
    experiment_dir_name: str
    local_path: str
    name: str
    evaluated_params: dict[str, Any] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.number:05d} {self.name}"

    @property
    def config(self) -> dict[str, Any]:
        """The parameters; TensorBoard's table of hyperparameters reads `evaluated_params`."""
        return self.evaluated_params

    def init_local_path(self) -> None:
        """Make the folder of the trial, as Tune's trials do."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class Logger(tune.Callback):  # type: ignore[misc]
    """Passes Tune's events to one of Ray's callbacks in a thread, reduced to numbers."""

    def __init__(
        self,
        name: str,
        run: RunRecord,
        number_of: Callable[[str], int],
        make: Callable[[str], LoggerCallback],
        *,
        curves: bool = False,
        adopt: Callable[[LoggerCallback, Logger], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            name: Name of the logger in messages.
            run: The run whose trials are logged.
            number_of: Returns the study's number of a trial by Tune's id.
            make: Creates the callback for the name by which loggers know the study.
            curves: Whether curves are logged as well.
            adopt: Continues what an earlier driver left open.
        """
        self.failure: str | None = None
        self._is_reported = False
        self._name, self._number_of, self._make = name, number_of, make
        self._curves, self._adopt = curves, adopt
        self._run = run.reread()
        self.known_as = str(run.attributes.logged_as)
        self._numbers: dict[str, int] = {}
        self._starts = Counter[int]()
        self._open: dict[int, LoggedTrial] = {}
        self._scores: dict[int, dict[str, Replicate]] = {}
        self._events: queue.Queue[tuple[Any, ...]] = queue.Queue(_PENDING)
        self._thread = threading.Thread(target=self._work, name=f"log to {name}", daemon=True)
        self._thread.start()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing, because Tune stores what it pickles and addresses may be secret."""
        return {}

    # Methods that Tune calls.

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log that a worker began or continued a trial."""
        number = self._numbers[trial.trial_id] = self._number_of(trial.trial_id)
        self._starts[number] += 1
        self._put("start", number, list(trial.config["work"].done))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Log a finished replicate. The result holds its curves unless they are written already."""
        number = self._numbers.get(trial.trial_id)
        if result.get("replicate") and number is not None:
            [key], [replicate] = result["replicate"], result["outcome"]
            packed = result["curves"][0] if self._curves and result["curves"] else None
            self._put("result", number, key, replicate, packed)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Log that a trial ended, unless the study shows that it runs again."""
        number = self._numbers.pop(trial.trial_id, None)
        if number is not None:  # A worker may die before its trial has begun.
            self._put("end", number, self._starts[number])

    on_trial_error = on_trial_complete

    def close(self, within_s: float = CLOSING_S) -> None:
        """Wait until everything is logged, for at most `within_s` seconds."""
        self._put(_END)
        self._thread.join(within_s)
        if self._thread.is_alive() and self.failure is None:
            self.failure = f"{self._name} had not taken everything {within_s:.0f} s after the end"

    def report_failure(self, view: View) -> None:
        """Report once that the logger has given up."""
        if self.failure is not None and not self._is_reported:
            self._is_reported = True
            view.note(f"{self.failure}; nothing more is logged there until a resume")

    def _put(self, kind: str, *details: Any) -> None:
        if self.failure is None:
            try:
                self._events.put_nowait((kind, *details))
            except queue.Full:
                self.failure = f"{self._name} is too slow"

    # Methods that run in the thread.

    def _work(self) -> None:
        try:
            callback = self._make(self.known_as)
            callback.setup()
            if self._adopt is not None:
                self._adopt(callback, self)
            log: dict[str, Callable[..., None]]
            log = {"start": self._log_start, "result": self._log_result, "end": self._log_end}
            while (event := self._events.get())[0] != _END and self.failure is None:
                kind, *details = event
                log[kind](callback, *details)
            if self.failure is None:
                callback.on_experiment_end([])
        except Exception as error:  # Clients raise errors of many kinds; the search continues.
            self.failure = f"{self._name}: {brief(error)}"

    def _log_start(self, callback: LoggerCallback, number: int, done: list[str]) -> None:
        trial = self.record(number)
        shown = self._open[number] = self.shown(trial)
        self._scores[number] = {key: trial.replicates[key] for key in done}
        callback.log_trial_start(shown)

    def _log_result(
        self,
        callback: LoggerCallback,
        number: int,
        key: str,
        replicate: Replicate,
        packed: bytes | None,
    ) -> None:
        shown, scores = self._open[number], self._scores[number]
        scores[key] = replicate
        if self._curves:
            for i, point in _points(packed, lambda: self._run.curves(self.record(number), key)):
                callback.log_trial_result(i, shown, {"training_iteration": i, key: point})
        numbers = {"training_iteration": len(scores), **_numbers(replicate)}
        numbers["mean"] = _means(scores, self._run.objective)
        callback.log_trial_result(len(scores), shown, numbers)

    def _log_end(self, callback: LoggerCallback, number: int, starts: int) -> None:
        trial = self.record(number)
        # By now the trial may have been started again, and even have ended.
        if trial.state != "running" and self._starts[number] == starts:
            callback.log_trial_end(self._open.pop(number), failed=trial.state == "failed")
            del self._scores[number]

    def record(self, number: int) -> Trial:
        """Return the present record of a trial."""
        return next(trial for trial in self._run.records() if trial.number == number)

    def shown(self, trial: Trial) -> LoggedTrial:
        """Return a trial in the form that Ray's callbacks expect."""
        schedule = trial.schedule
        config = {
            "schedule": trial.name if trial.candidate else "sampled",
            "stages": len(schedule.stages) if schedule else None,
            "ramp": schedule.ramp if schedule else None,
            "iterations": schedule.iterations if schedule else None,
            "learning_rate": trial.learning_rate,
            "warmup": schedule.recipe.warmup if schedule else None,
            **trial.params,
        }
        return LoggedTrial(
            number=trial.number,
            trial_id=f"{self.known_as}-{trial.number:05d}",
            experiment_dir_name=self._run.name,
            local_path=str(self._run.folder / "tensorboard" / f"trial{trial.number:05d}"),
            name=trial.name,
            evaluated_params={key: value for key, value in config.items() if value is not None},
        )


def _numbers(replicate: Replicate) -> dict[str, Any]:
    """Return the numbers of a replicate."""
    plain = replicate.to_plain()
    kept = {key: plain[key] for key in ("iterations", "resets", "wall_s", "iterations_per_s")}
    for output in OUTPUTS:
        kept[output] = {key: float(value) for key, value in plain[output].items()}
    return kept


def _means(scores: dict[str, Replicate], objective: Objective) -> dict[str, float]:
    """Return the means of both objectives over the replicates so far."""
    mean = mean_score(replicate.score(objective) for replicate in scores.values())
    return {objective.quality.key: mean.max_psnr_gt_db, objective.cost.key: mean.steps_to_max}


def _points(
    packed: bytes | None, written: Callable[[], dict[str, Any]]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield evenly spaced iterations of a replicate with the values of its curves there."""
    if packed is None:
        arrays = written()
    else:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    length = len(arrays["loss"])
    for i in range(0, length, max(1, math.ceil(length / _POINTS))):
        yield i, {name: float(arrays[name][i]) for name in _CURVES}


@contextmanager
def logged(run: RunRecord, number_of: Callable[[str], int], view: View) -> Iterator[list[Logger]]:
    """Yield the loggers that the experiment asks for, and close them at the end of the block.

    Args:
        run: The run whose trials are logged.
        number_of: Returns the study's number of a trial by Tune's id.
        view: Receives a note on every logger that gives up.
    """
    if not run.experiment.logging.wanted:
        yield []
        return
    if run.attributes.logged_as is None:
        write(run.study, logged_as=uuid.uuid4().hex)
    found, within_s = _loggers(run, number_of), INTERRUPTED_S
    try:
        yield found
        within_s = CLOSING_S
    finally:
        for logger in found:
            logger.close(within_s)
            logger.report_failure(view)


def _loggers(run: RunRecord, number_of: Callable[[str], int]) -> list[Logger]:
    wanted, found = run.experiment.logging, []
    if wanted.tensorboard:
        from ray.tune.logger import TBXLoggerCallback

        found.append(
            Logger("TensorBoard", run, number_of, lambda _: TBXLoggerCallback(), curves=True)
        )
    if wanted.mlflow:
        found.append(_mlflow(run, wanted.mlflow, number_of))
    if wanted.wandb:
        found.append(_wandb(run, wanted.wandb, number_of))
    return found


def _mlflow(run: RunRecord, address: str, number_of: Callable[[str], int]) -> Logger:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if "://" not in address or address.startswith("file:"):
        # Since MLflow 3.7, logging to a folder must be allowed by this variable.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

    def make(known_as: str) -> LoggerCallback:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        # When it is imported, MLflow reports every table that it creates on stderr.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return MLflowLoggerCallback(
            tracking_uri=address, experiment_name=run.name, tags={LOGGED: known_as}
        )

    return Logger("MLflow", run, number_of, make, adopt=_adopt_mlflow_runs)


def _adopt_mlflow_runs(callback: Any, logger: Logger) -> None:
    """Continue the runs in MLflow that a dead driver left open, or close those that have ended."""
    client = mlflow_client(callback)
    left = client.search_runs(
        [callback.mlflow_util.experiment_id],
        f"tags.{LOGGED} = '{logger.known_as}' and attributes.status = 'RUNNING'",
    )
    for found in left:
        trial = logger.record(int(found.data.tags["trial_name"].split()[0]))
        if trial.state == "running":
            set_mlflow_run(callback, logger.shown(trial), found.info.run_id)
        else:
            status = "FAILED" if trial.state == "failed" else "FINISHED"
            client.set_terminated(found.info.run_id, status)


def _wandb(run: RunRecord, project: str, number_of: Callable[[str], int]) -> Logger:
    def make(known_as: str) -> LoggerCallback:
        from ray.air.integrations.wandb import WandbLoggerCallback

        # A trial that continues also continues its run there.
        return WandbLoggerCallback(project=project, group=run.name, resume="allow")

    return Logger("Weights & Biases", run, number_of, make)
