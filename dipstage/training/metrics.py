"""PSNR and SSIM on the device, for pictures in [0, 1]."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dipstage.schedules.settings import SSIM_WINDOW


def psnr_db(mse: Tensor) -> Tensor:
    """Return 10 log10(1 / mse) for mean squared errors of any shape; data range 1."""
    return -10 * torch.log10(mse)


def mse(pictures: Tensor, reference: Tensor) -> Tensor:
    """Return the mean squared error of each picture: (N, C, H, W) and (1, C, H, W) give (N,)."""
    return (pictures - reference).square().mean(dim=(1, 2, 3))


@lru_cache(maxsize=8)
def _gaussian(channels: int, device: torch.device) -> Tensor:
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float64, device="cpu") - SSIM_WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / 1.5).square())
    kernel = (weights / weights.sum()).float().to(device)
    return kernel.expand(channels, 1, 1, SSIM_WINDOW)


def ssim(pictures: Tensor, reference: Tensor) -> Tensor:
    """Return the mean SSIM of each picture (Wang et al. 2004).

    Gaussian window of 11 × 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, mean
    over channels and over all positions at which the window fits.

    Args:
        pictures: (N, C, H, W) float32 in [0, 1]; H and W at least 11.
        reference: (1, C, H, W) float32 in [0, 1].

    Returns:
        (N,) float32.
    """
    n, channels = pictures.shape[:2]
    kernel = _gaussian(channels, pictures.device)

    def blur(x: Tensor) -> Tensor:
        rows = F.conv2d(x, kernel, groups=channels)
        return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)

    stack = torch.cat(
        [pictures, reference, pictures.square(), reference.square(), pictures * reference]
    )
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = torch.split(blur(stack), [n, 1, n, 1, n])
    c1, c2 = 0.01**2, 0.03**2
    covariance = mean_xy - mean_x * mean_y
    variances = mean_xx - mean_x.square() + mean_yy - mean_y.square()
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x.square() + mean_y.square() + c1) * (variances + c2)
    similarity: Tensor = numerator / denominator
    return similarity.mean(dim=(1, 2, 3))
