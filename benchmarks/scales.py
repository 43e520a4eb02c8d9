"""Measure which scales of the network gain from bf16: one scale alone, forward and backward.

Claim: from width × side = 2048 on (`BF16_PAYS` in `dipstage.training.arithmetic`) a scale gains 1.3
times or more, and below 1024 it loses, on one core of a CPU that multiplies bf16 in hardware.
Medians of n blocks, alternating between fp32 and bf16. `PYTHONPATH=. python benchmarks/scales.py`
takes a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from machine import machine, write
from torch import Tensor

from dipstage.schedules.settings import TrainerSettings
from dipstage.training.arithmetic import BF16_PAYS
from dipstage.training.network import SkipNetwork

WIDTHS = (32, 64, 128)
SIDES = (4, 8, 16, 32, 64, 128)
LARGEST = 8192
"""Largest width times side; larger scales take long and certainly gain."""


def scale_of(width: int, side: int, dtype: torch.dtype) -> tuple[torch.nn.Module, Tensor]:
    """Return a scale without deeper ones, and an input for it."""
    generator = torch.Generator().manual_seed(0)
    settings = TrainerSettings(width=width, scales=1, input_depth=width)
    network = SkipNetwork(settings, generator=generator)
    x = torch.randn((1, width, side, side), generator=generator)
    body = network.body.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return body, x.to(dtype, memory_format=torch.channels_last).requires_grad_()


def microseconds(scale: torch.nn.Module, x: Tensor, times: int) -> float:
    """Return the microseconds of one forward and backward pass."""
    wanted = [x, *scale.parameters()]
    began = time.perf_counter()
    for _ in range(times):
        torch.autograd.grad(scale(x).sum(), wanted)
    return 1e6 * (time.perf_counter() - began) / times


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/scales.json"))
    given = arguments.parse_args()
    measured_on = machine()
    torch.set_num_threads(1)
    rows, blocks = [], 7
    for width in WIDTHS:
        for side in SIDES:
            if width * side > LARGEST:
                continue
            times = max(2, min(30, 2_000_000 // (width * side * side)))
            made = [scale_of(width, side, dtype) for dtype in (torch.float32, torch.bfloat16)]
            taken: list[list[float]] = [[], []]
            for _ in range(blocks + 1):
                for one, (scale, x) in zip(taken, made, strict=True):
                    one.append(microseconds(scale, x, times))
            fp32, bf16 = (one[1:] for one in taken)  # The first is a warm-up.
            gain = [a / b for a, b in zip(fp32, bf16, strict=True)]
            rows.append({"width": width, "side": side, "fp32_us": fp32, "bf16_us": bf16})
            print(
                f"width {width:3} side {side:3}: fp32 / bf16 {statistics.median(gain):.2f} "
                f"({min(gain):.2f} to {max(gain):.2f}, n = {blocks}); auto takes "
                f"{'bf16' if width * side >= BF16_PAYS else 'fp32'}",
                flush=True,
            )
    write({**measured_on, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
