"""The network as a GPU computes it, whose bytes are the same each time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_trainings import STAGED, run
from torch import Tensor

from dipstage import padding
from dipstage.tasks.super_resolve import downsampled
from dipstage.training import network


def gradient_of(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    """What a function returns for some numbers, and its gradient for others."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = function(x)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y.detach(), torch.autograd.grad(y, x, gradient)[0]]


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 2, 3), (1, 2, 3, 2)])
def test_the_gradient_of_up_sampling_is_that_of_pytorch(shape: tuple[int, ...]) -> None:
    y, gradient = gradient_of(network._TwiceAsLarge.apply, shape)
    expected, expected_gradient = gradient_of(network._bilinear, shape)
    assert torch.equal(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("pad", [1, 2])
@pytest.mark.parametrize(
    "shape", [(2, 3, 9, 7), (1, 2, 3, 8), (1, 2, 4, 5), (1, 2, 6, 3), (1, 2, 2, 1), (1, 1, 1, 6)]
)
def test_the_gradient_of_reflection_is_that_of_pytorch(
    shape: tuple[int, ...], pad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pixels are reflected at both ends, and where a side can only be repeated."""
    expected, expected_gradient = gradient_of(lambda x: padding.reflect(x, pad), shape)
    monkeypatch.setattr(padding, "is_on_gpu", lambda x: True)
    y, gradient = gradient_of(lambda x: padding.reflect(x, pad), shape)
    assert torch.equal(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("pad", [1, 2])
def test_reflection_calls_nothing_that_pytorch_refuses_as_not_deterministic(
    pad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `torch.use_deterministic_algorithms(True)`, a GPU refuses PyTorch's own gradient."""
    expected, expected_gradient = gradient_of(lambda x: padding.reflect(x, pad), (2, 3, 9, 7))

    def refused(*_: object) -> Tensor:
        raise RuntimeError("does not have a deterministic implementation")

    monkeypatch.setattr(padding, "is_on_gpu", lambda x: True)
    monkeypatch.setattr(torch.ops.aten, "reflection_pad2d_backward", refused)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    y, gradient = gradient_of(lambda x: padding.reflect(x, pad), (2, 3, 9, 7))
    assert torch.equal(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("factor", [2, 4])
def test_the_gradient_of_super_resolution_is_that_of_pytorch(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1, 3, 4 * factor, 5 * factor)
    expected, expected_gradient = gradient_of(lambda x: downsampled(x, factor), shape)
    monkeypatch.setattr(padding, "is_on_gpu", lambda x: True)
    y, gradient = gradient_of(lambda x: downsampled(x, factor), shape)
    assert torch.equal(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_a_run_as_on_a_gpu_gives_the_same_curves_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without biases before batch norm, and with the gradients above."""
    usual = run(STAGED.scaled(30))
    monkeypatch.setattr(padding, "is_on_gpu", lambda x: True)
    other = run(STAGED.scaled(30))
    assert not np.array_equal(usual.trace.loss, other.trace.loss)
    np.testing.assert_allclose(other.trace.loss[:5], usual.trace.loss[:5], rtol=1e-3)
    np.testing.assert_allclose(other.trace.psnr_gt_raw_db, usual.trace.psnr_gt_raw_db, atol=0.5)
