r"""Compare how soon samplers find good schedules, by searches on a surrogate of a recorded search.

Claim: the hypervolume above plain DIP's own point after each trial, and the number of trials that
each sampler needs to reach the hypervolume of random search after its last; mean and 95 % interval
over repetitions.

    python benchmarks/sampler.py record denoise-64 --runs-dir runs
    python benchmarks/sampler.py replay

`record` keeps the sampled trials of a finished search. The truth of a replay is a regression on
them (benchmarks/surrogate.py); its cross-validated error is printed.

A replay is a search by `search.experiment.space.suggest` and
`search.execution.sampler.SearchedTrials`, two trials at a time and without racing. Noisy scores are
reported to the sampler: means of as many replicates as were recorded. Hypervolumes are computed
from true means, either of all trials (`found`), or only of the trials on the front of the reported
scores (`shown`). Repetition i has sampler seed i, and its noise is drawn with that seed.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import scipy
from machine import machine, write
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState
from surrogate import HERE, RECORDED, Recorded, Truth, cross_validate

from search import Run
from search.analysis import pareto
from search.execution.sampler import SAMPLERS, SearchedTrials, startup
from search.experiment.model import Experiment
from search.experiment.objectives import Score
from search.experiment.reading import load_experiment
from search.experiment.space import suggest

CONCURRENT = 2
Made = Callable[[int, int], BaseSampler]

VARIANTS: dict[str, Made] = {
    **SAMPLERS,
    "tpe, multivariate": lambda seed, trials: TPESampler(
        seed=seed, n_startup_trials=startup(trials), multivariate=True
    ),
    "nsga2, population 20": lambda seed, trials: NSGAIISampler(seed=seed, population_size=20),
}
SLOW = {"gp": (30, 10)}
"""Trials and repetitions of samplers whose suggestions take seconds."""


def record(name: str, runs_dir: Path) -> None:
    """Write the sampled trials of a finished run beside this script."""
    run = Run.open(name, runs_dir)
    records = [trial for trial in run.records() if trial.state in ("complete", "raced")]
    [plain] = [trial for trial in records if trial.candidate and trial.is_plain]
    trials = [
        {
            "params": trial.params,
            "final": list(trial.values or trial.estimate or ()),
            "replicates": [list(each.score(run.objective)) for each in trial.replicates.values()]
            if trial.values
            else None,
        }
        for trial in records
        if trial.candidate is None
    ]
    space = {
        name: json.loads(optuna.distributions.distribution_to_json(each))
        for trial in run.study.get_trials(deepcopy=False)
        for name, each in trial.distributions.items()
    }
    head = {"run": name, "plain": list(plain.score), "space": space}
    lines = ",\n".join(json.dumps(trial) for trial in trials)
    text = json.dumps(head, indent=1).removesuffix("\n}")
    RECORDED.write_text(f'{text},\n "trials": [\n{lines}\n ]\n}}\n')


@dataclass(frozen=True)
class Replay:
    """One search: hypervolumes (dB · iterations) after each trial.

    found: from the true means of all trials. shown: from those on the front of observed scores.
    """

    shown: list[float]
    found: list[float]


def replay(truth: Truth, experiment: Experiment, made: Made, seed: int, trials: int) -> Replay:
    """Replay one search."""
    assert experiment.space is not None
    study = optuna.create_study(directions=["maximize", "minimize"])
    searched = SearchedTrials(made(seed, trials), study, [])
    generator = np.random.default_rng([seed, 1])
    budget, patience = experiment.trainer.iterations, experiment.trainer.patience
    under_way: list[tuple[float, int, Score, Score]] = []
    observed: list[Score] = []
    means: list[Score] = []
    done = Replay([], [])
    clock, number = 0.0, 0
    while len(means) < trials:
        while len(under_way) < CONCURRENT and number < trials:
            trial = searched.ask()
            suggest(trial, experiment.space, experiment.task.noise_255)
            searched.enter(trial, number)
            mean = truth.mean(trial.params)
            told = truth.observed(mean, generator)
            ends = clock + min(budget, mean.steps_to_max + patience)
            heapq.heappush(under_way, (ends, number, mean, told))
            number += 1
        clock, ended, mean, told = heapq.heappop(under_way)
        searched.tell(ended, TrialState.COMPLETE, told)
        means.append(mean)
        observed.append(told)
        front = [means[i] for i in pareto.front(observed)]
        done.shown.append(pareto.hypervolume(front, truth.table.plain))
        done.found.append(pareto.hypervolume(means, truth.table.plain))
    return done


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over repetitions."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Interval:
        """Return Student's interval of some values."""
        from scipy.stats import t

        n = len(values)
        half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5) if n > 1 else float("nan")
        mean = float(values.mean())
        return cls(mean, mean - half, mean + half)


