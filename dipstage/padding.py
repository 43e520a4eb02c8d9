"""Padding of pictures whose gradient is the same bytes each time, also on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def is_on_gpu(x: Tensor) -> bool:
    """Return whether a GPU computes, whose own gradients of padding add in any order."""
    return x.is_cuda


def reflect(x: Tensor, pad: int) -> Tensor:
    """Pad all sides of (N, C, H, W) by reflection; sides of up to `pad` pixels by repetition."""
    if pad == 0:
        return x
    height, width = x.shape[-2:]
    if height > pad and width > pad:
        return _reflected(x, pad, pad)
    x = _reflected(x, 0, pad) if width > pad else repeat(x, 0, pad)
    return _reflected(x, pad, 0) if height > pad else repeat(x, pad, 0)


def repeat(x: Tensor, down: int, across: int) -> Tensor:
    """Pad (N, C, H, W) by repeating its edges: `down` rows above and below, `across` columns."""
    if not is_on_gpu(x):
        return F.pad(x, (across, across, down, down), mode="replicate")
    for dim, pad in ((-1, across), (-2, down)):
        if pad:  # The gradient of what is expanded is a sum in a fixed order.
            edges = (x.narrow(dim, place, 1) for place in (0, x.shape[dim] - 1))
            size = [-1] * x.ndim
            size[dim] = pad
            first, last = (edge.expand(size) for edge in edges)
            x = torch.cat([first, x, last], dim)
    return x


def _reflected(x: Tensor, down: int, across: int) -> Tensor:
    if not is_on_gpu(x):
        return F.pad(x, (across, across, down, down), mode="reflect")
    y: Tensor = _Reflected.apply(x, down, across)  # type: ignore[no-untyped-call]
    return y


class _Reflected(torch.autograd.Function):
    """Reflection padding whose gradient is taken in one direction after the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: int, across: int) -> Tensor:
        ctx.down, ctx.across = down, across
        return F.pad(x, (across, across, down, down), mode="reflect")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _folded(_folded(gradients[0], ctx.across, -1), ctx.down, -2), None, None


def _folded(gradient: Tensor, pad: int, dim: int) -> Tensor:
    """Add what was reflected at both ends of one direction to where it came from."""
    if pad == 0:
        return gradient
    side = gradient.shape[dim] - 2 * pad
    inner = gradient.narrow(dim, pad, side)
    # No element has more than two terms, whose order does not matter: PyTorch does not know that.
    if side > 2 * pad + 1 and not torch.are_deterministic_algorithms_enabled():
        where = (pad, pad, 0, 0) if dim == -1 else (0, 0, pad, pad)
        # The second argument gives the shape alone.
        folded: Tensor = torch.ops.aten.reflection_pad2d_backward(gradient, inner, where)
        return folded
    folded = inner.clone()
    for source, target in ((0, 1), (pad + side, side - 1 - pad)):
        folded.narrow(dim, target, pad).add_(gradient.narrow(dim, source, pad).flip(dim))
    return folded
