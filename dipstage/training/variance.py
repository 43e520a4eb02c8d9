"""Variance of a run's latest outputs, whose minimum needs no ground truth (arXiv 2112.06074).

While a network fits the picture, its outputs settle; once it fits the noise, they start to move
again. Both variances are means over pixels and channels, of raw outputs in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

EMV_WEIGHT = 0.1
"""Weight of the newest output in the moving mean and variance."""
WINDOW = 100
"""Outputs in the window of the windowed variance."""


class MovingVariance:
    """Exponentially weighted moving variance, EMV: arXiv 2112.06074, algorithm 3.

    With a = 0.1, mean and variance go on as variance = (1 - a) (variance + a |x - mean|²) and
    mean = (1 - a) mean + a x. The first output is the first mean.

    Args:
        output: (1, C, H, W) float32, an output whose shape and device all others have.
    """

    def __init__(self, output: Tensor) -> None:
        self._mean = torch.zeros_like(output)
        self._value = torch.zeros((), device=output.device)

    def update(self, output: Tensor, weight: Tensor) -> Tensor:
        """Take the next output and return the variance.

        Args:
            output: (1, C, H, W) float32.
            weight: () float32, a of this output; 1 forgets all outputs before it.

        Returns:
            () float32.
        """
        distance = (output - self._mean).square().mean()
        self._value.add_(weight * distance).mul_(1 - weight)
        self._mean.lerp_(output, weight)
        return self._value


class WindowedVariance:
    """Variance over a window of the latest outputs, WMV: arXiv 2112.06074, algorithm 1.

    It keeps the outputs of the window in memory: 100 pictures.

    Args:
        output: (1, C, H, W) float32, an output whose shape and device all others have.
    """

    def __init__(self, output: Tensor) -> None:
        self._outputs = output.new_zeros((WINDOW, *output.shape[1:]))

    def update(self, output: Tensor, place: Tensor, seen: Tensor) -> Tensor:
        """Take the next output and return the variance.

        Args:
            output: (1, C, H, W) float32.
            place: (1,) int64, the output's number modulo the window.
            seen: () float32, how many outputs count, this one included.

        Returns:
            () float32; NaN as long as they are fewer than the window.
        """
        self._outputs.index_copy_(0, place, output)
        variance = self._outputs.var(dim=0, correction=0).mean()
        return torch.where(seen < WINDOW, torch.nan, variance)


class AtMinimum:
    """The outputs at the minimum of a variance, which `VarianceMinimum.selected` names.

    The smoothed output is taken later than the raw one, because it shows outputs of earlier
    iterations. All tensors are written in place and nothing is read back, so that a GPU can replay
    it.

    Args:
        outputs: (2, C, H, W) float32, raw and smoothed, whose shape and device all others have.
        patience: Updates without a new minimum after which the minimum is final.
    """

    def __init__(self, outputs: Tensor, patience: int) -> None:
        self.outputs = torch.zeros_like(outputs)
        self._patience = patience
        self._lag = torch.zeros((), device=outputs.device)
        self._lowest = torch.full((), torch.inf, device=outputs.device)
        self._waited = torch.full((), -torch.inf, device=outputs.device)

    def update(self, outputs: Tensor, variance: Tensor, counts: Tensor, lag: Tensor) -> None:
        """Take the next outputs.

        Args:
            outputs: (2, C, H, W) float32.
            variance: () float32; NaN is never a minimum. After one, a variance that is not finite
                is that of a run that diverged, whose outputs are not taken.
            counts: () bool, whether this variance may be the minimum.
            lag: () float32, updates after it, if it is the minimum, at which the smoothed output is
                taken, at most `patience`; earlier if no more follow.
        """
        lower = counts & (variance < self._lowest) & (self._waited < self._patience)
        torch.where(lower, variance, self._lowest, out=self._lowest)
        torch.where(lower, lag, self._lag, out=self._lag)
        self._waited.add_(1).masked_fill_(lower, 0)
        until = (self._waited >= 0) & (self._waited <= self._lag) & variance.isfinite()
        now = torch.stack([lower, until]).view(2, 1, 1, 1)
        torch.where(now, outputs, self.outputs, out=self.outputs)
