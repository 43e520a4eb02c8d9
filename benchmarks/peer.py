"""The training loop of the DIP recipe as its authors publish it: the baseline of the trainer.

In each iteration the loop computes three PSNRs with scikit-image on the CPU, and copies all weights
to the CPU for backtracking. On a GPU, cuDNN tries its algorithms and takes the fastest, as the
authors set it, and may use TF32, as PyTorch does by default. It is written from the recipe. With a
checkout of the authors' repository it trains their network, otherwise that of dipstage in PyTorch's
default memory layout.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn

from dipstage.schedules.settings import TrainerSettings
from dipstage.training.network import SkipNetwork

_SHOW_EVERY = 100


class Peer:
    """A training that continues from block to block."""

    def __init__(
        self,
        observation: Tensor,
        truth: Tensor,
        settings: TrainerSettings,
        device: str,
        checkout: Path | None,
    ) -> None:
        self._settings = settings
        self._truth, self._noisy = truth[0].numpy(), observation[0].numpy()
        self._target = observation.to(device)
        self._network = _network(settings, observation.shape[1], checkout).to(device)
        self._saved = 0.1 * torch.rand(1, settings.input_depth, *observation.shape[2:])
        self._saved = self._saved.to(device)
        self._noise = self._saved.clone()
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)
        self._loss = nn.MSELoss()
        self._average: Tensor | None = None
        self._kept: list[Tensor] = []
        self.psnr_gt: list[float] = []
        self._psnr_before = 0.0
        self._iteration, self.line = 0, ""

    def aim(self, target: Tensor) -> None:
        """Change the target for the following iterations, as a staged schedule does."""
        self._target = target.to(self._target.device)

    def train(self, iterations: int) -> float:
        """Train the next block and return its iterations per second."""
        began = time.perf_counter()
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=True, deterministic=False, allow_tf32=True
        ):
            for _ in range(iterations):
                self._optimiser.zero_grad()
                self._closure()
                self._optimiser.step()
        return iterations / (time.perf_counter() - began)

    def _closure(self) -> None:
        noisy = self._saved + self._noise.normal_() * self._settings.input_noise_std
        output = self._network(noisy)
        ema = self._settings.ema
        past = output.detach() if self._average is None else self._average
        self._average = past * ema + output.detach() * (1 - ema)
        loss = self._loss(output, self._target)
        loss.backward()
        pixels, average = output.detach().cpu().numpy()[0], self._average.cpu().numpy()[0]
        psnr = peak_signal_noise_ratio(self._noisy, pixels, data_range=1)
        psnr_gt = peak_signal_noise_ratio(self._truth, pixels, data_range=1)
        smoothed = peak_signal_noise_ratio(self._truth, average, data_range=1)
        self.psnr_gt.append(float(psnr_gt))
        # The recipe prints this line in each iteration; here it is formatted but not printed.
        self.line = f"{self._iteration} {loss.item()} {psnr} {psnr_gt} {smoothed}"
        if self._iteration % _SHOW_EVERY:
            if psnr - self._psnr_before < -5:
                for parameter, kept in zip(self._network.parameters(), self._kept, strict=True):
                    parameter.data.copy_(kept)
                return
            self._kept = [parameter.detach().cpu() for parameter in self._network.parameters()]
            self._psnr_before = psnr
        self._iteration += 1


def _network(settings: TrainerSettings, channels: int, checkout: Path | None) -> nn.Module:
    if checkout is None:
        generator = torch.Generator().manual_seed(0)
        return SkipNetwork(settings, output_channels=channels, generator=generator)
    sys.path.insert(0, str(checkout))
    try:
        skip: Any = importlib.import_module("models.skip").skip
    finally:
        sys.path.remove(str(checkout))
    network: nn.Module = skip(
        settings.input_depth,
        channels,
        num_channels_down=[settings.width] * settings.scales,
        num_channels_up=[settings.width] * settings.scales,
        num_channels_skip=[settings.skip_channels] * settings.scales,
        upsample_mode="bilinear",
        need_sigmoid=True,
        need_bias=True,
        pad="reflection",
        act_fun="LeakyReLU",
    )
    return network
