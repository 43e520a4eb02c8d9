"""Variance of a run's latest outputs, whose minimum needs no ground truth (arXiv 2112.06074).

While a network fits the picture, its outputs settle; once it fits the noise, they start to move
again. Both variances are means over pixels and channels, of raw outputs in [0, 1].
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

EMV_WEIGHT = 0.1
"""Weight of the newest output in the moving mean and variance."""
WINDOW = 100
"""Outputs in the window of the windowed variance."""


class Variance(Protocol):
    """A variance that is updated with each output."""

    def restart(self) -> None:
        """Forget all outputs: a new stage begins."""
        ...

    def update(self, output: Tensor) -> Tensor:
        """Take the next output and return the variance.

        Args:
            output: (1, C, H, W) float32.

        Returns:
            () float32; NaN as long as there are too few outputs.
        """
        ...


class MovingVariance:
    """Exponentially weighted moving variance, EMV: arXiv 2112.06074, algorithm 3.

    With a = 0.1, mean and variance go on as variance = (1 - a) (variance + a |x - mean|²) and
    mean = (1 - a) mean + a x. The first output is the first mean.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """See `Variance.restart`."""
        self._mean: Tensor | None = None

    def update(self, output: Tensor) -> Tensor:
        """See `Variance.update`."""
        if self._mean is None:
            self._mean = output.clone()
            self._value = torch.zeros((), device=output.device)
        else:
            distance = (output - self._mean).square().mean()
            self._value = (1 - EMV_WEIGHT) * (self._value + EMV_WEIGHT * distance)
            self._mean.lerp_(output, EMV_WEIGHT)
        return self._value


class WindowedVariance:
    """Variance over a window of the latest outputs, WMV: arXiv 2112.06074, algorithm 1.

    It keeps the outputs of the window in memory: 100 pictures.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """See `Variance.restart`."""
        self._seen = 0
        self._outputs: Tensor | None = None

    def update(self, output: Tensor) -> Tensor:
        """See `Variance.update`."""
        if self._outputs is None:
            self._outputs = torch.zeros((WINDOW, *output.shape[1:]), device=output.device)
        self._outputs[self._seen % WINDOW] = output[0]
        self._seen += 1
        if self._seen < WINDOW:
            return torch.full((), torch.nan, device=output.device)
        return self._outputs.var(dim=0, correction=0).mean()
