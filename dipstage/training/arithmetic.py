"""Arithmetic of a run: its number formats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cudnn, mkldnn

from dipstage.errors import InputError
from dipstage.schedules.settings import TrainerSettings
from dipstage.training.network import SkipNetwork

BF16_PAYS = 2048
"""Width times side in pixels of a scale's input from which bf16 is clearly faster than fp32 on a
CPU (benchmarks/scales.py). Below half of it, conversion costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The arithmetic that `trainer.precision` leads to on a device.

    bf16_scales: how many of the network's scales compute in bf16, counted from the finest.
    tf32: whether convolutions of a GPU round fp32 operands to TF32, those of scores excepted.
    """

    bf16_scales: int
    scales: int
    tf32: bool = False

    @property
    def precision(self) -> str:
        """Number format in words, such as `bf16 in 1 of 4 scales`."""
        if self.tf32:
            return "tf32"
        if self.bf16_scales in (0, self.scales):
            return "bf16" if self.bf16_scales else "fp32"
        return f"bf16 in {self.bf16_scales} of {self.scales} scales"

    @contextmanager
    def convolving(self, device: torch.device) -> Iterator[None]:
        """Convolve in this arithmetic, whatever the program has set, and restore what it has set.

        On a GPU the kernels are those that give the same bytes each time.
        """
        if device.type == "cuda":
            with _reproducible(tf32=self.tf32):
                yield
        else:
            # PyTorch 2.13 convolves in the precision of products of matrices.
            with _precise(mkldnn, "conv", "ieee"), _precise(mkldnn, "matmul", "ieee"):
                yield

    def scoring(self, device: torch.device) -> AbstractContextManager[None]:
        """Convolve in fp32, for scores: TF32 is too coarse for the variances in SSIM."""
        return replace(self, tf32=False).convolving(device)


def choose(settings: TrainerSettings, device: torch.device, height: int, width: int) -> Arithmetic:
    """Choose the arithmetic of a run for a picture of so many pixels.

    `auto` depends on hardware and size, never on timings.

    `precision: auto` is bf16 on a CPU that multiplies it in hardware, in the scales that are large
    enough to gain from it, and fp32 otherwise. On GPUs it is fp32, as nothing faster has been shown
    to give the same results there.

    Raises:
        InputError: `precision` is `tf32` on a CPU.
    """
    bf16_scales = 0
    if settings.precision == "bf16":
        bf16_scales = settings.scales
    elif settings.precision == "auto" and device.type == "cpu" and _multiplies_bf16():
        side = math.sqrt(height * width)
        gains = [width * side / 2**i >= BF16_PAYS for i, width in enumerate(settings.widths)]
        bf16_scales = sum(gains)
    tf32 = settings.precision == "tf32"
    if tf32 and device.type == "cpu":
        raise InputError("precision tf32 needs a GPU: set it to auto, fp32 or bf16")
    return Arithmetic(bf16_scales, settings.scales, tf32)


def _multiplies_bf16() -> bool:
    # Older releases of PyTorch do not report this; runs then compute in fp32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def _reproducible(*, tf32: bool) -> Iterator[None]:
    """Let cuDNN give the same bytes each time, in fp32 or TF32."""
    if not hasattr(cudnn, "conv"):  # Before PyTorch 2.9.
        with cudnn.flags(
            enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=tf32
        ):
            yield
        return
    # `cudnn.flags` reads `allow_tf32`, which is an error where `fp32_precision` was set otherwise.
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with _precise(cudnn, "conv", "tf32" if tf32 else "ieee"):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic


@contextmanager
def _precise(backend: ModuleType, name: str, precision: str) -> Iterator[None]:
    """Set `fp32_precision` of an operation of a backend; before PyTorch 2.9 there is none."""
    operation: Any = getattr(backend, name, None)
    before = getattr(operation, "fp32_precision", precision)
    if before == precision or (before == "none" and precision == "ieee"):
        yield
        return
    # An operation that follows its backend is set there: PyTorch 2.13 cannot make a convolution
    # follow again.
    with _set(backend, precision):
        follows = operation.fp32_precision == precision
        if follows:
            yield
    if not follows:
        with _set(operation, precision):
            yield


@contextmanager
def _set(place: Any, precision: str) -> Iterator[None]:
    """Set `fp32_precision` of a backend or an operation, and restore it."""
    before = place.fp32_precision
    place.fp32_precision = precision
    try:
        yield
    finally:
        # It follows what it followed before, if it did.
        place.fp32_precision = "none"
        if place.fp32_precision != before:
            place.fp32_precision = before


class Weights:
    """All weights of a network as one fp32 parameter, so that an update is one operation.

    Layers compute on views of it. Scales that compute in bf16 use views of a bf16 copy: `spread`
    refreshes the copy before a forward pass, and `gather` puts all gradients of a loss into one.
    Adam's state, updates and the weights of the head, whose output is scored, are always fp32.

    dtype, layout: number format and memory layout that the input should have.
    """

    def __init__(self, network: SkipNetwork, arithmetic: Arithmetic, device: torch.device) -> None:
        """Turn the parameters of the network into views."""
        fast = arithmetic.bf16_scales > 0 or arithmetic.tf32 or device.type == "cpu"
        self.layout = torch.channels_last if fast else torch.contiguous_format
        network.to(device)
        scales, low = network.scales(), arithmetic.bf16_scales
        bf16, fp32 = (
            [parameter for scale in part for parameter in scale.own_parameters()]
            for part in (scales[:low], scales[low:])
        )
        fp32 += network.head.parameters()
        count = sum(parameter.numel() for parameter in bf16)
        flat = torch.cat([self.ordered(p).reshape(-1) for p in [*bf16, *fp32]])
        self.flat = nn.Parameter(flat)
        self.flat.grad = torch.zeros_like(flat)
        self._low, self._copy = self.flat.detach()[:count], flat[:count].to(torch.bfloat16)
        self._show(bf16, self._copy)
        self._show(fp32, self.flat.detach()[count:])
        self._parameters, self._count = [*bf16, *fp32], len(bf16)
        self._zeros = [torch.zeros_like(p).reshape(-1) for p in self._parameters]
        self.dtype = network.body.dtype

    def ordered(self, parameter: Tensor) -> Tensor:
        """Return a parameter, or its gradient, with its dimensions in memory order."""
        values = parameter.detach()
        return values.movedim(1, -1) if self._is_moved(parameter) else values

    def _is_moved(self, parameter: Tensor) -> bool:
        return parameter.dim() == 4 and self.layout is torch.channels_last

    def _show(self, parameters: list[nn.Parameter], values: Tensor) -> None:
        sizes = [p.numel() for p in parameters]
        for parameter, value in zip(parameters, torch.split(values, sizes), strict=True):
            shape, is_moved = self.ordered(parameter).shape, self._is_moved(parameter)
            value = value.view(shape)
            parameter.data = value.movedim(-1, 1) if is_moved else value

    def spread(self) -> None:
        """Refresh the bf16 copy, before a forward pass."""
        if self._copy.numel():
            self._copy.copy_(self._low)

    def gather(self, loss: Tensor) -> None:
        """Do the backward pass and keep all gradients in `flat.grad`."""
        assert self.flat.grad is not None
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        gradients = [
            zeros if gradient is None else self.ordered(gradient).reshape(-1)
            for gradient, zeros in zip(found, self._zeros, strict=True)
        ]
        low, count = gradients[: self._count], self._copy.numel()
        if low:
            self.flat.grad[:count].copy_(torch.cat(low))
        torch.cat(gradients[self._count :], out=self.flat.grad[count:])
