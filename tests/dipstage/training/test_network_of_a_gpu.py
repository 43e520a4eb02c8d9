"""The network as a GPU computes it, whose bytes are the same each time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_trainings import STAGED, run
from torch import Tensor

from dipstage.training import network


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (network._TwiceAsLarge.apply, network._bilinear),
        (
            lambda x: network._Reflected.apply(x, 1),  # type: ignore[no-untyped-call]
            lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        ),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 2, 3), (1, 2, 3, 2)])
def test_gradients_of_a_gpu_are_those_of_pytorch(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    """A GPU uses them, because their bytes are the same each time."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.equal(ours(x), theirs(x))
    gradient = torch.randn(ours(x).shape, generator=torch.Generator().manual_seed(1))
    found, expected = (torch.autograd.grad(f(x), x, gradient)[0] for f in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_a_run_as_on_a_gpu_gives_the_same_curves_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without biases before batch norm, and with the gradients above."""
    usual = run(STAGED.scaled(30))
    monkeypatch.setattr(network, "_is_on_gpu", lambda x: True)
    other = run(STAGED.scaled(30))
    assert not np.array_equal(usual.trace.loss, other.trace.loss)
    np.testing.assert_allclose(other.trace.loss[:5], usual.trace.loss[:5], rtol=1e-3)
    np.testing.assert_allclose(other.trace.psnr_gt_raw_db, usual.trace.psnr_gt_raw_db, atol=0.5)
