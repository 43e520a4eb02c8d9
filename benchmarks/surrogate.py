"""A surrogate of the objectives over the whole space, fitted to the tables of the racing benchmark.

It has a Gaussian process for each objective (Matérn 5/2, one length scale for each feature, a
nugget). The features describe the schedule, not its parameters, so that schedules with the same
targets and durations are equal. The fit is by maximum likelihood with a weak prior on length
scales.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from racing import load
from scipy.optimize import minimize

from dipstage.schedules import Schedule
from search.experiment.objectives import Score, mean_score
from search.experiment.searched import Space
from search.experiment.space import decode

HERE = Path(__file__).parent
TABLES = ("racing-table-random", "racing-table")
SCHEDULES = HERE / "racing-schedules.json"
Array = NDArray[np.float64]
_LOG_LENGTH = 1.0
"""Mean of the prior on the logarithm of a length scale; `_LENGTH_SPREAD` is its spread."""
_LENGTH_SPREAD = 3.0


@dataclass(frozen=True)
class Recorded:
    """All sampled trials of the tables, each schedule once.

    features: (N, F). finals: (N, 2), max_psnr_gt_db and steps_to_max, means over replicates.
    deviations: (N, R, 2), of replicates from the sum of the effects of trial and replicate, scaled
    to the variance of a single replicate. sampled_by: (N,), the table of each schedule.
    """

    features: Array
    finals: Array
    deviations: Array
    sampled_by: NDArray[np.str_]

    @property
    def noise(self) -> Array:
        """Standard deviation of a trial's mean over its replicates, (2,)."""
        replicates = self.deviations.shape[1]
        return np.asarray(np.sqrt((self.deviations**2).mean(axis=(0, 1)) / replicates))


def features(schedule: Schedule) -> Array:
    """Return the features of a schedule, (F,): duration, amount and timing of noise in its targets.

    Durations are logarithms; amounts are sqrt(1 - alpha_bar), the fraction of noise in the target.
    """
    shares = np.array([np.sqrt(1 - stage.alpha_bar) for stage in schedule.stages])
    counts = np.array([stage.iterations for stage in schedule.stages])
    course = np.repeat(shares, counts)
    at = [course[round(part * len(course))] for part in (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2)]
    return np.array(
        [
            np.log1p(schedule.ramp),
            np.log(len(counts)),
            np.log(counts[0]),
            np.log(counts[-1]),
            course.sum() / len(course) ** 0.5,
            shares[0],
            shares[-2] if len(shares) > 1 else 0.0,
            *at,
        ]
    )


def recorded(space: Space, iterations: int) -> Recorded:
    """Return the tables with the schedules that they were recorded with."""
    points = json.loads(SCHEDULES.read_text())
    rows: list[tuple[str, Array, Array, Array]] = []
    seen: set[Schedule] = set()
    for name in TABLES:
        table = load(HERE / f"{name}.csv")
        scores = np.array([[each[key] for key in table.keys] for each in table.scores])
        residual = (
            scores
            - scores.mean(axis=1, keepdims=True)
            - scores.mean(axis=0, keepdims=True)
            + scores.mean(axis=(0, 1))
        ) * np.sqrt(len(table.keys) / (len(table.keys) - 1))
        for number, params in points[name].items():
            schedule = decode(params, space, 25.0).family.schedule(iterations)
            if schedule in seen:  # Both samplers start with the same random trials.
                continue
            seen.add(schedule)
            final = np.array(mean_score(table.scores[int(number)].values()))
            rows.append((name, features(schedule), final, residual[int(number)]))
    names, columns, finals, deviations = zip(*rows, strict=True)
    return Recorded(
        np.array(columns), np.array(finals), np.array(deviations), np.array(names, dtype=np.str_)
    )


@dataclass(frozen=True)
class Process:
    """A fitted Gaussian process; calling it gives its mean, (M, F) -> (M,)."""

    centre: Array
    scale: Array
    level: float
    spread: float
    hyper: Array
    known: Array
    weights: Array

    @classmethod
    def fit(cls, features: Array, values: Array, hyper: Array | None = None) -> Process:
        """Fit a process.

        hyper: hyperparameters of an earlier fit to keep: logarithms of length scales, variance and
        nugget.
        """
        centre, scale = features.mean(axis=0), features.std(axis=0)
        known, level, spread = (features - centre) / scale, values.mean(), values.std()
        wanted = (values - level) / spread
        if hyper is None:
            n = features.shape[1]
            start = np.array([_LOG_LENGTH] * n + [0.0, -1.5])
            bounds = [(-1.5, 5.0)] * n + [(-3.0, 4.0), (-7.0, 1.0)]
            found = minimize(
                _cost, start, (known, wanted), "L-BFGS-B", jac=True, bounds=bounds,
                options={"maxiter": 60},
            )  # fmt: skip
            hyper = np.asarray(found.x)
        covariance, _ = _kernel(known, known, hyper)
        covariance[np.diag_indices_from(covariance)] += np.exp(hyper[-1])
        weights = np.linalg.solve(covariance, wanted)
        return cls(centre, scale, float(level), float(spread), hyper, known, weights)

    def __call__(self, features: Array) -> Array:
        """Return the mean, in the unit of the values."""
        covariance, _ = _kernel((features - self.centre) / self.scale, self.known, self.hyper)
        return np.asarray(self.level + self.spread * (covariance @ self.weights))


