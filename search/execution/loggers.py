"""Ray's own logger callbacks, fed with numbers: TensorBoard, MLflow, Weights & Biases.

A logger works in a thread of its own and reads what it tells from the study. Where a server is slow
or away, a search neither waits nor fails: the logger says so once and stops until the next resume.
"""

from __future__ import annotations

import importlib.util
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

from dipstage.errors import InputError
from dipstage.stopping import OUTPUTS
from search.experiment.objectives import mean_score
from search.store.attributes import write
from search.store.paths import brief, is_remote

if TYPE_CHECKING:
    from search.execution.view import View
    from search.experiment.model import Logging
    from search.experiment.objectives import Objective
    from search.store.records import Trial
    from search.store.replicate import Replicate
    from search.store.run import RunRecord

LOGGED = "logged_as"
"""MLflow's tag for the name that loggers know a study by."""
_EXTRAS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
_POINTS = 200
"""Of a replicate's curve in TensorBoard."""
_CURVES = ("psnr_gt_raw_db", "psnr_gt_smoothed_db", "loss")
_PENDING = 10_000
"""Events that wait for a slow server; what comes beyond ends its logger."""
_END = "close"
CLOSING_S = 30.0
"""How long the end of a search waits for a logger."""
INTERRUPTED_S = 3.0
"""The same, where a person has asked it to end."""


def refuse_missing(wanted: Logging, folder: Path) -> None:
    """InputError for a logger whose package is not installed, or that cannot log this run."""
    for key, package in _EXTRAS.items():
        if getattr(wanted, key) and importlib.util.find_spec(package) is None:
            raise InputError(f"logging.{key} needs {package}: pip install 'dipsearch[{key}]'")
    if wanted.tensorboard and is_remote(folder):
        raise InputError(
            "logging.tensorboard needs a run folder on this machine, and "
            f"{folder} is on object storage: use logging.mlflow or logging.wandb"
        )


@dataclass(eq=False, slots=True)
class Told:
    """A trial as Ray's callbacks see one: what they ask of Tune's, and only numbers and names."""

    number: int
    trial_id: str
    experiment_dir_name: str
    local_path: str
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and self.number == other.number

    def __str__(self) -> str:
        return f"{self.number:05d} {self.name}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """What TensorBoard's table of hyperparameters holds."""
        return self.config

    def init_local_path(self) -> None:
        """Tune's trials make their folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class Logger(tune.Callback):  # type: ignore[misc]
    """Hands what Tune reports to one of Ray's callbacks, in a thread, reduced to numbers.

    make: of the callback, given the run's name for loggers. curves: whether it gets them, too.
    take_up: adopts what an earlier driver left open.
    """

    def __init__(
        self,
        name: str,
        run: RunRecord,
        number_of: Callable[[str], int],
        make: Callable[[str], LoggerCallback],
        *,
        curves: bool = False,
        take_up: Callable[[LoggerCallback, Logger], None] | None = None,
    ) -> None:
        self.failure: str | None = None
        self._told = False
        self._name, self._number_of, self._make = name, number_of, make
        self._curves, self._take_up = curves, take_up
        self._run = run.reread()
        self.known_as = str(run.attributes.logged_as)
        self._numbers: dict[str, int] = {}
        self._starts = Counter[int]()
        self._open: dict[int, Told] = {}
        self._scores: dict[int, dict[str, Replicate]] = {}
        self._events: queue.Queue[tuple[Any, ...]] = queue.Queue(_PENDING)
        self._thread = threading.Thread(target=self._work, name=f"log to {name}", daemon=True)
        self._thread.start()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given; an address must not be among it."""
        return {}

    # Called by Tune.

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker began or went on with a trial."""
        number = self._numbers[trial.trial_id] = self._number_of(trial.trial_id)
        self._starts[number] += 1
        self._put("start", number, list(trial.config["work"]["done"]))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A replicate ended. Its curves are in the result where nobody has written them yet."""
        number = self._numbers.get(trial.trial_id)
        if result.get("replicate") and number is not None:
            [key], [replicate] = result["replicate"], result["outcome"]
            packed = result["curves"][0] if self._curves and result["curves"] else None
            self._put("result", number, key, replicate, packed)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, or is to run again: the study knows."""
        number = self._numbers.pop(trial.trial_id, None)
        if number is not None:  # A worker may die before its trial has begun.
            self._put("end", number, self._starts[number])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died."""
        self.on_trial_complete(iteration, trials, trial)

    def close(self, within_s: float = CLOSING_S) -> None:
        """Wait for what is under way, but not for ever."""
        self._put(_END)
        self._thread.join(within_s)
        if self._thread.is_alive() and self.failure is None:
            self.failure = f"{self._name} had not taken everything {within_s:.0f} s after the end"

    def tell_failure(self, view: View) -> None:
        """That it has given up, once."""
        if self.failure is not None and not self._told:
            self._told = True
            view.note(f"{self.failure}; nothing more is logged there until a resume")

    def _put(self, kind: str, *details: Any) -> None:
        if self.failure is None:
            try:
                self._events.put_nowait((kind, *details))
            except queue.Full:
                self.failure = f"{self._name} is too slow"

    # In the thread.

    def _work(self) -> None:
        try:
            callback = self._make(self.known_as)
            callback.setup()
            if self._take_up is not None:
                self._take_up(callback, self)
            log: dict[str, Callable[..., None]]
            log = {"start": self._log_start, "result": self._log_result, "end": self._log_end}
            while (event := self._events.get())[0] != _END and self.failure is None:
                kind, *details = event
                log[kind](callback, *details)
            if self.failure is None:
                callback.on_experiment_end([])
        except Exception as error:  # Of any client, of any kind: a search goes on without it.
            self.failure = f"{self._name}: {brief(error)}"

    def _log_start(self, callback: LoggerCallback, number: int, done: list[str]) -> None:
        trial = self.record(number)
        told = self._open[number] = self.told(trial)
        self._scores[number] = {key: trial.replicates[key] for key in done}
        callback.log_trial_start(told)

    def _log_result(
        self,
        callback: LoggerCallback,
        number: int,
        key: str,
        replicate: Replicate,
        packed: bytes | None,
    ) -> None:
        told, scores = self._open[number], self._scores[number]
        scores[key] = replicate
        if self._curves:
            for i, point in _points(packed, lambda: self._run.curves(self.record(number), key)):
                callback.log_trial_result(i, told, {"training_iteration": i, key: point})
        numbers = {"training_iteration": len(scores), **_numbers(replicate)}
        numbers["mean"] = _means(scores, self._run.objective)
        callback.log_trial_result(len(scores), told, numbers)

    def _log_end(self, callback: LoggerCallback, number: int, starts: int) -> None:
        trial = self.record(number)
        # This may be looked at late, when the trial has been handed out again and ended.
        if trial.state != "running" and self._starts[number] == starts:
            callback.log_trial_end(self._open.pop(number), failed=trial.state == "failed")
            del self._scores[number]

    def record(self, number: int) -> Trial:
        """The trial as the study has it now."""
        return next(trial for trial in self._run.records() if trial.number == number)

    def told(self, trial: Trial) -> Told:
        """What Ray's callbacks are told a trial is."""
        schedule = trial.schedule
        config = {
            "schedule": trial.name if trial.candidate else "sampled",
            "stages": len(schedule.stages) if schedule else None,
            "ramp": schedule.ramp if schedule else None,
            "iterations": schedule.iterations if schedule else None,
            "learning_rate": trial.learning_rate,
            "warmup": trial.warmup,
            **trial.params,
        }
        return Told(
            number=trial.number,
            trial_id=f"{self.known_as}-{trial.number:05d}",
            experiment_dir_name=self._run.name,
            local_path=str(self._run.folder / "tensorboard" / f"trial{trial.number:05d}"),
            name=trial.name,
            config={key: value for key, value in config.items() if value is not None},
        )


