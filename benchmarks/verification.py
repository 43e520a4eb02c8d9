"""Measure how often 95 % intervals of a paired difference contain the truth, by method.

Claim: with the few pictures of a verification, bootstraps that resample pictures cover the truth
too rarely, and Student's interval over the means of pictures does not. The true difference is 0,
with noise of seeds (standard deviation 1) and, in the second half, also of pictures.

    python benchmarks/verification.py
"""

from __future__ import annotations

import argparse
import platform
import sys
import warnings

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import stats

from search.verification.statistics import Difference

Interval = tuple[float, float]
RESAMPLES = 999


def percentile(values: NDArray[np.float64]) -> Interval:
    """SciPy's bootstrap of the pictures' means."""
    return _scipy(values, "percentile")


def bca(values: NDArray[np.float64]) -> Interval:
    """SciPy's bias-corrected and accelerated bootstrap of the pictures' means."""
    return _scipy(values, "BCa")


def _scipy(values: NDArray[np.float64], method: str) -> Interval:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BCa on four equal resamples.
        found = stats.bootstrap(
            (values.mean(axis=1),), np.mean, n_resamples=RESAMPLES, method=method, rng=0
        ).confidence_interval
    return float(found.low), float(found.high)


def two_stage(values: NDArray[np.float64]) -> Interval:
    """Bootstrap that resamples pictures, then seeds within each picture."""
    generator = np.random.default_rng(0)
    pictures, seeds = values.shape
    which = generator.integers(0, pictures, (RESAMPLES, pictures, 1))
    means = values[which, generator.integers(0, seeds, (RESAMPLES, pictures, seeds))].mean((1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def studentised(values: NDArray[np.float64]) -> Interval:
    """Bootstrap-t of the pictures' means."""
    means = values.mean(axis=1)
    n = len(means)
    error = means.std(ddof=1) / np.sqrt(n)
    drawn = means[np.random.default_rng(0).integers(0, n, (RESAMPLES, n))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    ratios = (drawn.mean(axis=1) - means.mean())[errors > 0] / errors[errors > 0]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(means.mean() - high * error), float(means.mean() - low * error)


def student(values: NDArray[np.float64]) -> Interval:
    """Student's interval, which dipsearch reports."""
    found = Difference(tuple(map(tuple, values.tolist())))
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


METHODS = (percentile, bca, two_stage, studentised, student)


def main() -> int:
    """Print coverage and median width of each method."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    given = parser.parse_args()
    print(
        f"{given.repetitions} repetitions, {RESAMPLES} resamples; python "
        f"{platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    )
    print("coverage (median width)")
    header = "pictures  seeds  noise of pictures  "
    print(header + "  ".join(method.__name__.ljust(15) for method in METHODS))
    for pictures, seeds in ((4, 4), (8, 4), (16, 2)):
        for noise in (0.0, 1.0):
            generator = np.random.default_rng(1)
            held = dict.fromkeys(METHODS, 0)
            widths: dict[object, list[float]] = {method: [] for method in METHODS}
            for _ in range(given.repetitions):
                values = generator.normal(0, 1, (pictures, seeds))
                values += noise * generator.normal(0, 1, (pictures, 1))
                for method in METHODS:
                    low, high = method(values)
                    held[method] += low <= 0 <= high
                    widths[method].append(high - low)
            cells = [
                f"{held[m] / given.repetitions:.1%} ({np.median(widths[m]):.2f})".ljust(15)
                for m in METHODS
            ]
            print(f"{pictures:<10}{seeds:<7}{noise:<19g}" + "  ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
