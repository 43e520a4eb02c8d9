"""Measure how many trials to run side by side on one machine.

Claim: the total iterations per second of k trainings side by side, over those of one training that
has all cores; median, minimum and maximum of n alternating blocks.
`PYTHONPATH=. python benchmarks/packing.py` takes 4 minutes on two cores. Each training is a process
of its own, as a trial is, and all of them start a block at the same moment.
"""

from __future__ import annotations

import argparse
import os
import statistics
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from machine import machine, write

from dipstage.pictures.images import load_picture
from dipstage.schedules.settings import TrainerSettings
from search.execution.probe import Crew

SCALES = [(64, 32, 4, 300), (128, 64, 5, 60), (256, 128, 5, 12)]
"""Side, width, scales, and iterations of a block."""


def megabytes(process: BaseProcess) -> float:
    """Return the resident memory of a process."""
    return psutil.Process(process.pid).memory_info().rss / 1e6


def measure(
    scale: tuple[int, int, int, int], packings: list[tuple[int, int]], blocks: int
) -> list[dict[str, Any]]:
    """Measure each packing, (trainings, threads of each), in alternation; return a row for each."""
    size, width, scales, iterations = scale
    settings = TrainerSettings(width=width, scales=scales)
    picture = load_picture("skimage:astronaut", size=size, multiple=settings.multiple)
    crews = [Crew(k, picture, settings, "cpu", threads=threads) for k, threads in packings]
    speeds: list[list[float]] = [[] for _ in crews]
    try:
        for crew in crews:
            crew.speed(iterations)  # Warm-up.
        for _ in range(blocks):
            for crew, measured in zip(crews, speeds, strict=True):
                measured.append(crew.speed(iterations))
        memory = [max(map(megabytes, crew.processes)) for crew in crews]
    finally:
        for crew in crews:
            crew.end()
    return [
        {"scale": "/".join(map(str, scale[:3])), "trainings": k, "threads": threads,
         "iterations": iterations, "iterations_per_s": speed, "memory_mb_each": mb}
        for (k, threads), speed, mb in zip(packings, speeds, memory, strict=True)
    ]  # fmt: skip


def report(rows: list[dict[str, Any]]) -> None:
    """Print the rows of a scale, each relative to the first."""
    for row in rows:
        gains = [a / b for a, b in zip(row["iterations_per_s"], rows[0]["iterations_per_s"])]  # noqa: B905
        print(
            f"{row['scale']}, {row['trainings']} side by side, {row['threads']} threads each: "
            f"{statistics.median(row['iterations_per_s']):.1f} iterations/s in all, "
            f"{statistics.median(gains):.2f} x ({min(gains):.2f} to {max(gains):.2f}, "
            f"n = {len(gains)}), {row['memory_mb_each']:.0f} MB each",
            flush=True,
        )


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--blocks", type=int, default=5)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/packing-cpu.json"))
    given = arguments.parse_args()
    measured_on, cores = machine(), os.cpu_count() or 1
    rows: list[dict[str, Any]] = []
    for scale in SCALES:
        rows += (found := measure(scale, [(1, cores), (cores, 1)], given.blocks))
        report(found)
    write({**measured_on, "rows": rows}, given.output)


if __name__ == "__main__":
    main()
