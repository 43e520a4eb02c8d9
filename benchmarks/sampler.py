r"""Compare how soon samplers find good schedules, by searches on a surrogate of recorded searches.

Claim: the hypervolume after each trial, and the number of trials that each sampler needs to reach
the hypervolume of random search after 100 trials; mean and 95 % interval over repetitions.

    python benchmarks/sampler.py --output benchmarks/sampler.json
    python benchmarks/sampler.py --samplers GP --trials 40 --repetitions 8
    python benchmarks/sampler.py --samplers NSGA-II --noise 0

The truth is a regression (benchmarks/surrogate.py) on the schedules and scores of the tables that
racing is judged by; its cross-validated error is printed.

A replay is a search by `search.experiment.space.suggest` and
`search.execution.sampler.SearchedTrials`, with candidates first, as the ledger hands them out, and
two trials at a time. Noisy scores are reported to the sampler: means of as many replicates as were
recorded. Hypervolumes are computed from true means, either of all trials (`found`), or only of the
trials on the front of the reported scores (`shown`). Candidates, which are the same for all
samplers, are left out. Repetition i has sampler seed i, and its noise is drawn with that seed.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import scipy
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from racing import REFERENCE
from surrogate import HERE, Truth, cross_validate, recorded

from dipstage.presets import parse_preset
from search.analysis import pareto
from search.execution.sampler import SAMPLERS, SearchedTrials
from search.experiment.model import Experiment
from search.experiment.objectives import Score
from search.experiment.reading import load_experiment
from search.experiment.space import suggest

CONCURRENT = 2
GOAL = 40
Made = Callable[[int, int], BaseSampler]


def tpe(startup: int | None = None, **options: Any) -> Made:
    """Return TPE with other settings. startup: n_startup_trials; by default that of a search."""
    return lambda seed, trials: TPESampler(
        seed=seed,
        n_startup_trials=max(4, min(10, trials // 3)) if startup is None else startup,
        **options,
    )


class InterleavedTPE(TPESampler):
    """TPE for trials with an even number, random sampling for the others."""

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, dist: Any) -> Any:
        """See `BaseSampler`."""
        if trial.number % 2:
            # Optuna 5.0: the generator of TPE's own first trials.
            return self._random_sampler.sample_independent(study, trial, name, dist)
        return super().sample_independent(study, trial, name, dist)


VARIANTS: dict[str, Made] = {
    "random": SAMPLERS["random"],
    "default": SAMPLERS["tpe"],
    "TPE, multivariate": tpe(multivariate=True),
    "TPE, multivariate, grouped": tpe(multivariate=True, group=True),
    "TPE, no constant liar": tpe(multivariate=False, constant_liar=False),
    "TPE, 20 at random first": tpe(20, multivariate=False),
    "TPE, 40 at random first": tpe(40, multivariate=False),
    "TPE, 4 points to choose from": tpe(multivariate=False, n_ei_candidates=4),
    "TPE, a quarter is good": tpe(multivariate=False, gamma=lambda n: math.ceil(n / 4)),
    "TPE, every second at random": lambda seed, trials: InterleavedTPE(
        seed=seed, multivariate=False
    ),
    "NSGA-II": SAMPLERS["nsga2"],
    "NSGA-II, population 20": lambda seed, trials: NSGAIISampler(seed=seed, population_size=20),
    "GP": lambda seed, trials: GPSampler(seed=seed),
}


@dataclass(frozen=True)
class Replay:
    """One search: hypervolumes (dB · iterations) after each trial, and seconds for each ask.

    found: from the true means of all trials. shown: from those on the front of observed scores.
    """

    shown: list[float]
    found: list[float]
    ask_s: float


def replay(
    truth: Truth, experiment: Experiment, made: Made, seed: int, trials: int, noise: float = 1.0
) -> Replay:
    """Replay one search. noise: a factor for the noise of the recorded replicates."""
    assert experiment.space is not None
    study = optuna.create_study(directions=["maximize", "minimize"])
    searched = SearchedTrials(made(seed, trials), study, [])
    generator = np.random.default_rng([seed, 1])
    budget = experiment.trainer.iterations
    waiting = [parse_preset(name).schedule(budget) for name in experiment.candidates]
    under_way: list[tuple[float, int, bool, Score, Score]] = []
    observed: list[Score] = []
    means: list[Score] = []
    done = Replay([], [], 0.0)
    clock = asking_s = 0.0
    number = asked = 0
    while len(means) < trials:
        while len(under_way) < CONCURRENT and (waiting or asked < trials):
            is_candidate = bool(waiting)
            if is_candidate:
                schedule = waiting.pop(0)
            else:
                started = time.perf_counter()
                trial = searched.ask()
                schedule = suggest(trial, experiment.space, 25.0).family.schedule(budget)
                asking_s += time.perf_counter() - started
                searched.enter(trial, number)
                asked += 1
            mean = truth.mean(schedule)
            told = truth.observed(mean, generator, noise)
            ends = clock + min(budget, mean.steps_to_max + experiment.trainer.patience)
            heapq.heappush(under_way, (ends, number, is_candidate, mean, told))
            number += 1
        clock, ended, is_candidate, mean, told = heapq.heappop(under_way)
        searched.tell(ended, TrialState.COMPLETE, told)
        if is_candidate:
            continue
        means.append(mean)
        observed.append(told)
        front = [means[i] for i in pareto.front(observed)]
        done.shown.append(pareto.hypervolume(front, REFERENCE))
        done.found.append(pareto.hypervolume(means, REFERENCE))
    return replace(done, ask_s=asking_s / trials)


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

    def text(self) -> str:
        """The interval as text."""
        return f"{self.mean:.1f} ± {self.high - self.mean:.1f}"

    def less(self, level: float) -> str:
        """Return the difference from a known level as text."""
        return Interval(self.mean - level, self.low - level, self.high - level).text()


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


def machine() -> dict[str, str]:
    """Return the hardware and the versions."""
    versions = {m.__name__: m.__version__ for m in (optuna, np, scipy)}
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.machine(),
    )
    return {"hardware": cpu, "python": platform.python_version(), **versions}


def run(given: argparse.Namespace, experiment: Experiment) -> int:
    """Replay all variants, print the table and write it."""
    assert experiment.space is not None
    table = recorded(experiment.space, experiment.trainer.iterations)
    where = machine()
    print(" ".join(f"{key}={value}" for key, value in where.items()))
    validations = {name: cross_validate(table, j) for j, name in enumerate(Score._fields)}
    for name, validation in validations.items():
        print(
            f"surrogate of {name}, {len(table.finals)} schedules, 10 folds: off by "
            f"{validation.rmse:.3g} (R² {validation.r2:.3f}); noise of what it is held against: "
            f"{validation.noise:.3g}"
        )
    truth = Truth.of(table)
    trials, seeds = given.trials, range(given.repetitions)
    replays: dict[str, list[Replay]] = {}
    for name in given.samplers:
        made = VARIANTS[name]
        replays[name] = [replay(truth, experiment, made, s, trials, given.noise) for s in seeds]
        print(
            f"{name}: {statistics.fmean(r.ask_s for r in replays[name]):.4f} s an ask", flush=True
        )
    random = np.array([each.found for each in replays["random"]])
    default = np.array([each.found for each in replays["default"]])
    level = float(random[:, -1].mean())
    goal = min(GOAL, trials)
    print(
        f"\nrandom search has {level:.1f} dB · iterations after {trials} trials, n = "
        f"{given.repetitions}, noise × {given.noise:g}; hypervolumes are differences from that\n\n"
        f"| sampler | after {goal // 2} | after {goal} | after {trials} | less the default's, "
        f"after {goal} | ... after {trials} | front shown, after {trials} | has random's last "
        "after | an ask |\n|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for name, each in replays.items():
        row = summary(name, each, default, level, goal)
        rows.append(row)
        after, low, high = (n or f"> {trials}" for n in row["reaches_random_after"])
        cells = [
            name,
            *(Interval(**row["found"][n]).less(level) for n in (goal // 2, goal, trials)),
            *(Interval(**row["less_default"][n]).text() for n in (goal, trials)),
            Interval(**row["shown"][trials]).less(level),
            f"{after} ({low} to {high})",
            f"{1000 * row['ask_s']:.0f} ms",
        ]
        print(f"| {' | '.join(cells)} |")
    if given.output:
        head = {
            "machine": where, "trials": trials, "repetitions": given.repetitions,
            "seeds": list(seeds), "noise": given.noise, "concurrent": CONCURRENT,
            "reference": list(REFERENCE), "random_at_last": level,
            "surrogate": {name: asdict(each) for name, each in validations.items()},
        }  # fmt: skip
        lines = ",\n".join(json.dumps(row) for row in rows)
        text = json.dumps(head, indent=1).removesuffix("\n}")
        given.output.write_text(f'{text},\n "samplers": [\n{lines}\n ]\n}}\n')
        print(f"written to {given.output}")
    return 0


def summary(
    name: str, replays: list[Replay], default: NDArray[np.float64], level: float, goal: int
) -> dict[str, Any]:
    """Summarise one sampler: intervals by number of trials, and the curves of all repetitions."""
    found = np.array([each.found for each in replays])
    shown = np.array([each.shown for each in replays])
    trials = found.shape[1]
    counts = sorted({*range(5, trials + 1, 5), goal // 2, goal, trials})

    def intervals(curves: NDArray[np.float64]) -> dict[int, dict[str, float]]:
        return {n: asdict(Interval.of(curves[:, n - 1])) for n in counts}

    return {
        "sampler": name,
        "found": intervals(found),
        "shown": intervals(shown),
        "less_default": intervals(found - default),
        "reaches_random_after": reaches(found, level),
        "ask_s": statistics.fmean(each.ask_s for each in replays),
        "found_curves": found.round(1).tolist(),
        "shown_curves": shown.round(1).tolist(),
    }


def main() -> int:
    """Replay searches."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--noise", type=float, default=1.0, help="times that of the tables")
    parser.add_argument(
        "--samplers", nargs="+", choices=list(VARIANTS), metavar="NAME",
        default=[name for name in VARIANTS if name != "GP"],
        help="all but GP, whose suggestions take seconds",
    )  # fmt: skip
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    experiment = load_experiment(HERE.parent / "experiments" / "racing-table.yaml")
    given.samplers = list(dict.fromkeys(["random", "default", *given.samplers]))
    return run(given, experiment)


if __name__ == "__main__":
    sys.exit(main())
