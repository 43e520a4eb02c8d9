"""Return to earlier weights when an update has spoiled them."""

from __future__ import annotations

import torch
from torch import Tensor

_DROP_DB = 5.0


class SafetyReset:
    """Puts back the weights of the iteration before when PSNR against the target drops by 5 dB.

    All tensors are written in place and nothing is read back, so that a GPU can replay it.

    Args:
        weights: All weights of the network, which `check` overwrites.
    """

    def __init__(self, weights: Tensor) -> None:
        self._weights, self._good = weights, weights.detach().clone()
        self._previous_psnr = torch.full((), -torch.inf, device=weights.device)
        self.resets = torch.zeros((), dtype=torch.int64, device=weights.device)

    def check(self, psnr: Tensor, is_first: Tensor) -> None:
        """Compare an iteration with the one before.

        Args:
            psnr: () float32, PSNR of the weights in dB.
            is_first: () bool, whether a new target makes the comparison meaningless.
        """
        previous = torch.where(is_first, -torch.inf, self._previous_psnr)
        dropped = psnr < previous - _DROP_DB
        torch.where(dropped, self._good, self._weights, out=self._good)
        self._weights.copy_(self._good)
        self.resets += dropped
        torch.where(dropped, previous, psnr, out=self._previous_psnr)
