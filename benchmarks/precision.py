"""Test whether faster arithmetic gives the same results, by paired runs in fp32 and another format.

Claim: over n pairs with the same picture, seed and schedule, the mean difference of max PSNR_GT
(raw and smoothed, in dB) and of the steps to it (relative to the mean of fp32), with Student's 95 %
interval. `PYTHONPATH=. python benchmarks/precision.py` takes a quarter of an hour on one CPU core,
prints a table and writes JSON. `--path` selects the format; the default is what
`trainer.precision: auto` selects.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import interval
from machine import machine, write

from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit, observe

PICTURES = ["astronaut", "chelsea", "coffee", "rocket"]
SCHEDULES = ["baseline", "log10"]


def train(picture: str, schedule: str, seed: int, size: int, settings: TrainerSettings) -> Outcome:
    """Run a preset on a picture of scikit-image at sigma 25."""
    loaded = load_picture(f"skimage:{picture}", size=size, multiple=settings.multiple)
    truth, streams = loaded.tensor(), Streams(loaded.digest, seed)
    stages = parse_preset(schedule).schedule(settings.iterations)
    return fit(observe(truth, 25, streams), truth, stages, settings, streams)


def main() -> None:
    """Train, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--width", type=int, default=32)
    arguments.add_argument("--scales", type=int, default=4)
    arguments.add_argument("--iterations", type=int, default=900)
    arguments.add_argument("--seeds", type=int, nargs="+", default=list(range(4)))
    arguments.add_argument("--path", choices=["auto", "bf16"], default="auto")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/precision.json"))
    given = arguments.parse_args()
    measured_on = machine()
    torch.set_num_threads(1)
    settings = TrainerSettings(
        width=given.width, scales=given.scales, iterations=given.iterations, precision="fp32"
    )
    pairs: list[dict[str, Any]] = []
    for seed in given.seeds:
        for picture in PICTURES:
            for schedule in SCHEDULES:
                pair: dict[str, Any] = {"picture": picture, "schedule": schedule, "seed": seed}
                for precision in ("fp32", given.path):
                    asked = replace(settings, precision=precision)
                    pair[precision] = train(picture, schedule, seed, given.size, asked).summary()
                pairs.append(pair)
                print(f"{len(pairs)}: {picture}, {schedule}, seed {seed}", flush=True)
    print(f"{pairs[0][given.path]['precision']}, n={len(pairs)}")
    rows = []
    for output in OUTPUTS:
        for key in ("max_psnr_gt_db", "steps_to_max"):
            by = {p: [pair[p][output][key] for pair in pairs] for p in ("fp32", given.path)}
            mean, low, high = interval([b - a for a, b in zip(*by.values(), strict=True)])
            in_db = key == "max_psnr_gt_db"
            unit, scale = ("dB", 1.0) if in_db else ("%", float(np.mean(by["fp32"])) / 100)
            mean, low, high = mean / scale, low / scale, high / scale
            row = {"output": output, "key": key, "unit": unit}
            rows.append({**row, "mean": mean, "low": low, "high": high})
            print(f"{output} {key}: {mean:+.3f} [{low:+.3f}, {high:+.3f}] {unit}")
    content = {
        **measured_on, "scale": f"{given.size}/{given.width}/{given.scales}",
        "iterations": given.iterations, "path": pairs[0][given.path]["precision"],
        "rows": rows, "pairs": pairs,
    }  # fmt: skip
    write(content, given.output)


if __name__ == "__main__":
    main()
