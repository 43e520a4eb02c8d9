"""PSNR and SSIM against scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dipstage.training.metrics import mse, psnr_db, ssim


@pytest.mark.parametrize("shape", [(1, 11, 11), (1, 32, 40), (3, 48, 33)])
def test_scores_are_scikit_image_s(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    reference = rng.random(shape, dtype=np.float32)
    noisy = np.clip(reference + 0.2 * rng.standard_normal((2, *shape)), 0, 1).astype(np.float32)
    ours_psnr = psnr_db(mse(torch.from_numpy(noisy), torch.from_numpy(reference)[None]))
    ours_ssim = ssim(torch.from_numpy(noisy), torch.from_numpy(reference)[None])
    for k in range(2):
        assert float(ours_psnr[k]) == pytest.approx(
            peak_signal_noise_ratio(reference, noisy[k], data_range=1), abs=1e-4
        )
        assert float(ours_ssim[k]) == pytest.approx(
            structural_similarity(
                reference.astype(np.float64),
                noisy[k].astype(np.float64),
                data_range=1,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            ),
            abs=1e-5,
        )


def test_a_picture_is_like_itself() -> None:
    picture = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    assert float(ssim(picture, picture)) == pytest.approx(1)
    assert float(psnr_db(mse(picture, picture))) == float("inf")
