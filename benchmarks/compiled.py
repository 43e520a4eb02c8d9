"""Measure whether compiling the network makes an iteration faster on a CPU.

Claim: iterations per second with `torch.compile` over those without; median, minimum and maximum of
n blocks. `PYTHONPATH=. python benchmarks/compiled.py` takes 7 minutes and needs a C++ compiler.
`fit_together` trains both networks in turns of ten iterations, each with the precision that `auto`
chooses. The first iteration, which compiles, is timed by itself.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from cells import spread
from machine import machine, write
from torch import Tensor
from trainer import CPU_SCALES

from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import observe
from dipstage.training import trainer
from dipstage.training.measurements import BLOCK
from dipstage.training.network import SkipNetwork

VARIANTS = ("plain", "compiled")


class Clock:
    """Notes when each iteration ended."""

    def __init__(self) -> None:
        self.ended_s: list[float] = []

    def __call__(self, iteration: int, pictures: Tensor) -> bool:
        self.ended_s.append(time.perf_counter())
        return False

    def speeds(self) -> list[float]:
        """Return the iterations per second of each turn but the first, without its first one."""
        turns = range(BLOCK, len(self.ended_s), BLOCK)
        return [(BLOCK - 1) / (self.ended_s[i + BLOCK - 1] - self.ended_s[i]) for i in turns]


def measure(size: int, width: int, scales: int, threads: int, blocks: int) -> dict[str, Any]:
    """Train both networks in turns, print and return their speeds."""
    torch.set_num_threads(threads)
    settings = TrainerSettings(width=width, scales=scales)
    picture = load_picture("skimage:astronaut", size=size, multiple=settings.multiple)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    schedule = parse_preset("baseline").schedule(BLOCK * (blocks + 1))
    clocks = {name: Clock() for name in VARIANTS}
    observed = observe(truth, 25, streams)
    jobs = [
        trainer.Job(observed, truth, schedule, settings, streams, each=clock)
        for clock in clocks.values()
    ]
    waiting = iter(VARIANTS)

    def network(*arguments: Any, **named: Any) -> SkipNetwork:
        made = SkipNetwork(*arguments, **named)
        if next(waiting) == "compiled":
            made.body.forward = torch.compile(made.body.forward)  # type: ignore[method-assign]
        return made

    torch.compiler.reset()  # Otherwise it would compile for any size from the second scale on.
    with patch.object(trainer, "SkipNetwork", network):
        outcomes = trainer.fit_together(jobs)
    # Turns alternate, so that the compiled network's first iteration follows a turn of the other.
    plain, compiled = clocks["plain"], clocks["compiled"]
    compile_s = compiled.ended_s[0] - plain.ended_s[BLOCK - 1]
    ratios = [a / b for a, b in zip(compiled.speeds(), plain.speeds(), strict=True)]
    scale = f"{size}/{width}/{scales}"
    print(
        f"{scale}, {outcomes[0].precision}, {threads} threads: compiled {spread(ratios)} x plain, "
        f"n = {len(ratios)}; the first iteration took {compile_s:.0f} s",
        flush=True,
    )
    return {
        "scale": scale, "threads": threads, "precision": outcomes[0].precision,
        "iterations_per_s": {name: clocks[name].speeds() for name in VARIANTS},
        "first_iteration_s": compile_s,
    }  # fmt: skip


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--blocks", type=int, default=7)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/compiled.json"))
    given = arguments.parse_args()
    measured_on = machine()
    rows = [measure(*sizes[:4], given.blocks) for sizes in CPU_SCALES]
    write({**measured_on, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
