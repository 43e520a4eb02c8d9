"""Time to common target: how soon two runs reach a PSNR_GT that both of them reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.schedules.stopping import Output
from dipstage.training.outcome import trailing_mean

BELOW_DB = 0.1
"""The target lies this far below the lower of the two maxima."""
WINDOW = 21
"""Number of iterations that the trailing mean of a raw curve covers."""

Curve = NDArray[np.floating[Any]]


def judged_curve(psnr_gt_db: Curve, output: Output) -> Curve:
    """Return the curve that targets are read from, (iterations,) in dB.

    A raw curve is replaced by its trailing mean over 21 iterations (fewer at its beginning). A
    smoothed curve is an average already and stays as it is.
    """
    return trailing_mean(psnr_gt_db, WINDOW if output == "raw" else 1)


def times_to_target(schedule: Curve, reference: Curve) -> tuple[int, int]:
    """Return the times to the common target, of the schedule and of the reference.

    The target is the lower of the two maxima less `BELOW_DB`. A time is the number of updates up
    to and including the first output that reaches the target, so it is at least 1.

    Args:
        schedule: Judged curve of the schedule, (iterations,) in dB.
        reference: Judged curve of the reference for the same picture and seed.
    """
    target = min(schedule.max(), reference.max()) - BELOW_DB
    return int(np.argmax(schedule >= target)) + 1, int(np.argmax(reference >= target)) + 1


def log_time_ratio(schedule: Curve, reference: Curve) -> float:
    """Return the log ratio of the times to the common target; below 0 if the schedule is faster.

    Exchanging the two curves changes the sign and nothing else. For the arguments, see
    `times_to_target`.
    """
    ours, theirs = times_to_target(schedule, reference)
    return math.log(ours / theirs)


def first_at(curve: Curve, target_db: float) -> int | None:
    """Return the first iteration at which a curve reaches a target; None if it never does."""
    reached = np.flatnonzero(curve >= target_db)
    return int(reached[0]) if len(reached) else None
