"""How a run computes: the format of its numbers, and whether its network is compiled."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dipstage.errors import InputError
from dipstage.network import SkipNetwork
from dipstage.settings import TrainerSettings


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What `trainer.precision` and `trainer.compile` came to on a device."""

    precision: Literal["fp32", "bf16"]
    compiled: bool


def choose(settings: TrainerSettings, device: torch.device) -> Arithmetic:
    """What the settings ask for; `auto` goes by the hardware, never by the clock.

    auto precision: bf16 on a CPU that multiplies it in hardware, else fp32. On GPUs it is fp32,
    as nothing faster has been shown to give the same results there.
    auto compile: off, as compiled networks were no faster on the CPU.
    InputError for `compile: on` without a compiler.
    """
    precision: Literal["fp32", "bf16"] = "fp32"
    if settings.precision != "auto":
        precision = settings.precision
    elif device.type == "cpu" and _multiplies_bf16():
        precision = "bf16"
    compiled = settings.compile == "on"
    if compiled and device.type == "cpu" and _compiler() is None:
        raise InputError(
            "compile is on and no C++ compiler is found: install g++ or clang++, name one in CXX, "
            "or set compile to off"
        )
    return Arithmetic(precision, compiled)


def _multiplies_bf16() -> bool:
    # Older releases of PyTorch do not tell; they then compute in fp32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")


class Weights:
    """All weights of a network as one fp32 parameter: one update, one reset.

    The body computes on views of it, in bf16 on views of a copy that `spread` refreshes before a
    forward pass; `gather` brings the gradients home after the backward pass. Adam's sums, updates
    and the head, whose output is scored, are fp32 always.

    layout: in which the body holds its convolutions; its input should come in the same.
    """

    def __init__(self, network: SkipNetwork, arithmetic: Arithmetic, device: torch.device) -> None:
        """Takes the network over: its parameters become views."""
        low = arithmetic.precision == "bf16"
        self.dtype = torch.bfloat16 if low else torch.float32
        fast = low or device.type == "cpu"
        self.layout = torch.channels_last if fast else torch.contiguous_format
        network.to(device)
        body, head = list(network.body.parameters()), list(network.head.parameters())
        count = sum(parameter.numel() for parameter in body)
        flat = torch.cat([self.ordered(p).reshape(-1) for p in [*body, *head]])
        self.flat = nn.Parameter(flat)
        self.flat.grad = torch.zeros_like(flat)
        self._body, self._body_grad = self.flat.detach()[:count], self.flat.grad[:count]
        self._copy = self._body.to(self.dtype)  # The same storage for fp32.
        self._copy_grad = self._body_grad.to(self.dtype)
        self._show(body, self._copy, self._copy_grad)
        self._show(head, self.flat.detach()[count:], self.flat.grad[count:])

    def ordered(self, parameter: Tensor) -> Tensor:
        """A parameter with its dimensions in the order in which they lie in memory."""
        values = parameter.detach()
        return values.movedim(1, -1) if self._is_moved(parameter) else values

    def _is_moved(self, parameter: Tensor) -> bool:
        return parameter.dim() == 4 and self.layout is torch.channels_last

    def _show(self, parameters: list[nn.Parameter], values: Tensor, gradients: Tensor) -> None:
        sizes = [p.numel() for p in parameters]
        parts = zip(
            parameters, torch.split(values, sizes), torch.split(gradients, sizes), strict=True
        )
        for parameter, value, gradient in parts:
            shape, is_moved = self.ordered(parameter).shape, self._is_moved(parameter)
            value, gradient = value.view(shape), gradient.view(shape)
            parameter.data = value.movedim(-1, 1) if is_moved else value
            parameter.grad = gradient.movedim(-1, 1) if is_moved else gradient

    def spread(self) -> None:
        """Before a forward pass: the body's copy, and gradients of 0."""
        assert self.flat.grad is not None
        self.flat.grad.zero_()
        if self._copy is not self._body:
            self._copy.copy_(self._body)
            self._copy_grad.zero_()

    def gather(self) -> None:
        """After a backward pass: the body's gradients."""
        if self._copy is not self._body:
            self._body_grad.copy_(self._copy_grad)


_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_cache_is_chosen = _CACHE in os.environ
"""By the user: PyTorch sets it too, to a folder that any user of the machine may have made."""

_compiled: dict[tuple[object, ...], SkipNetwork] = {}
"""Compiled networks that no run uses at the moment: a process compiles each kind once."""


class CompiledNetwork:
    """A network whose body is compiled, for one run at a time."""

    def __init__(
        self, fresh: SkipNetwork, shape: torch.Size, arithmetic: Arithmetic, device: torch.device
    ) -> None:
        """fresh: a network of the weights that the run begins with; shape: of its input."""
        layers = tuple(tuple(p.shape) for p in fresh.parameters())
        self._key = (layers, tuple(shape), arithmetic, str(device), torch.get_num_threads())
        known = _compiled.pop(self._key, None)
        if known is None:
            _keep_compiled_code()
            fresh.body.compile(dynamic=False)
            known = fresh
        else:
            with torch.no_grad():
                for ours, theirs in zip(known.parameters(), fresh.parameters(), strict=True):
                    ours.data = theirs.detach()
        self.network = known

    def release(self) -> None:
        """The next run may have it."""
        _compiled[self._key] = self.network


def _keep_compiled_code() -> None:
    """Between processes, in a folder of the user's own: what lies there is run."""
    if _cache_is_chosen:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "dipstage" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[_CACHE] = str(folder)
