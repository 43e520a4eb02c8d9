"""What a search optimises: max_psnr_gt_db (up) and steps (down) of one output."""

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
        """Whether both are numbers that can be compared."""
        return math.isfinite(self.max_psnr_gt_db) and math.isfinite(self.steps_to_max)


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimised: max PSNR_GT and the steps to it, means over a trial's replicates."""

    output: Output = field(
        default="raw",
        metadata={"help": "Whose max_psnr_gt_db and steps are optimised; both are recorded."},
    )
    tolerance_db: float = field(
        default=0.0,
        metadata={
            "help": "Steps count to the first iteration within this of the maximum "
            "(`steps_to_tolerance`); 0 means the maximum itself.",
            "rule": "finite and not negative",
        },
    )

    def __post_init__(self) -> None:
        """Refuse outputs that do not exist and tolerances that are none."""
        if self.output not in OUTPUTS:
            raise InputError(f"output must be raw or smoothed, got {self.output!r}")
        if not (math.isfinite(self.tolerance_db) and self.tolerance_db >= 0):
            raise InputError(
                f"tolerance_db must be finite and not negative, got {self.tolerance_db}"
            )

    @property
    def steps_key(self) -> str:
        """The steps' name in an outcome, in tables and in files."""
        return "steps_to_tolerance" if self.tolerance_db else "steps_to_max"

    @property
    def steps_words(self) -> str:
        """The steps in words."""
        return (
            f"steps to {self.tolerance_db:g} dB below max" if self.tolerance_db else "steps to max"
        )


def mean_score(scores: Iterable[Score]) -> Score:
    """The mean in both objectives; ValueError for none."""
    both = list(scores)
    return Score(fmean(s.max_psnr_gt_db for s in both), fmean(s.steps_to_max for s in both))
