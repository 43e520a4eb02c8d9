"""When a run ends before its budget, and what counts as a maximum that the budget cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError

Output: TypeAlias = Literal["raw", "smoothed"]
OUTPUTS: tuple[Output, Output] = ("raw", "smoothed")


class StoppingRule(Protocol):
    """Decides at the end of a block of iterations of the last stage."""

    @property
    def patience(self) -> int:
        """A maximum with fewer iterations than this behind it is censored."""
        ...

    def stops(self, last_stage_psnr_gt_db: dict[Output, NDArray[np.float32]]) -> bool:
        """From PSNR_GT of each output over the last stage so far, one entry an iteration."""
        ...


@dataclass(frozen=True, slots=True)
class FullBudget:
    """Never stops early."""

    patience: int = 150

    def __post_init__(self) -> None:
        """Refuse a patience of nothing."""
        _check_patience(self.patience)

    def stops(self, last_stage_psnr_gt_db: dict[Output, NDArray[np.float32]]) -> bool:
        """See `StoppingRule.stops`."""
        return False


@dataclass(frozen=True, slots=True)
class OraclePeak:
    """Stops once PSNR_GT of `output` has not risen for `patience` iterations of the last stage.

    It looks at the ground truth: it saves time in a search, it is no way to stop in practice.
    Rising is measured from the last stage's own maximum, so that a staged run that starts its
    last stage below what it had before is not cut off while it climbs.
    """

    output: Output = "raw"
    patience: int = 150

    def __post_init__(self) -> None:
        """Refuse outputs that do not exist and a patience of nothing."""
        if self.output not in OUTPUTS:
            raise InputError(f"output must be raw or smoothed, got {self.output!r}")
        _check_patience(self.patience)

    def stops(self, last_stage_psnr_gt_db: dict[Output, NDArray[np.float32]]) -> bool:
        """See `StoppingRule.stops`."""
        scores = last_stage_psnr_gt_db[self.output]
        return len(scores) - 1 - int(np.argmax(scores)) >= self.patience


def _check_patience(patience: int) -> None:
    if patience < 1:
        raise InputError(f"patience must be at least 1 iteration, got {patience}")