def _numbers(replicate: Replicate) -> dict[str, Any]:
    """What is known of a replicate in numbers."""
    plain = replicate.to_plain()
    kept = {key: plain[key] for key in ("iterations", "resets", "wall_s", "iterations_per_s")}
    for output in OUTPUTS:
        kept[output] = {key: float(value) for key, value in plain[output].items()}
    return kept


def _means(scores: dict[str, Replicate], objective: Objective) -> dict[str, float]:
    """Both objectives, over the replicates so far."""
    mean = mean_score(replicate.score(objective) for replicate in scores.values())
    return {"max_psnr_gt_db": mean.max_psnr_gt_db, objective.steps_key: mean.steps_to_max}


def _points(
    packed: bytes | None, written: Callable[[], dict[str, Any]]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Iterations of a replicate, evenly thinned, and the curves there."""
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
    """The loggers that an experiment asks for; at the end of the block they take what is left.

    number_of: the study's number of a trial by Tune's id. view: told of a logger that gives up.
    """
    if run.attributes.logged_as is None:
        write(run.study, logged_as=uuid.uuid4().hex)
    found, within_s = _loggers(run, run.experiment.logging, number_of), INTERRUPTED_S
    try:
        yield found
        within_s = CLOSING_S
    finally:
        for logger in found:
            logger.close(within_s)
            logger.tell_failure(view)


def _loggers(run: RunRecord, wanted: Logging, number_of: Callable[[str], int]) -> list[Logger]:
    found = []
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
        # Since MLflow 3.7 a folder must be wanted by this name, too; it still works.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

    def make(known_as: str) -> LoggerCallback:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        # MLflow, once imported, tells on stderr of each table that it makes.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return MLflowLoggerCallback(
            tracking_uri=address, experiment_name=run.name, tags={LOGGED: known_as}
        )

    return Logger("MLflow", run, number_of, make, take_up=_take_up)


def _take_up(callback: Any, logger: Logger) -> None:
    """MLflow runs that a dead driver left open: one for each trial is enough."""
    client = mlflow_client(callback)
    left = client.search_runs(
        [callback.mlflow_util.experiment_id],
        f"tags.{LOGGED} = '{logger.known_as}' and attributes.status = 'RUNNING'",
    )
    for found in left:
        trial = logger.record(int(found.data.tags["trial_name"].split()[0]))
        if trial.state == "running":
            set_mlflow_run(callback, logger.told(trial), found.info.run_id)
        else:
            status = "FAILED" if trial.state == "failed" else "FINISHED"
            client.set_terminated(found.info.run_id, status)


def _wandb(run: RunRecord, project: str, number_of: Callable[[str], int]) -> Logger:
    def make(known_as: str) -> LoggerCallback:
        from ray.air.integrations.wandb import WandbLoggerCallback

        # A trial that is taken up again goes on with its run there.
        return WandbLoggerCallback(project=project, group=run.name, resume="allow")

    return Logger("Weights & Biases", run, number_of, make)
