"""Choose the budget of `dipstage restore` where there is less noise than sigma 25.

    python benchmarks/little_noise.py train runs/little-noise --pictures data/bsd
    python benchmarks/little_noise.py choose runs/little-noise

`train` trains pictures that no verification uses with the schedule that `dipstage restore` chooses
itself, over a long budget, and keeps the curves, one file for each training; what is there is not
trained again. `choose` replays budgets on them that grow with a power of the ratio of 25 to the
noise. Rule of the choice: the lowest mean of smoothed PSNR_GT lost over the trainings at 64 × 64
below sigma 25.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, write
from restore import psnr_db
from stopping_rule import KEPT
from variance import Recorded, stopped

from dipstage import fit, load_picture, observe
from dipstage.pictures.photographs import Photograph
from dipstage.randomness import Streams
from dipstage.restoration.choosing import chosen_schedule, estimated_sigma_255, stopping_rule
from dipstage.restoration.classical import classical
from dipstage.schedules.schedule_file import ScheduleFile
from dipstage.schedules.stopping import FullBudget, VarianceMinimum

PICTURES = ("101085", "130026", "167083", "220075", "295087", "304074")
SIGMAS_255 = (5.0, 10.0, 15.0, 25.0)
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def chosen(size: int, sigma_255: float) -> ScheduleFile:
    """Return the file that `dipstage restore` chooses."""
    file = chosen_schedule("auto", "denoise", (size, size), sigma_255, None).file
    assert file is not None
    return file


def observed(source: Path, size: int, sigma_255: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ground truth and observation, (1, C, H, W) each."""
    picture = load_picture(str(source), size=size, multiple=32)
    truth = picture.tensor()
    return truth, observe(truth, sigma_255, Streams(picture.digest, 0))


def train(folder: Path, pictures: Path, iterations: int, size: int) -> None:
    """Train what is missing."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        for sigma_255 in SIGMAS_255:
            path = folder / f"{name}-{size}-{sigma_255:g}.npz"
            if path.exists():
                continue
            source = pictures / f"{name}.png"
            truth, observation = observed(source, size, sigma_255)
            streams = Streams(load_picture(str(source), size=size, multiple=32).digest, 0)
            pixels = observation[0].movedim(0, -1).numpy()
            estimated = estimated_sigma_255(pixels)
            file = chosen(size, estimated)
            assert file.measured is not None
            outcome = fit(
                observation, truth, file.rescaled(iterations, estimated),
                replace(file.measured.trainer, oracle_stop=False), streams, stopping=FullBudget(),
            )  # fmt: skip
            arrays = outcome.trace.arrays()
            clean = truth[0].movedim(0, -1).numpy()
            methods = classical(Photograph(name, pixels), estimated)
            about = {
                "size": np.array(size),
                "sigma_255": np.array(sigma_255),
                "estimated_255": np.array(estimated),
                "noisy_db": np.array(psnr_db(pixels, clean)),
                "classical_db": np.array(max(psnr_db(made, clean) for made, _ in methods.values())),
            }
            part = path.with_suffix(".part")
            with part.open("wb") as kept:
                curves: dict[str, Any] = {key: arrays[key] for key in KEPT if key in arrays}
                np.savez_compressed(kept, **curves | about)
            os.replace(part, path)
            print(f"{path.name}: {outcome.wall_s:.0f} s", flush=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """A training that `train` kept."""

    size: int
    sigma_255: float
    estimated_255: float
    noisy_db: float
    classical_db: float
    curves: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read a file."""
        with np.load(path, allow_pickle=False) as archive:
            about = {key: archive[key].item() for key in cls.__slots__ if key != "curves"}
            return cls(**about, curves={key: archive[key] for key in KEPT if key in archive})

    def ended(self, power: float) -> dict[str, float]:
        """Replay a budget: PSNR_GT of the smoothed output, what it lost, and its cost."""
        file = chosen(self.size, self.estimated_255)
        assert file.measured is not None
        own, ratio = file.schedule, file.measured.sigma_255 / self.estimated_255
        budget = min(round(own.iterations * max(ratio, 1) ** power), len(self.curves[KEPT[0]]))
        rule = stopping_rule("emv", budget, self.estimated_255)
        assert isinstance(rule, VarianceMinimum)
        ema = own.recipe.applied_to(file.measured.trainer).ema
        curves = {key: curve[:budget] for key, curve in self.curves.items()}
        result = stopped(Recorded(curves, own.ramp, ema, rule), budget)
        lost = float(self.curves["psnr_gt_smoothed_db"].max()) - result.psnr_db
        return {"psnr_db": result.psnr_db, "lost_db": lost, "end": float(result.end)}


def choose(folder: Path, output: Path) -> None:
    """Replay all budgets, and write a row for each, size and noise."""
    trainings = [Kept.read(path) for path in sorted(folder.glob("*.npz"))]
    found = {power: [each.ended(power) for each in trainings] for power in POWERS}

    def mean_lost(power: float) -> float:
        pairs = zip(trainings, found[power], strict=True)
        counted = [r["lost_db"] for each, r in pairs if each.size == 64 and each.sigma_255 < 25]
        return float(np.mean(counted))

    rows = []
    for power in sorted(POWERS, key=mean_lost):
        groups: dict[tuple[int, float], list[tuple[Kept, dict[str, float]]]] = defaultdict(list)
        for each, result in zip(trainings, found[power], strict=True):
            groups[each.size, each.sigma_255].append((each, result))
        for (size, sigma_255), group in sorted(groups.items()):
            lost = [result["lost_db"] for _, result in group]
            rows.append(
                {
                    "power": power,
                    "mean_lost_db": mean_lost(power),
                    "size": size,
                    "sigma_255": sigma_255,
                    "trainings": len(group),
                    "estimated_255": float(np.mean([each.estimated_255 for each, _ in group])),
                    "noisy_db": float(np.mean([each.noisy_db for each, _ in group])),
                    "classical_db": float(np.mean([each.classical_db for each, _ in group])),
                    "psnr_db": float(np.mean([result["psnr_db"] for _, result in group])),
                    "lost_db": float(np.median(lost)),
                    "most_lost_db": max(lost),
                    "end": float(np.mean([result["end"] for _, result in group])),
                    "better": sum(r["psnr_db"] > each.classical_db for each, r in group),
                }
            )
            print(rows[-1])
    write({"machine": machine(), "rows": rows}, output)


def main() -> None:
    """Train or choose."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("what", choices=["train", "choose"])
    arguments.add_argument("folder", type=Path, help="where the curves are kept")
    arguments.add_argument("--pictures", type=Path, default=Path("data/bsd"))
    arguments.add_argument("--iterations", type=int, default=3000)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/little-noise.json"))
    given = arguments.parse_args()
    if given.what == "train":
        train(given.folder, given.pictures, given.iterations, given.size)
    else:
        choose(given.folder, given.output)


if __name__ == "__main__":
    main()
