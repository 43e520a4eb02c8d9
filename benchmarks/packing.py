"""Measure how many trials to run side by side on one machine, or on one GPU.

Claim: the total iterations per second of k trainings side by side, over those of one training that
has all cores; median, minimum and maximum of n alternating blocks. On a GPU: k trainings over one,
measured one after the other, with the memory that PyTorch uses in each case; repeated under MPS if
`nvidia-cuda-mps-control` is installed.
`PYTHONPATH=. python benchmarks/packing.py` takes 4 minutes on two cores. Each training is a process
of its own, as a trial is, and all of them start a block at the same moment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import machine, write

from dipstage.errors import WorkError
from dipstage.images import load_picture
from dipstage.settings import TrainerSettings
from search.execution.probe import Crew

CPU_SCALES = [(64, 32, 4, 300), (128, 64, 5, 60), (256, 128, 5, 12)]
"""Side, width, scales, and iterations of a block."""
GPU_SCALES = [(64, 32, 4, 600), (128, 128, 5, 400), (256, 128, 5, 200), (512, 128, 5, 60)]


def measure(
    scale: tuple[int, int, int, int], device: str, packings: list[tuple[int, int]], blocks: int
) -> list[dict[str, Any]]:
    """Measure each packing, (trainings, threads of each), and return a row for each.

    Packings alternate on a CPU, where waiting processes cost nothing. They run one after the other
    on a GPU, where waiting processes would occupy memory. A packing that does not fit has no row.
    """
    size, width, scales, iterations = scale
    settings = TrainerSettings(width=width, scales=scales)
    picture = load_picture("skimage:astronaut", size=size, multiple=settings.multiple)
    rounds = [packings] if device == "cpu" else [[packing] for packing in packings]
    rows = []
    for together in rounds:
        crews = [Crew(k, picture, settings, device, threads=threads) for k, threads in together]
        speeds: list[list[float]] = [[] for _ in crews]
        try:
            for crew in crews:
                crew.speed(iterations)  # Warm-up.
            for _ in range(blocks):
                for crew, measured in zip(crews, speeds, strict=True):
                    measured.append(crew.speed(iterations))
            memory = [crew.memory_mb() for crew in crews]
        except WorkError as error:
            print(f"{'/'.join(map(str, scale[:3]))}, {together}: {error}", flush=True)
            continue
        finally:
            for crew in crews:
                crew.end()
        rows += [
            {"scale": "/".join(map(str, scale[:3])), "trainings": k, "threads": threads,
             "iterations": iterations, "iterations_per_s": speed, "memory_mb_each": mb}
            for (k, threads), speed, mb in zip(together, speeds, memory, strict=True)
        ]  # fmt: skip
    return rows


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


@contextmanager
def multi_process_service() -> Iterator[None]:
    """Run NVIDIA's MPS for the processes that are started in the block."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", check=True)
            for name in names:
                del os.environ[name]


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--blocks", type=int, default=5)
    arguments.add_argument("--output", type=Path)
    given = arguments.parse_args()
    gpu = given.device != "cpu"
    name = torch.cuda.get_device_name(given.device) if gpu else "cpu"
    measured_on, cores = machine(device=name), os.cpu_count() or 1
    rows: list[dict[str, Any]] = []
    for scale in GPU_SCALES if gpu else CPU_SCALES:
        packings = [(k, 1) for k in (1, 2, 4, 8)] if gpu else [(1, cores), (cores, 1)]
        rows += (found := measure(scale, given.device, packings, given.blocks))
        report(found)
        if gpu and shutil.which("nvidia-cuda-mps-control"):
            try:
                with multi_process_service():
                    found = measure(scale, given.device, packings, given.blocks)
            except subprocess.CalledProcessError as error:
                print(f"MPS cannot be used here: {error}")
                continue
            print("under MPS:")
            report(found)
            rows += [{**row, "mps": True} for row in found]
    default = Path(f"benchmarks/packing-{'gpu' if gpu else 'cpu'}.json")
    write({**measured_on, "rows": rows}, given.output or default)


if __name__ == "__main__":
    main()
