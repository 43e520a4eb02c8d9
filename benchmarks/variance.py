r"""Measure what stopping without a ground truth costs, by replaying recorded curves.

For each schedule of verified runs, whose trainings went on past their maxima, and for both outputs:
PSNR_GT lost between the highest and that of the output that `ES-EMV` selects, as `dipstage restore`
uses it; iterations until the run ends, the wait included, over those until the maximum; in how many
trainings the budget ended before the rule did; and how many trainings ended before the rule would
have, which count with the greater of two losses: at the minimum so far and at their end. `psnr_db`
and `iterations` are means of what a user without ground truth gets, smoothed, and of what it costs;
`equal_db` is the first if the run is ended where that of `--equal-to` ends on the same replicate.

    python benchmarks/variance.py runs/denoise-64/verification runs/denoise-128/verification \
        --equal-to fast-64 --equal-to 'trial 134' --hardware 'NVIDIA H100, fp32'

The noise is estimated from each observation, as `dipstage restore` does, so the pictures must be
where the runs name them. The rule was fixed before these trainings, and nothing is fitted to them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from numpy.typing import NDArray

from dipstage.randomness import Streams
from dipstage.restoration.choosing import noise_to_fit_255, stopping_rule
from dipstage.schedules.stopping import OUTPUTS, Output, VarianceMinimum
from dipstage.training.iteration_table import averaged_outputs
from search.experiment.prepare import load_pictures, loaded_task
from search.store.replicate import ReplicateKey
from search.store.run import RunRecord

Curves = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A training whose curves were recorded.

    Args:
        curves: Its curves.
        ramp: Iterations before the last stage.
        ema: Weight of the past in the smoothed output.
        rule: The rule that is replayed.
        gamma: Exponent of the smoothed output's power-function average, in place of `ema`.
        averaged: Outputs in the smoothed output after each iteration; read if there is a gamma.
    """

    curves: Curves
    ramp: int
    ema: float
    rule: VarianceMinimum
    gamma: float | None = None
    averaged: Sequence[int] = ()

    def last_stage(self, end: int | None = None) -> NDArray[np.float32]:
        """Return the variance as the rule counts it, until the training's iteration `end`."""
        part = slice(self.ramp, end)
        variance = self.curves[f"variance_{self.rule.kind}"]
        return self.rule.counted(variance[part], self.curves["psnr_raw_db"][part])

    def taken(self, end: int | None = None) -> tuple[dict[Output, int], bool]:
        """Return the iterations of the outputs if the run ends at `end`, and whether it has."""
        variance = self.last_stage(end)
        last = len(variance) + self.ramp - 1
        selected = self.rule.selected(variance)
        if selected is None:
            return {"raw": last, "smoothed": last}, False
        at = selected + self.ramp
        averaged = 1 if self.gamma is None else self.averaged[at]
        smoothed = min(at + self.rule.lag(self.ema, self.gamma, averaged), last)
        return {"raw": at, "smoothed": smoothed}, self.rule.found(variance) is not None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the rule makes of one training; `end` counts iterations."""

    lost_db: dict[Output, float]
    waited: dict[Output, float]
    psnr_db: float
    end: int
    found: bool
    is_cut: bool


def stopped(training: Recorded, budget: int) -> Stopped:
    """Replay the rule.

    Args:
        training: The training.
        budget: Iterations that were asked for.
    """
    at, found = training.taken()
    length = len(training.curves["psnr_raw_db"])
    is_cut = not found and length < budget
    end = min(at["raw"] + training.rule.patience + 1, length) if found else length
    lost: dict[Output, float] = {}
    waited: dict[Output, float] = {}
    for output in OUTPUTS:
        psnr = training.curves[f"psnr_gt_{output}_db"]
        least = min(psnr[at[output]], psnr[-1]) if is_cut else psnr[at[output]]
        lost[output] = float(psnr.max() - least)
        waited[output] = end / (int(np.argmax(psnr)) + 1)
    smoothed = training.curves["psnr_gt_smoothed_db"]
    return Stopped(lost, waited, float(smoothed.max() - lost["smoothed"]), end, found, is_cut)


def recorded(run: RunRecord) -> dict[str, dict[str, Recorded]]:
    """Return the trainings of each schedule whose trial is complete, by their replicates' keys."""
    pictures, task = load_pictures(run.experiment), loaded_task(run.experiment)
    trainings: dict[str, dict[str, Recorded]] = {}
    noises: dict[str, float | None] = {}
    for trial in run.records():
        if trial.state != "complete":
            continue
        schedule = trial.schedule
        assert schedule is not None
        trainer = schedule.recipe.applied_to(run.experiment.trainer)
        gamma = schedule.recipe.ema_gamma
        averaged = averaged_outputs(schedule, trainer)
        for key in trial.replicates:
            if key not in noises:
                replicate = ReplicateKey.parse(key)
                picture = pictures[replicate.picture]
                streams = Streams(picture.digest, replicate.seed)
                noises[key] = noise_to_fit_255(task.observe(picture.tensor(), streams))
            rule = stopping_rule("emv", schedule.iterations, noises[key])
            assert isinstance(rule, VarianceMinimum)
            training = Recorded(
                run.curves(trial, key), schedule.ramp, trainer.ema, rule, gamma, averaged
            )
            trainings.setdefault(trial.name, {})[key] = training
    return trainings


