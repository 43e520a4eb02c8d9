"""A surrogate of the objectives over a search space, fitted to the trials of a recorded search.

It has a Gaussian process for each objective (Matérn 5/2, one length scale for each parameter, a
nugget), on the parameters scaled to [0, 1], logarithmic where they are sampled so. The fit is by
maximum likelihood with a weak prior on length scales.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, json_to_distribution
from scipy.optimize import minimize

from search.experiment.objectives import Score

HERE = Path(__file__).parent
RECORDED = HERE / "sampler-trials.json"
Array = NDArray[np.float64]
_LOG_LENGTH = 1.0
"""Mean of the prior on the logarithm of a length scale; `_LENGTH_SPREAD` is its spread."""
_LENGTH_SPREAD = 3.0


@dataclass(frozen=True)
class Recorded:
    """The sampled trials of a search without conditional or categorical parameters.

    space: distributions of the parameters. features: (N, F). finals: (N, 2), both objectives; of
    raced trials their estimates. deviations: (M, R, 2), of the replicates of complete trials from
    the sum of the effects of trial and replicate, scaled to the variance of a single replicate.
    plain: plain DIP's own point.
    """

    run: str
    space: dict[str, BaseDistribution]
    features: Array
    finals: Array
    deviations: Array
    plain: Score

    @classmethod
    def read(cls) -> Recorded:
        """Return what `sampler.py record` wrote."""
        content = json.loads(RECORDED.read_text())
        space = {
            name: json_to_distribution(json.dumps(each)) for name, each in content["space"].items()
        }
        trials = content["trials"]
        scores = np.array([each["replicates"] for each in trials if each["replicates"]])
        residual = (
            scores
            - scores.mean(axis=1, keepdims=True)
            - scores.mean(axis=0, keepdims=True)
            + scores.mean(axis=(0, 1))
        ) * np.sqrt(scores.shape[1] / (scores.shape[1] - 1))
        return cls(
            content["run"],
            space,
            np.array([features(each["params"], space) for each in trials]),
            np.array([each["final"] for each in trials]),
            residual,
            Score(*content["plain"]),
        )

    @property
    def noise(self) -> Array:
        """Standard deviation of a trial's mean over its replicates, (2,)."""
        replicates = self.deviations.shape[1]
        return np.asarray(np.sqrt((self.deviations**2).mean(axis=(0, 1)) / replicates))


def features(params: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> Array:
    """Return the parameters scaled to [0, 1], in the order of the space, (F,)."""

    def scaled(name: str, distribution: Any) -> float:
        low, high, value = distribution.low, distribution.high, params[name]
        if distribution.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return float((value - low) / (high - low))

    return np.array([scaled(*each) for each in space.items()])


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
    table: Recorded

    @classmethod
    def of(cls, table: Recorded) -> Truth:
        """Fit a process to each objective."""
        psnr, steps = (Process.fit(table.features, table.finals[:, j]) for j in range(2))
        return cls(psnr, steps, table)

    def mean(self, params: Mapping[str, Any]) -> Score:
        """Return the mean over infinitely many replicates."""
        row = features(params, self.table.space)[None]
        return Score(float(self.psnr_db(row)[0]), float(self.steps(row)[0]))

    def observed(self, mean: Score, generator: np.random.Generator) -> Score:
        """Return a mean over as many replicates as were recorded, with resampled deviations."""
        trials, replicates = self.table.deviations.shape[:2]
        drawn = self.table.deviations[
            generator.integers(trials, size=replicates),
            generator.integers(replicates, size=replicates),
        ]
        return Score(*(float(value) for value in mean + drawn.mean(axis=0)))


@dataclass(frozen=True)
class CrossValidation:
    """Errors for one objective, in its unit. noise: the error that no prediction can avoid."""

    rmse: float
    r2: float
    noise: float


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
    return CrossValidation(
        rmse=float(np.sqrt(np.mean(errors**2))),
        r2=float(1 - np.mean(errors**2) / values.var()),
        noise=float(table.noise[objective]),
    )
