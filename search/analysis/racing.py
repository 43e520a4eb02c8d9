"""Racing: stop a trial early once its final score is almost certainly dominated by the front.

A trial that has n of its R replicates has a mean score over those n. The complete trials show what
the missing replicates will change: each of them has a mean over the same n replicates and a mean
over all R. The difference of the two is called the correction; it reflects how difficult the
pictures are and how favourable the seeds. The trial is thus compared with the front on the
replicates that they share, and unfinished curves are never used. Complete trials that violate a
constraint are not on the front; what a stopped trial violates is predicted in the same way.

The trial's final score is predicted as its mean plus a correction that follows a bivariate t
distribution with the complete trials' mean and covariance (the usual predictive distribution with
T - 1 degrees of freedom for T complete trials). The trial is stopped if the probability that no
member of the front dominates that score is below (1 - confidence) / looks. Here
looks = R - min_replicates is the number of times that the test is made (Bonferroni's correction),
not counting those that a resume repeats.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search.analysis import pareto
from search.experiment.objectives import Score
from search.store.attributes import Raced

MIN_COMPLETE = 8
"""Minimum number of complete trials from which the corrections are estimated."""
_DRAWS = 4096


def race(
    scores: Mapping[str, Sequence[float]],
    complete: Sequence[Mapping[str, Sequence[float]]],
    keys: Collection[str],
    confidence: float,
    min_replicates: int,
    *,
    single: bool = False,
) -> Raced | None:
    """Decide whether to stop a trial that has finished some of its replicates.

    Args:
        scores: Scores of the trial's finished replicates, by replicate key: both objectives, then
            by how much each constraint is violated.
        complete: The same for each complete trial; each has all `keys`.
        keys: Keys of all replicates.
        confidence: Required probability, over all tests of a trial, that it is dominated.
        min_replicates: Replicates that a trial must have finished before the first test.
        single: Whether the first objective alone is optimised.

    Returns:
        The decision to stop, or None if the trial should continue.
    """
    done = [key for key in keys if key in scores]
    looks = len(keys) - min_replicates
    if not min_replicates <= len(done) < len(keys) or len(complete) < MIN_COMPLETE:
        return None
    # (T, R, 2 + constraints)
    table = np.array([[trial[key] for key in keys] for trial in complete])
    finals = table.mean(axis=1)
    shared = table[:, [i for i, key in enumerate(keys) if key in scores]].mean(axis=1)
    corrections = finals - shared
    predicted = np.mean([scores[key] for key in done], axis=0) + corrections.mean(axis=0)
    members = _front(finals[(finals[:, 2:] <= 0).all(axis=1), :2])
    used = 1 if single else 2
    if not _dominated(predicted[None, :used], members)[0]:
        return None
    draws = predicted[:2] + _errors(corrections[:, :2])
    chance = float(1 - _dominated(draws[:, :used], members).mean())
    if chance >= (1 - confidence) / looks:
        return None
    quality, cost, *violations = (float(value) for value in predicted)
    return Raced(Score(quality, cost), len(done), chance, violations or None)


def _front(finals: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = [Score(float(psnr), float(steps)) for psnr, steps in finals]
    return finals[pareto.front(scores)]


def _dominated(points: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return, for each point, whether a member (M, 2) is strictly better in both: (N,).

    points: (N, 2), or (N, 1) where the first objective alone counts.
    """
    better = members[None, :, 0] > points[:, None, 0]
    if points.shape[1] > 1:
        better &= members[None, :, 1] < points[:, None, 1]
    return np.asarray(better.any(axis=1))


def _errors(corrections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw errors of the prediction, a bivariate t, with a fixed seed: (draws, 2)."""
    trials = len(corrections)
    covariance = np.cov(corrections.T) * (1 + 1 / trials)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    generator = np.random.default_rng(0)
    normal = generator.standard_normal((_DRAWS, 2))
    scale = np.sqrt((trials - 1) / generator.chisquare(trials - 1, (_DRAWS, 1)))
    return np.asarray(normal * scale @ root.T)