def row(name: str, results: list[Stopped], equal_db: list[float]) -> dict[str, Any]:
    """Summarise the trainings of a schedule."""
    cells: dict[str, Any] = {
        "schedule": name,
        "trainings": len(results),
        "not_found": sum(not each.found and not each.is_cut for each in results),
        "cut": sum(each.is_cut for each in results),
        "psnr_db": float(np.mean([each.psnr_db for each in results])),
        "iterations": float(np.mean([each.end for each in results])),
        "equal_db": float(np.mean(equal_db)) if equal_db else None,
    }
    for output in OUTPUTS:
        lost = [each.lost_db[output] for each in results]
        cells[output] = {
            "median_db": float(np.median(lost)),
            "p95_db": float(np.percentile(lost, 95)),
            "most_db": max(lost),
            "median_iterations": float(np.median([each.waited[output] for each in results])),
        }
    return cells


def measured(run: RunRecord, equal_to: list[str]) -> dict[str, Any]:
    """Replay all trainings of a run."""
    trainings = recorded(run)
    budget = run.experiment.trainer.iterations
    results = {
        name: {key: stopped(each, budget) for key, each in by_key.items()}
        for name, by_key in trainings.items()
    }
    common = next((name for name in equal_to if name in results), None)
    ends = {key: each.end for key, each in results[common].items()} if common else {}
    rows = []
    for name, by_key in results.items():
        equal_db = []
        for key in by_key.keys() & ends.keys():
            at, _ = trainings[name][key].taken(ends[key])
            equal_db.append(
                float(trainings[name][key].curves["psnr_gt_smoothed_db"][at["smoothed"]])
            )
        rows.append(row(name, list(by_key.values()), equal_db))
    rows.append(row("all", [each for by_key in results.values() for each in by_key.values()], []))
    for each in rows:
        print(each)
    experiment = run.experiment
    return {
        "size": experiment.size,
        "sigma_255": experiment.task.noise_255,
        "pictures": len(run.attributes.pictures),
        "seeds": len(experiment.seeds),
        "equal_to": common,
        "rows": rows,
    }


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("runs", type=Path, nargs="+", help="folders of held-out trainings")
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--equal-to", action="append", default=[], help="name of a schedule")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/variance.json"))
    given = arguments.parse_args()
    runs = [
        measured(RunRecord.open(folder.name, folder.parent), given.equal_to)
        for folder in given.runs
    ]
    write({"hardware": given.hardware, "runs": runs}, given.output)


if __name__ == "__main__":
    main()