def _kernel(a: Array, b: Array, hyper: Array) -> tuple[Array, Array]:
    """Return the Matérn 5/2 kernel, and the common factor of its derivatives by log length
    scale.
    """
    lengths, variance = np.exp(hyper[:-2]), np.exp(hyper[-2])
    one, other = a / lengths, b / lengths
    square = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    r = np.sqrt(5 * np.maximum(square, 0))
    fall = variance * np.exp(-r)
    return fall * (1 + r + r * r / 3), fall * (1 + r) * (5 / 3)


def _cost(hyper: Array, known: Array, wanted: Array) -> tuple[float, Array]:
    """Return the negative log posterior of the hyperparameters, and its gradient."""
    kernel, slope = _kernel(known, known, hyper)
    nugget = np.exp(hyper[-1])
    inverse = np.linalg.inv(kernel + nugget * np.eye(len(known)))
    weights = inverse @ wanted
    _, determinant = np.linalg.slogdet(inverse)
    off = (hyper[:-2] - _LOG_LENGTH) / _LENGTH_SPREAD
    cost = 0.5 * (wanted @ weights - determinant + off @ off)
    pull = inverse - np.outer(weights, weights)
    by_length = [
        0.5 * np.sum(pull * slope * ((column[:, None] - column) / np.exp(length)) ** 2)
        for column, length in zip(known.T, hyper[:-2], strict=True)
    ]
    gradient = np.array(
        [*by_length, 0.5 * np.sum(pull * kernel), 0.5 * nugget * np.trace(pull)], dtype=np.float64
    )
    gradient[:-2] += off / _LENGTH_SPREAD
    return float(cost), gradient


@dataclass(frozen=True)
class Truth:
    """The true means over the whole space, and the noise of replicates."""

    psnr_db: Process
    steps: Process
    deviations: Array

    @classmethod
    def of(cls, table: Recorded) -> Truth:
        """Fit a process to each objective."""
        psnr, steps = (Process.fit(table.features, table.finals[:, j]) for j in range(2))
        return cls(psnr, steps, table.deviations)

    def mean(self, schedule: Schedule) -> Score:
        """Return the mean over infinitely many replicates."""
        row = features(schedule)[None]
        return Score(float(self.psnr_db(row)[0]), float(self.steps(row)[0]))

    def observed(self, mean: Score, generator: np.random.Generator, noise: float = 1.0) -> Score:
        """Return a noisy mean over as many replicates as were recorded, with resampled deviations.

        noise: a factor for the deviations.
        """
        trials, replicates = self.deviations.shape[:2]
        drawn = self.deviations[
            generator.integers(trials, size=replicates),
            generator.integers(replicates, size=replicates),
        ]
        return Score(*(float(value) for value in mean + noise * drawn.mean(axis=0)))


@dataclass(frozen=True)
class CrossValidation:
    """Errors for one objective, in its unit. noise: the error that no prediction can avoid."""

    rmse: float
    r2: float
    noise: float
    rmse_by_table: dict[str, float]


def cross_validate(table: Recorded, objective: int, folds: int = 10) -> CrossValidation:
    """Cross-validate the surrogate; everything is refitted for each fold."""
    values = table.finals[:, objective]
    order = np.random.default_rng(0).permutation(len(values))
    errors = np.zeros(len(values))
    for fold in range(folds):
        out = order[fold::folds]
        left = np.setdiff1d(order, out)
        process = Process.fit(table.features[left], values[left])
        errors[out] = process(table.features[out]) - values[out]

    def rmse(which: NDArray[np.bool_]) -> float:
        return float(np.sqrt(np.mean(errors[which] ** 2)))

    return CrossValidation(
        rmse=rmse(np.ones(len(values), dtype=bool)),
        r2=float(1 - np.mean(errors**2) / values.var()),
        noise=float(table.noise[objective]),
        rmse_by_table={name: rmse(table.sampled_by == name) for name in TABLES},
    )
