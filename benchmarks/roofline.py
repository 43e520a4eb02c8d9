"""Measure which fraction of the machine's peak performance an iteration reaches.

Claim: the shortest possible time of a forward and backward pass over the time of an iteration. The
shortest possible time is the longer of two: FLOP over the measured rate of a matrix product in
their number format, and bytes over the measured rate of a copy. FLOP are those of the convolutions
(`torch.utils.flop_counter`); bytes are all that each operation reads and writes, as if no cache
kept anything between two operations.
`PYTHONPATH=. python benchmarks/roofline.py` takes two minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import machine, write
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from trainer import CPU_SCALES, PATHS, Scale

from dipstage.schedules.settings import TrainerSettings
from dipstage.training.arithmetic import Weights, choose
from dipstage.training.network import SkipNetwork

_VIEWS = ("view", "detach", "permute", "transpose", "t.", "expand", "alias", "slice", "split",
          "unsqueeze", "squeeze", "_unsafe_view", "as_strided", "select")  # fmt: skip
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the work of operations.

    flop: of each number format of the operands.
    moved: bytes that operations read and write; views move none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop: Counter[torch.dtype] = Counter()
        self.moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count one operation."""
        result = func(*args, **(kwargs or {}))
        if not str(func).removeprefix("aten.").startswith(_VIEWS):
            for leaf in tree_leaves((args, kwargs or {}, result)):
                if isinstance(leaf, Tensor):
                    self.moved += leaf.numel() * leaf.element_size()
        flop = flop_registry.get(func.overloadpacket)
        if flop is not None:
            self.flop[args[0].dtype] += flop(*args, **(kwargs or {}), out_val=result)
        return result


def seconds(work: Callable[[], Any], times: int) -> float:
    """Return the seconds of the fastest of several repetitions."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def ceilings() -> dict[str, float]:
    """Measure the GFLOP/s of a matrix product in each format and the GB/s of a copy."""
    side = 2048
    found = {}
    for name, dtype in FORMATS.items():
        a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
        found[f"{name}_gflop_s"] = 2 * side**3 / seconds(lambda a=a, b=b: a @ b, 8) / 1e9  # type: ignore[misc]
    source = torch.zeros(64 * 2**20)
    target = torch.empty_like(source)
    found["gb_s"] = 2 * 4 * source.numel() / seconds(lambda: target.copy_(source), 8) / 1e9
    return found


def counted(size: int, settings: TrainerSettings) -> dict[str, float]:
    """Count the GFLOP in each format, and the GB, of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    network = SkipNetwork(settings, generator=generator)
    cpu = torch.device("cpu")
    weights = Weights(network, choose(settings, cpu, size, size), cpu)
    x = torch.zeros(1, 32, size, size)
    x = x.to(weights.dtype, memory_format=weights.layout)
    target = torch.zeros(1, 3, size, size)

    def once() -> None:
        F.mse_loss(network(x), target).backward()  # type: ignore[no-untyped-call]

    once()  # From the second pass on, gradients are added to those that are there.
    work = Counted()
    with work:
        once()
    gflop = {f"{name}_gflop": work.flop[dtype] / 1e9 for name, dtype in FORMATS.items()}
    return {**gflop, "gb": work.moved / 1e9}


def shortest(work: Mapping[str, float], ceiling: Mapping[str, float]) -> tuple[float, float]:
    """Return the shortest possible seconds of the multiplications, and of moving the bytes.

    Args:
        work: What `counted` returns.
        ceiling: What `ceilings` returns.
    """
    compute = sum(work[f"{name}_gflop"] / ceiling[f"{name}_gflop_s"] for name in FORMATS)
    return compute, work["gb"] / ceiling["gb_s"]


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--blocks", type=int, default=3)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/roofline-cpu.json"))
    given = arguments.parse_args()
    measured_on = machine()
    rows = []
    for sizes in CPU_SCALES:
        scale = Scale(sizes, None)
        ceiling = ceilings()
        for path in ("fp32", "auto"):
            settings = TrainerSettings(width=scale.width, scales=scale.scales, **PATHS[path])
            work = counted(scale.size, settings)
            compute, memory = shortest(work, ceiling)
            scale.train(5, **PATHS[path])
            speeds = [scale.train(scale.iterations, **PATHS[path]) for _ in range(given.blocks)]
            measured = min(1 / outcome.iterations_per_s for outcome in speeds)
            rows.append(
                {"scale": "/".join(map(str, sizes[:3])), "threads": scale.threads, "path": path,
                 "precision": speeds[0].precision, **ceiling, **work, "compute_s": compute,
                 "memory_s": memory, "iteration_s": measured,
                 "reached": max(compute, memory) / measured}
            )  # fmt: skip
            print("; ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in rows[-1].items()
            ), flush=True)  # fmt: skip
    write({**measured_on, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
