"""Choose the rule that stops without a ground truth, on pictures that no verification uses.

    python benchmarks/stopping_rule.py train runs/stopping-rule --pictures data/bsd
    python benchmarks/stopping_rule.py choose runs/stopping-rule

`train` trains each picture with each kind of schedule over the whole budget and keeps its curves,
one file for each training; what is there is not trained again. `choose` replays candidates for the
rule on them. Rule of the choice: among the candidates whose median end lies before `MOST_WAITED`
times the steps to the smoothed maximum for every kind of schedule, the one whose 95th percentile
of smoothed PSNR_GT lost is lowest for the kind where it is highest.
"""

from __future__ import annotations

import argparse
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, write
from variance import Recorded, Stopped, row, stopped

from dipstage import fit, load_picture, observe
from dipstage.randomness import Streams
from dipstage.restoration.choosing import estimated_sigma_255, stopping_rule
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.published import published
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import FullBudget, VarianceKind, VarianceMinimum

SIZE, SIGMA_255, BUDGET = 64, 25.0, 1200
SETTINGS = TrainerSettings(width=32, scales=4)
KEPT = ("psnr_raw_db", "psnr_gt_raw_db", "psnr_gt_smoothed_db", "variance_emv", "variance_wmv")
MOST_WAITED = 1.4
PLAIN = "plain DIP, rate 0.01"
Make = Callable[[int, float], VarianceMinimum]


def schedules(iterations: int) -> dict[str, Schedule]:
    """Return the kinds of schedule that the rule has to serve."""
    plain = Schedule.plain(iterations)
    slow = replace(plain, recipe=replace(plain.recipe, learning_rate=0.003))
    return {
        PLAIN: plain,
        "fast": published("fast", SIZE, SIGMA_255).schedule(iterations, SIGMA_255),
        "sharp-linear": parse_preset("sharp-linear").schedule(iterations),
        "plain DIP, rate 0.003": slow,
    }


def train(folder: Path, pictures: Path, iterations: int, size: int, width: int) -> None:
    """Train what is missing."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    settings = replace(SETTINGS, width=width)
    for source in sorted(pictures.glob("*.png")):
        picture = load_picture(str(source), size=size, multiple=2**settings.scales)
        truth, streams = picture.tensor(), Streams(picture.digest, 0)
        observation = observe(truth, SIGMA_255, streams)
        for kind, schedule in schedules(iterations).items():
            path = folder / f"{source.stem}-{kind.replace(' ', '-')}.npz"
            if path.exists():
                continue
            trained = replace(schedule, recipe=schedule.recipe.without({"width": 0, "scales": 0}))
            outcome = fit(
                observation, truth, trained, settings, streams, stopping=FullBudget(windowed=True)
            )
            arrays = outcome.trace.arrays()
            about = {
                "kind": np.array(kind),
                "ramp": np.array(trained.ramp),
                "budget": np.array(iterations),
                "ema": np.array(trained.recipe.applied_to(settings).ema),
                "sigma_255": np.array(estimated_sigma_255(observation[0].movedim(0, -1).numpy())),
            }
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                kept: dict[str, Any] = {key: arrays[key] for key in KEPT} | about
                np.savez_compressed(file, **kept)
            os.replace(part, path)
            print(f"{path.name}: {outcome.wall_s:.0f} s", flush=True)


def ignoring(kind: VarianceKind, warmup: int, budget: int, sigma_255: float) -> VarianceMinimum:
    """Return a rule that ignores a number of iterations."""
    return VarianceMinimum(kind, max(budget // 10, 150), warmup)


def fitting(
    kind: VarianceKind, margin_db: float, patience: int, budget: int, sigma_255: float
) -> VarianceMinimum:
    """Return a rule that waits until the picture is fitted, as `stopping_rule`."""
    rule = stopping_rule(kind, budget, sigma_255)
    assert isinstance(rule, VarianceMinimum)
    fitted_db = 20 * math.log10(255 / sigma_255) - margin_db
    return replace(rule, patience=patience, fitted_db=fitted_db)


def candidates() -> Iterator[tuple[str, Make]]:
    """Yield candidates for the rule, by name; each makes a rule for a budget and a noise."""
    kinds: tuple[VarianceKind, ...] = ("emv", "wmv")
    for kind in kinds:
        for warmup in (100, 200, 300, 400):
            yield f"{kind}, {warmup} ignored", partial(ignoring, kind, warmup)
        for margin_db in (0.1, 0.2, 0.3, 0.4, 0.5):
            for patience in (100, 150, 200):
                name = f"{kind}, fitted within {margin_db:g} dB, patience {patience}"
                yield name, partial(fitting, kind, margin_db, patience)


@dataclass(frozen=True, slots=True)
class Kept:
    """A training that `train` kept."""

    kind: str
    budget: int
    sigma_255: float
    training: Recorded

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read a file; its rule is not set yet."""
        with np.load(path, allow_pickle=False) as archive:
            training = Recorded(
                {key: archive[key] for key in KEPT}, int(archive["ramp"]), float(archive["ema"]),
                VarianceMinimum(),
            )  # fmt: skip
            sigma_255 = float(archive["sigma_255"])
            return cls(str(archive["kind"]), int(archive["budget"]), sigma_255, training)

    def stopped(self, make: Make) -> Stopped:
        """Replay a candidate."""
        rule = make(self.budget, self.sigma_255)
        return stopped(replace(self.training, rule=rule), self.budget)


