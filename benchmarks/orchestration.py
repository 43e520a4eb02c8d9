"""Measure the overhead of a search: driver, analysis, suggestions and scaling.

Claims: a trial costs the driver at most 60 ms, storage included (its memory over 1,000 trials is
measured too); `status`, `trials` and `pareto` of 5,000 trials take at most 2 s and `--help` 0.5 s;
a suggestion at 1,000 trials takes at most 100 ms; with trials of 2 s, 1, 4, 16 and 64 workers are
kept busy for 95, 95, 90 and 80 % of their time.

`python benchmarks/orchestration.py driver|analysis|suggest|scaling` runs one part, which takes 1 to
6 minutes on two cores, prints tables and writes JSON. No part trains anything. `driver` and
`scaling` use the real lease, ledger, SQLite, `search.execution.tuning.tune_trials` and a local Ray.
Only the trainable is replaced by `Asleep`, which waits instead of training and does not import
torch. Workers are logical ones: they share the cores of this machine with the driver.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import optuna
import psutil
from machine import machine, write
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from sqlalchemy import insert

from search.execution.cluster import ray_cluster  # isort: skip - before Ray: it sets Ray's environment

from ray import tune

from search import Run
from search.execution.driver import create
from search.execution.ledger import Ledger
from search.execution.sampler import SAMPLERS, SearchedTrials
from search.execution.training import Setting
from search.execution.tuning import tune_trials
from search.execution.view import Quiet
from search.experiment.model import Experiment
from search.experiment.reading import validate
from search.experiment.space import suggest
from search.store.attributes import TrialAttributes, replicate_attribute
from search.store.lease import leased
from search.store.optuna_internals import id_of_study, models
from search.store.replicate import Replicate
from search.store.run import RunRecord
from search.terminal.progress import Lines

KEYS = [f"{picture}-seed{seed}" for seed in (0, 1) for picture in ("a", "b")]


def searched(trials: int, sampler: str = "tpe") -> Experiment:
    """Return a search with this number of sampled trials; its pictures are never read."""
    content = {
        "name": "idle",
        "images": ["skimage:camera"],
        "seeds": [0],
        "trainer": {"iterations": 400, "width": 16, "scales": 3},
        "space": {
            "stages": {"low": 1, "high": 10},
            "exponent": {"low": 0.2, "high": 5.0, "log": True},
            "ramp": {"low": 20, "high": 300},
            "split": ["power", "log", "free"],
            "noise": {
                "beta": ["linear", "cosine", "sigmoid"],
                "max_level": {"low": 0.1, "high": 1.0},
            },
        },
        "search": {"trials": trials, "seed": 0, "sampler": sampler},
    }
    return validate(content, "this benchmark")


def outcome(draw: random.Random) -> Replicate:
    """Return a replicate as a worker sends it, with random scores."""
    psnr, steps = 20 + 10 * draw.random(), draw.randrange(20, 400)
    scores = {
        "max_psnr_gt_db": psnr, "steps_to_max": steps, "censored": False,
        "ssim_gt_at_max_psnr_gt": 0.7, "max_ssim_gt": 0.75, "steps_to_max_ssim_gt": steps + 1,
        "final_psnr_gt_db": psnr - 1, "final_ssim_gt": 0.6,
    }  # fmt: skip
    return Replicate.from_plain({
        "stop": "budget", "iterations": 400, "resets": 0, "wall_s": 2.0, "iterations_per_s": 200.0,
        "device": "cpu", "host": "here", "versions": {"torch": "2.13.0", "python": "3.11.7"},
        "raw": scores, "smoothed": {**scores, "max_psnr_gt_db": psnr + 1},
    })  # fmt: skip


@contextmanager
def new_run(experiment: Experiment) -> Iterator[Run]:
    """Yield a new run in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        create(experiment, Path(folder) / experiment.name, None, {}, [])
        run = Run.open(experiment.name, folder)
        yield run
        run.storage.engine.dispose()


