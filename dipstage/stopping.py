"""Stopping rules: when a run ends before its budget, and when its maximum counts as censored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError

Output: TypeAlias = Literal["raw", "smoothed"]
OUTPUTS: tuple[Output, Output] = ("raw", "smoothed")


class StoppingRule(Protocol):
    """Decides whether a run stops, after each block of iterations in the last stage."""

    @property
    def patience(self) -> int:
        """A maximum followed by fewer iterations than this counts as censored."""
        ...

    def stops(self, last_stage_psnr_gt_db: dict[Output, NDArray[np.float32]]) -> bool:
        """Return whether the run stops.

        Args:
            last_stage_psnr_gt_db: PSNR_GT in dB of each output over the last stage so far,
                (iterations,) float32.
        """
        ...


@dataclass(frozen=True, slots=True)
class FullBudget:
    """Never stops early.

    Args:
        patience: A maximum followed by fewer iterations than this counts as censored.

    Raises:
        InputError: The patience is less than 1.
    """

    patience: int = 150

    def __post_init__(self) -> None:
        _check_patience(self.patience)

    def stops(self, last_stage_psnr_gt_db: dict[Output, NDArray[np.float32]]) -> bool:
        """See `StoppingRule.stops`."""
        return False


@dataclass(frozen=True, slots=True)
class OraclePeak:
    """Stops once PSNR_GT has not risen for `patience` iterations of the last stage.

    The rule reads the ground truth. It saves time in a search and cannot be used in practice.
    Rises are measured against the maximum of the last stage, so that a staged run that enters its
    last stage below an earlier maximum is not stopped while it climbs.

    Args:
        output: The output that is watched, `raw` or `smoothed`.
        patience: Iterations without a rise, at least 1.

    Raises:
        InputError: The output is unknown or the patience is less than 1.
    """

    output: Output = "raw"
    patience: int = 150

    def __post_init__(self) -> None:
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
