"""The objectives of a search: max_psnr_gt_db is maximised, steps are minimised."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from dipstage.errors import InputError
from dipstage.stopping import OUTPUTS, Output


class Score(NamedTuple):
    """A trial's objectives, each in its own direction and unit."""

    max_psnr_gt_db: float
    steps_to_max: float

    @property
    def finite(self) -> bool:
        """Whether both objectives are finite numbers."""
        return math.isfinite(self.max_psnr_gt_db) and math.isfinite(self.steps_to_max)


@dataclass(frozen=True, slots=True)
class Objective:
    """The two objectives: the maximum PSNR_GT, and the number of iterations (steps) until it is
    reached. Both are means over a trial's replicates.
    """

    output: Output = field(
        default="raw",
        metadata={
            "help": "Output whose scores are optimised: the network's output itself, or its moving "
            "average. The scores of both are recorded."
        },
    )
    tolerance_db: float = field(
        default=0.0,
        metadata={
            "help": "Tolerance in dB. Above 0, steps are counted to the first iteration within "
            "this tolerance of the maximum (`steps_to_tolerance`); with 0, to the maximum itself "
            "(`steps_to_max`).",
            "rule": "finite and not negative",
        },
    )

    window: int = field(
        default=1,
        metadata={
            "help": "Number of iterations over which PSNR of the raw output is averaged before "
            "`steps_to_tolerance` is read from it: a single output jitters. It has no effect on "
            "the smoothed output, on `steps_to_max`, or on `max_psnr_gt_db`.",
            "rule": "at least 1",
        },
    )

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.output not in OUTPUTS:
            raise InputError(f"output must be raw or smoothed, got {self.output!r}")
        if not (math.isfinite(self.tolerance_db) and self.tolerance_db >= 0):
            raise InputError(
                f"tolerance_db must be finite and not negative, got {self.tolerance_db}"
            )
        if self.window < 1:
            raise InputError(f"window must be at least 1, got {self.window}")

    @property
    def steps_key(self) -> str:
        """Name of the steps objective in outcomes, tables and files."""
        return "steps_to_tolerance" if self.tolerance_db else "steps_to_max"

    @property
    def steps_words(self) -> str:
        """Description of the steps objective."""
        return (
            f"steps to {self.tolerance_db:g} dB below max" if self.tolerance_db else "steps to max"
        )


def mean_score(scores: Iterable[Score]) -> Score:
    """Return the mean of both objectives; raise ValueError if there are no scores."""
    both = list(scores)
    return Score(fmean(s.max_psnr_gt_db for s in both), fmean(s.steps_to_max for s in both))