def spread(values: list[float]) -> str:
    """Return median, minimum and maximum as text."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def told(value: Any) -> str:
    """Format a number of a row with few digits."""
    if isinstance(value, list):
        return f"{spread(value)} n={len(value)}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def megabytes() -> float:
    """Return the resident memory of this process."""
    return float(psutil.Process().memory_info().rss / 1e6)


# --- driver ---


def measure_driver(trials: int) -> list[dict[str, Any]]:
    """Measure the ledger alone, then the whole driver with Tune and progress display."""
    return [
        {"part": f"ledger, {keys} replicates", **ledger_alone(trials, keys)} for keys in (1, 4)
    ] + [{"part": "whole driver, 2 workers", **through_tune(trials, 2, 0.0, Lines)}]


def ledger_alone(trials: int, keys: int) -> dict[str, Any]:
    """Measure CPU and wall time for each hundred trials, and memory after them."""
    draw, cpu_ms, wall_ms, memory_mb = random.Random(0), [], [], []
    with new_run(searched(trials)) as run:
        ledger = Ledger(run.study, run.experiment, KEYS[:keys])
        for _ in range(trials // 100):
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(100):
                work = ledger.next()
                assert work is not None
                for key in KEYS[:keys]:
                    ledger.record(work.number, key, outcome(draw))
                ledger.finish(work.number, None)
            cpu_ms.append(10 * (time.process_time() - cpu))
            wall_ms.append(10 * (time.perf_counter() - wall))
            memory_mb.append(megabytes())
    return {"cpu_ms": cpu_ms, "wall_ms": wall_ms, "memory_mb": memory_mb}


# --- scaling ---


@dataclass(frozen=True, slots=True)
class Sleep:
    """The part of a setting that `Asleep` needs: its duration and what `tune_trials` sets.

    together: a folder in which workers wait for each other before their first trial.
    """

    seconds: float
    workers: int
    together: Path
    device: str = "cpu"
    cpus: int = 1


class Asleep(tune.Trainable):  # type: ignore[misc]
    """A trial of one replicate that sleeps instead of training."""

    def setup(self, config: dict[str, Any], setting: Sleep) -> None:
        """Prepare an actor; called once for each."""
        self._setting, self._stages = setting, config["work"].schedule.pairs
        (setting.together / str(os.getpid())).touch()
        while len(list(setting.together.iterdir())) < setting.workers:
            time.sleep(1)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the next trial; called when an actor is reused."""
        self._stages = new_config["work"].schedule.pairs
        return True

    def step(self) -> dict[str, Any]:
        """Return the only replicate; its scores are computed from the schedule."""
        time.sleep(self._setting.seconds)
        made_up = outcome(random.Random(str(self._stages)))
        curves = b"0" * 10_000  # The size of curves of a few hundred iterations.
        return {"done": True, "replicate": ["k"], "outcome": [made_up], "curves": [curves]}


class Sampled(Quiet):
    """Records the driver's memory over the number of trials; can also render the terminal view."""

    def __init__(self, drawn: Callable[..., Any] | None) -> None:
        from rich.console import Console

        self.memory_mb: dict[int, float] = {}
        self._view = drawn(Console(file=open(os.devnull, "w"))) if drawn else Quiet()  # noqa: SIM115

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        self._view.update(run)
        self.memory_mb[len(list((run.folder / "curves").iterdir()))] = megabytes()