def replayed(trainings: list[Kept], name: str, make: Make) -> list[dict[str, Any]]:
    """Return a row for each kind of schedule."""
    by_kind: dict[str, list[Stopped]] = defaultdict(list)
    for each in trainings:
        by_kind[each.kind].append(each.stopped(make))
    return [{"rule": name, **row(kind, results, [])} for kind, results in by_kind.items()]


def worst_db(rows: list[dict[str, Any]]) -> float:
    """Return the loss that decides, infinite for a candidate that waits too long."""
    if any(each["smoothed"]["median_iterations"] > MOST_WAITED for each in rows):
        return math.inf
    return max(float(each["smoothed"]["p95_db"]) for each in rows)


def choose(folder: Path, output: Path) -> None:
    """Replay all candidates, print them from best to worst, and write them."""
    trainings = [Kept.read(path) for path in sorted(folder.glob("*.npz"))]
    found = {name: replayed(trainings, name, make) for name, make in candidates()}
    ordered = sorted(found, key=lambda name: worst_db(found[name]))
    for name in ordered:
        kinds = "; ".join(
            f"{each['schedule']}: raw {each['raw']['median_db']:.2f}/{each['raw']['p95_db']:.2f}, "
            f"smoothed {each['smoothed']['median_db']:.2f}/{each['smoothed']['p95_db']:.2f}, "
            f"end {each['smoothed']['median_iterations']:.2f}, none {each['not_found']}"
            for each in found[name]
        )
        print(f"{worst_db(found[name]):.2f} dB {name}: {kinds}")
    about = machine(
        size=SIZE, sigma_255=SIGMA_255, budget=trainings[0].budget, trainings=len(trainings)
    )
    rows = [each for name in ordered for each in found[name]]
    write({"machine": about, "chosen": ordered[0], "rows": rows}, output)


def main() -> None:
    """Train or choose."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("what", choices=["train", "choose"])
    arguments.add_argument("folder", type=Path, help="where the curves are kept")
    arguments.add_argument("--pictures", type=Path, default=Path("data/bsd"))
    arguments.add_argument("--iterations", type=int, default=BUDGET)
    arguments.add_argument("--size", type=int, default=SIZE)
    arguments.add_argument("--width", type=int, default=SETTINGS.width)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/stopping-rule.json"))
    given = arguments.parse_args()
    if given.what == "train":
        train(given.folder, given.pictures, given.iterations, given.size, given.width)
    else:
        choose(given.folder, given.output)


if __name__ == "__main__":
    main()
