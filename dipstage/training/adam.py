"""Adam on the flat weights of a network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (arXiv 1412.6980) with PyTorch's default coefficients and its fused kernel.

    It computes what `torch.optim.Adam` does, through the same function. The class is avoided
    because its first object in a process imports PyTorch's compiler, which takes over a second.
    """

    def __init__(self, weights: Tensor, rate: float | Tensor) -> None:
        """Start without momentum.

        Args:
            weights: What is trained; each step reads its `grad`.
            rate: Learning rate; a tensor on the device of the weights if steps are captured.
        """
        self.rate = rate
        self._weights = weights
        self._mean, self._square = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = torch.zeros((), device=weights.device)

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights once."""
        assert self._weights.grad is not None
        adam(
            [self._weights], [self._weights.grad], [self._mean], [self._square], [], [self._steps],
            fused=True, amsgrad=False, beta1=0.9, beta2=0.999, lr=self.rate, weight_decay=0.0,
            eps=1e-8, maximize=False,
        )  # fmt: skip
