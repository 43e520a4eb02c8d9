"""Classical denoising methods of scikit-image, to compare `restore` with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dipstage.pictures.photographs import Photograph


def classical(photo: Photograph, sigma_255: float) -> dict[str, tuple[NDArray[np.float32], float]]:
    """Denoise by scikit-image's classical methods; pictures and seconds by name."""
    from skimage.restoration import denoise_nl_means, denoise_wavelet

    pixels, sigma = photo.pixels, sigma_255 / 255
    is_colour = pixels.shape[2] == 3
    results = {}
    # The settings are those that the documentation of scikit-image recommends for known noise.
    for name, method, options in (
        (
            "non-local means",
            denoise_nl_means,
            {"h": 0.6 * sigma, "sigma": sigma, "patch_size": 5, "patch_distance": 6},
        ),
        (
            "wavelets",
            denoise_wavelet,
            {"sigma": sigma, "convert2ycbcr": is_colour, "rescale_sigma": True},
        ),
    ):
        started = time.perf_counter()
        made = method(pixels, channel_axis=-1, **options)
        clipped = np.clip(made, 0, 1).astype(np.float32)
        results[name] = clipped.reshape(pixels.shape), time.perf_counter() - started
    return results