def through_tune(
    trials: int, workers: int, seconds: float, view: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Run a whole search; measure the driver's CPU time per trial and the use of the workers."""
    watch = Sampled(view)
    with (
        new_run(searched(trials)) as run,
        tempfile.TemporaryDirectory() as together,
        ray_cluster(None, cpus=workers),
    ):
        ledger = Ledger(run.study, run.experiment, ["k"])
        with leased(run.storage, run.name, run.name) as lease:
            cpu = time.process_time()
            tune_trials(
                run, ledger, cast(Setting, Sleep(seconds, workers, Path(together))), watch, lease,
                can_grow=False, trainable=Asleep,
            )  # fmt: skip
            cpu = time.process_time() - cpu
            processes = len(list(Path(together).iterdir()))
        ended = sorted(t.ended.timestamp() for t in run.records() if t.ended)
        assert len(ended) == trials
    # Leave out the first two rounds and the last. Count whole rounds: trials end in bursts.
    rounds = (trials - 3 * workers) // workers
    wall_s = ended[(rounds + 2) * workers - 1] - ended[2 * workers - 1]
    return {
        "workers": workers,
        "processes": processes,
        "trials": trials,
        "driver_cpu_ms": 1000 * cpu / trials,
        "trials_per_s": rounds * workers / wall_s,
        "efficiency": rounds * seconds / wall_s,
        "memory_mb": list(watch.memory_mb.values())[:: max(1, len(watch.memory_mb) // 10)],
    }


def measure_scaling(seconds: float) -> list[dict[str, Any]]:
    """Measure efficiency over workers: ideal time over measured time of the steady part."""
    rows = []
    for workers, rounds in ((1, 12), (4, 12), (16, 12), (64, 10)):
        busy = psutil.cpu_times()
        began = time.perf_counter()
        row = through_tune(rounds * workers, workers, seconds)
        now, wall = psutil.cpu_times(), time.perf_counter() - began
        used = sum(now[:3]) - sum(busy[:3])
        row["machine_busy"] = used / wall / (os.cpu_count() or 1)
        row["driver_busy"] = row["driver_cpu_ms"] / 1000 * row["trials_per_s"]
        rows.append(row)
    return rows


# --- analysis ---


def record(run: Run, trials: int) -> None:
    """Write finished trials of four replicates straight into Optuna's tables."""
    draw, study = random.Random(0), optuna.create_study(sampler=RandomSampler(seed=0))
    rows: dict[Any, list[dict[str, Any]]] = {
        model.__table__: []
        for model in (
            models.TrialModel, models.TrialUserAttributeModel,
            models.TrialParamModel, models.TrialValueModel,
        )
    }  # fmt: skip
    trial_rows, attributes, params, values = rows.values()
    assert run.experiment.space is not None
    for number in range(trials):
        asked = study.ask()
        point = suggest(asked, run.experiment.space, 25.0)
        ended = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=number)
        key = {"trial_id": number + 1}
        trial_rows.append(
            {**key, "number": number, "study_id": id_of_study(run.study),
             "state": TrialState.COMPLETE, "datetime_start": ended, "datetime_complete": ended}
        )  # fmt: skip
        replicates = {name: outcome(draw) for name in KEYS}
        pairs = point.family.schedule(400).pairs
        content = TrialAttributes(learning_rate=0.01, stages=pairs, wall_s=8.0).to_plain()
        for name, each in replicates.items():
            content |= replicate_attribute(name, each)
        attributes += [{**key, "key": k, "value_json": json.dumps(v)} for k, v in content.items()]
        for name, distribution in asked.distributions.items():
            value = distribution.to_internal_repr(asked.params[name])
            params.append(
                {**key, "param_name": name, "param_value": value,
                 "distribution_json": distribution_to_json(distribution)}
            )  # fmt: skip
        for objective, score in enumerate(("max_psnr_gt_db", "steps_to_max")):
            mean = statistics.fmean(getattr(each.raw, score) for each in replicates.values())
            values.append({**key, "objective": objective, "value": mean, "value_type": "FINITE"})
    with run.storage.engine.begin() as connection:
        for table, content_rows in rows.items():
            connection.execute(insert(table), content_rows)


def measure_analysis(blocks: int) -> list[dict[str, Any]]:
    """Measure the seconds of whole commands, alternating between a small and a large study."""
    commands = [["status"], ["trials"], ["pareto"], ["--help"]]
    seconds: dict[tuple[str, int], list[float]] = {}
    with new_run(searched(20)) as small, new_run(searched(5000)) as large:
        for run, trials in ((small, 20), (large, 5000)):
            record(run, trials)
        for _ in range(blocks + 1):
            for command in commands:
                for run, trials in ((small, 20), (large, 5000)):
                    where = ["idle", "--runs-dir", str(run.folder.parent)]
                    arguments = command if command == ["--help"] else [*command, *where]
                    began = time.perf_counter()
                    subprocess.run(
                        [sys.executable, "-m", "search.cli", *arguments],
                        stdout=subprocess.DEVNULL,
                        check=True,
                    )
                    taken = time.perf_counter() - began
                    seconds.setdefault((command[0], trials), []).append(taken)
    return [
        {"command": command, "trials": trials, "seconds": measured[1:]}  # The first warms up.
        for (command, trials), measured in seconds.items()
    ]


# --- suggest ---


def measure_suggest(blocks: int) -> list[dict[str, Any]]:
    """Measure the CPU milliseconds of a suggestion of all parameters, by number of trials."""
    rows = []
    space = searched(1).space
    assert space is not None
    for trials in (10, 100, 300, 1000):
        draw, known = random.Random(0), optuna.create_study(directions=["maximize", "minimize"])
        known.sampler = RandomSampler(seed=0)
        for _ in range(trials):
            asked = known.ask()
            suggest(asked, space, 25.0)
            known.tell(asked, [draw.random(), draw.random()])
        for name, make in SAMPLERS.items():
            learned = SearchedTrials(make(0, trials), known, known.trials)
            taken = []
            for number in range(trials, trials + blocks):
                began = time.process_time()
                asked = learned.ask()
                suggest(asked, space, 25.0)
                taken.append(1000 * (time.process_time() - began))
                learned.enter(asked, number)
                learned.tell(number, TrialState.COMPLETE, [draw.random(), draw.random()])
            rows.append({"sampler": name, "trials": trials, "ms": taken})
    return rows


def main() -> int:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("part", choices=["driver", "analysis", "suggest", "scaling"])
    arguments.add_argument("--trials", type=int, default=1000, help="of `driver`")
    arguments.add_argument("--blocks", type=int, default=7, help="of `analysis`; `suggest`: × 5")
    arguments.add_argument("--seconds", type=float, default=2.0, help="of a trial in `scaling`")
    arguments.add_argument("--output", type=Path, help="[default: beside this file]")
    given = arguments.parse_args()
    measured_on = machine()
    match given.part:
        case "driver":
            rows = measure_driver(given.trials)
        case "analysis":
            rows = measure_analysis(given.blocks)
        case "suggest":
            rows = measure_suggest(5 * given.blocks)
        case _:
            rows = measure_scaling(given.seconds)
    for row in rows:
        print("; ".join(f"{key} {told(value)}" for key, value in row.items()))
    default = Path(f"benchmarks/orchestration-{given.part}.json")
    write({**measured_on, "rows": rows}, given.output or default)
    return 0


if __name__ == "__main__":
    sys.exit(main())
