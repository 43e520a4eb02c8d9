"""Scores of a run: measured on the device in each iteration, fetched to the host once a block."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dipstage.schedules.schedule import Schedule
from dipstage.schedules.stopping import OUTPUTS, Curve, LastStage, Output, VarianceMinimum
from dipstage.training.outcome import Trace

BLOCK = 10
"""Iterations between device-to-host synchronisations; SSIM is measured once in each block."""

_LOSS, _PSNR_RAW, _PSNR_GT, _EMV, _WMV = 0, 1, slice(3, 5), 5, 6
"""Columns of the scores; 1 and 2 are PSNR against the observation."""


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a run after a block of iterations, for progress callbacks.

    variance: over the last stage so far, (iterations,) float32: that which the stopping rule reads,
    NaN where it does not count it; else EMV. PSNR_GT is NaN without a ground truth.
    """

    iteration: int
    iterations: int
    stage: int
    stages: int
    psnr_gt_db: dict[Output, float]
    best_psnr_gt_db: dict[Output, float]
    best_iteration: dict[Output, int]
    variance: Curve


class Measurements:
    """Scores of the iterations of one run.

    length: Iterations whose scores are on the host. rule: the rule that reads a variance, if any.
    """

    def __init__(
        self, schedule: Schedule, rule: VarianceMinimum | None, device: torch.device
    ) -> None:
        self._schedule, self._rule, self.length = schedule, rule, 0
        counts = [stage.iterations for stage in schedule.stages]
        self._stages = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        iterations = schedule.iterations
        self._measured = torch.full((iterations, 7), torch.nan, device=device)
        self._ssim = torch.full((-(-iterations // BLOCK), 2), torch.nan, device=device)
        self._scores = np.full((iterations, 7), np.nan, np.float32)

    def write(self, iteration: Tensor, *scores: Tensor) -> None:
        """Keep loss, PSNR, PSNR_GT, EMV and WMV of an iteration, whose number is (1,) int64."""
        row = torch.cat([each.view(-1) for each in scores])
        self._measured.index_copy_(0, iteration, row.view(1, 7))

    def write_ssim(self, iteration: int, values: Tensor) -> None:
        """Keep both SSIM_GT of the first iteration of a block."""
        self._ssim[iteration // BLOCK].copy_(values)

    def fetch(self, until: int) -> bool:
        """Wait for the iterations before `until`, and return whether all losses are finite.

        `length` is then the number of iterations before the first loss that is not.
        """
        begin, self.length = self.length, until
        self._scores[begin:until] = self._measured[begin:until].cpu().numpy()
        finite = np.isfinite(self._scores[begin:until, _LOSS])
        if not finite.all():
            self.length = begin + int(np.argmin(finite))
        return bool(finite.all())

    def last_stage(self) -> LastStage:
        """Return the curves over the last stage so far."""
        scores = self._scores[self._schedule.ramp : self.length]
        psnr = scores[:, _PSNR_GT]
        return LastStage(
            {output: psnr[:, k] for k, output in enumerate(OUTPUTS)},
            {"emv": self._counted(scores, _EMV), "wmv": self._counted(scores, _WMV)},
        )

    def _counted(self, scores: NDArray[np.float32], column: int) -> Curve:
        if self._rule is None:
            return scores[:, column]
        return self._rule.counted(scores[:, column], scores[:, _PSNR_RAW])

    def variance(self) -> Curve:
        """Return the variance over the last stage so far, as the rule counts it."""
        return self.last_stage().variance["emv" if self._rule is None else self._rule.kind]

    def progress(self) -> Progress:
        """Return the state of the run."""
        scores = self._scores[: self.length, _PSNR_GT]
        best = np.argmax(scores, axis=0)
        return Progress(
            iteration=self.length - 1,
            iterations=self._schedule.iterations,
            stage=int(self._stages[self.length - 1]),
            stages=len(self._schedule.stages),
            psnr_gt_db={o: float(scores[-1, k]) for k, o in enumerate(OUTPUTS)},
            best_psnr_gt_db={o: float(scores[best[k], k]) for k, o in enumerate(OUTPUTS)},
            best_iteration={o: int(best[k]) for k, o in enumerate(OUTPUTS)},
            variance=self.variance(),
        )

    def trace(self, ssim_at_best: NDArray[np.float32] | None) -> Trace:
        """Return the curves of the run.

        Args:
            ssim_at_best: (2,) SSIM_GT of the pictures with the best PSNR_GT, or None.
        """
        scores = self._scores[: self.length]
        ssims = np.full((self.length, 2), np.nan, np.float32)
        if self.length:
            ssims[::BLOCK] = self._ssim[: -(-self.length // BLOCK)].cpu().numpy()
        if ssim_at_best is not None:
            for k, peak in enumerate(np.argmax(scores[:, _PSNR_GT], axis=0)):
                ssims[peak, k] = ssim_at_best[k]
        columns: dict[str, Any] = dict(
            zip(
                [field.name for field in fields(Trace)],
                [self._stages[: self.length], *scores[:, :_EMV].T, *ssims.T, *scores[:, _EMV:].T],
                strict=True,
            )
        )
        return Trace(**columns)
