"""Checks and measures the trainer on one device: speed by scale, and the same bytes twice.

Claim: iterations a second of `dipstage.fit`, scoring included, as the median of n blocks.
`PYTHONPATH=. python benchmarks/trainer.py` runs from a checkout wherever there are torch, numpy
and scikit-image; with a GPU the larger scales are measured. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path

import torch

from dipstage.images import load_picture
from dipstage.outcome import Outcome
from dipstage.presets import parse_preset
from dipstage.randomness import Streams
from dipstage.settings import TrainerSettings
from dipstage.trainer import fit, observe

CPU_SCALES = [(64, 32, 4), (128, 64, 5)]
GPU_SCALES = [(64, 32, 4), (128, 128, 5), (256, 128, 5), (512, 128, 5)]


def train(size: int, width: int, scales: int, iterations: int, device: str) -> Outcome:
    """One run of the report's log10 schedule on a picture of scikit-image."""
    settings = TrainerSettings(width=width, scales=scales)
    picture = load_picture("skimage:astronaut", size=size, multiple=settings.multiple)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    schedule = parse_preset("log10").schedule(iterations)
    return fit(observe(truth, 25, streams), truth, schedule, settings, streams, device=device)


def main() -> int:
    """Print and write the measurements; exit code 1 if two equal runs differ."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--blocks", type=int, default=5)
    arguments.add_argument("--iterations", type=int, default=60, help="of a block")
    arguments.add_argument("--output", type=Path, default=Path("out/benchmark-trainer.json"))
    given = arguments.parse_args()
    gpu = given.device != "cpu"
    hardware = torch.cuda.get_device_name(given.device) if gpu else platform.processor()
    machine = {
        "device": given.device,
        "hardware": hardware or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(" ".join(f"{key}={value}" for key, value in machine.items()))
    scales = GPU_SCALES if gpu else CPU_SCALES
    speeds: dict[tuple[int, int, int], list[float]] = {scale: [] for scale in scales}
    same = True
    for scale in scales:
        train(*scale, 20, given.device)
        a, b = (train(*scale, 40, given.device).trace.csv() for _ in range(2))
        same &= a == b
        print(f"{scale}: two runs of one seed give {'the same bytes' if a == b else 'OTHER BYTES'}")
    for _ in range(given.blocks):  # Interleaved, so that a slow minute hits all scales.
        for scale, measured in speeds.items():
            measured.append(train(*scale, given.iterations, given.device).iterations_per_s)
    print("side/width/scales  iterations/s (median, least, most)  n")
    for (size, width, depth), measured in speeds.items():
        print(
            f"{size}/{width}/{depth}".ljust(18),
            f"{statistics.median(measured):.1f}, {min(measured):.1f}, {max(measured):.1f}",
            f" {len(measured)}",
        )
    rows = [
        {"size": size, "width": width, "scales": depth, "iterations_per_s": measured}
        for (size, width, depth), measured in speeds.items()
    ]
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps({**machine, "rows": rows, "same_bytes": same}, indent=2))
    print(f"written to {given.output}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
