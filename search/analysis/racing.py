"""Racing: a trial that the front is expected to dominate is stopped before its last replicate.

A trial with n of its R replicates has a mean over those n. What the other replicates will change
is read off the trials that are complete: each had a mean over the same n pictures and seeds, and a
mean over all R, and the difference of the two, its correction, holds the difficulty of the
pictures and the luck of the seeds. So the trial is compared with the front on the replicates that
they share, pair by pair, and no curve that is not finished is looked at.

The trial's final score is predicted as its mean plus a correction, bivariate t with the complete
trials' mean and covariance (the usual predictive distribution, T - 1 degrees of freedom). It is
stopped if the probability that no member of the front dominates that score is below
(1 - confidence) / looks, where looks = R - min_replicates is how often the question is asked
(Bonferroni).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search.analysis import pareto
from search.experiment.objectives import Score
from search.store.attributes import Raced

MIN_COMPLETE = 8
"""Complete trials that are needed to know the corrections."""
_DRAWS = 4096


def race(
    scores: Mapping[str, Score],
    complete: Sequence[Mapping[str, Score]],
    keys: Collection[str],
    confidence: float,
    min_replicates: int,
) -> Raced | None:
    """Return whether the front is expected to dominate a trial that has these replicates.

    scores: of the trial's finished replicates. complete: of the complete trials' replicates,
    all `keys` each. Returns None where the trial should go on.
    """
    done = [key for key in keys if key in scores]
    looks = len(keys) - min_replicates
    if not min_replicates <= len(done) < len(keys) or len(complete) < MIN_COMPLETE:
        return None
    table = np.array([[trial[key] for key in keys] for trial in complete])  # (T, R, 2)
    finals = table.mean(axis=1)
    shared = table[:, [i for i, key in enumerate(keys) if key in scores]].mean(axis=1)
    corrections = finals - shared
    predicted = np.mean([scores[key] for key in done], axis=0) + corrections.mean(axis=0)
    members = _front(finals)
    if not _dominated(predicted[None], members)[0]:
        return None
    draws = predicted + _errors(corrections)
    chance = float(1 - _dominated(draws, members).mean())
    if chance >= (1 - confidence) / looks:
        return None
    return Raced(Score(float(predicted[0]), float(predicted[1])), len(done), chance)


def _front(finals: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = [Score(float(psnr), float(steps)) for psnr, steps in finals]
    return finals[pareto.front(scores)]


def _dominated(points: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,): whether some member (M, 2) is strictly better in both than each point (N, 2)."""
    better_psnr = members[None, :, 0] > points[:, None, 0]
    better_steps = members[None, :, 1] < points[:, None, 1]
    return np.asarray((better_psnr & better_steps).any(axis=1))


def _errors(corrections: NDArray[np.float64]) -> NDArray[np.float64]:
    """(draws, 2): bivariate t with the corrections' covariance, the same numbers each time."""
    trials = len(corrections)
    covariance = np.cov(corrections.T) * (1 + 1 / trials)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    generator = np.random.default_rng(0)
    normal = generator.standard_normal((_DRAWS, 2))
    scale = np.sqrt((trials - 1) / generator.chisquare(trials - 1, (_DRAWS, 1)))
    return np.asarray(normal * scale @ root.T)