def reaches(curves: NDArray[np.float64], level: float) -> tuple[int | None, int | None, int | None]:
    """Return the number of trials after which the mean curve reaches `level`, or None for never.

    Also returns its 95 % interval, from 2000 bootstraps over repetitions. curves: (repetitions,
    trials).
    """

    def first(curve: NDArray[np.float64]) -> float:
        at = np.flatnonzero(curve >= level)
        return float(at[0] + 1) if len(at) else float("inf")

    generator = np.random.default_rng(0)
    n = len(curves)
    draws = [first(curves[generator.integers(n, size=n)].mean(axis=0)) for _ in range(2000)]
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    low, high, middle = float(low), float(high), first(curves.mean(axis=0))
    whole = [None if value == float("inf") else int(value) for value in (middle, low, high)]
    return whole[0], whole[1], whole[2]


def summary(curves: dict[str, Any], default: NDArray[np.float64], level: float) -> dict[str, Any]:
    """Summarise one sampler: intervals by number of trials.

    curves: of all repetitions. default: those of the default sampler. level: hypervolume of random
    search after its last trial.
    """
    found, shown = (np.array(curves[each]) for each in ("found", "shown"))
    repetitions, trials = found.shape

    def intervals(values: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        return {str(n): asdict(Interval.of(values[:, n - 1])) for n in range(10, trials + 1, 10)}

    return {
        "repetitions": repetitions,
        "found": intervals(found),
        "shown": intervals(shown),
        "less_default": intervals(found - default[:repetitions, :trials]),
        "reaches_random_after": reaches(found, level),
    }


def compare(given: argparse.Namespace) -> None:
    """Replay samplers, and write their summaries together with those that the file has."""
    experiment = load_experiment(HERE.parent / "experiments" / "denoise-64.yaml")
    table = Recorded.read()
    validations = {name: cross_validate(table, j) for j, name in enumerate(Score._fields)}
    content: dict[str, Any] = {
        "machine": machine(scipy=scipy.__version__), "run": table.run,
        "schedules": len(table.finals), "concurrent": CONCURRENT, "plain": list(table.plain),
        "surrogate": {name: asdict(each) for name, each in validations.items()},
    }  # fmt: skip
    curves: dict[str, Any] = {}
    if given.output.exists():
        curves = json.loads(given.output.read_text())["curves"]
    truth = Truth.of(table)
    for name in given.samplers:
        most, repetitions = SLOW.get(name, (given.trials, given.repetitions))
        trials = min(most, given.trials)
        replays = [
            replay(truth, experiment, VARIANTS[name], seed, trials)
            for seed in range(min(repetitions, given.repetitions))
        ]
        curves[name] = {
            "found": [[round(area, 2) for area in each.found] for each in replays],
            "shown": [[round(area, 2) for area in each.shown] for each in replays],
        }
        print(f"{name}: {np.mean(curves[name]['found'], axis=0)[[9, -1]]}", flush=True)
        if "random" in curves and "tpe" in curves:
            default = np.array(curves["tpe"]["found"])
            level = float(np.array(curves["random"]["found"])[:, -1].mean())
            samplers = {each: summary(curves[each], default, level) for each in curves}
            content |= {"random_at_last": level, "samplers": samplers}
        write({**content, "curves": curves}, given.output)


def main() -> int:
    """Record a search, or replay searches."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("name")
    recorder.add_argument("--runs-dir", type=Path, default=Path("runs"))
    replayer = commands.add_parser("replay")
    replayer.add_argument("--trials", type=int, default=60)
    replayer.add_argument("--repetitions", type=int, default=12)
    replayer.add_argument(
        "--samplers", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME"
    )
    replayer.add_argument("--output", type=Path, default=HERE / "sampler.json")
    given = parser.parse_args()
    if given.command == "record":
        record(given.name, given.runs_dir)
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    compare(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
