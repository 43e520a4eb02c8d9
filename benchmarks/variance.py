"""Measure what stopping without a ground truth costs, by replaying recorded curves.

For each schedule of a run whose trainings went on to the end of their budget, and for both outputs:
PSNR_GT lost between the highest and that of the output that `ES-EMV` selects, as `dipstage restore`
uses it; iterations until the run ends, the wait included, over those until the maximum; and in how
many trainings the budget ended before the rule did. `psnr_db` and `iterations` are means of what a
user without ground truth gets, smoothed, and of what it costs.

    python benchmarks/variance.py runs/denoise-128/verification --hardware 'NVIDIA H100, fp32'

The rule was fixed before these trainings, and nothing is fitted to them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from numpy.typing import NDArray

from dipstage.choosing import stopping_rule
from dipstage.stopping import OUTPUTS, Output, VarianceMinimum
from search.store.records import Trial
from search.store.run import RunRecord


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the rule makes of one training."""

    lost_db: dict[Output, float]
    waited: dict[Output, float]
    psnr_db: float
    end: int
    found: bool


def stopped(curves: dict[str, NDArray[Any]], ramp: int, ema: float, budget: int) -> Stopped | None:
    """Replay the rule; None for a training that ended before the rule would have.

    Args:
        curves: Recorded curves of a training.
        ramp: Iterations before the last stage.
        ema: Weight of the past in the smoothed output.
        budget: Iterations that were asked for.
    """
    rule = stopping_rule("emv", budget)
    assert isinstance(rule, VarianceMinimum)
    variance = curves["variance_emv"][ramp:]
    selected = rule.found(variance)
    found = selected is not None
    if selected is None:
        if len(variance) + ramp < budget:
            return None
        selected = rule.selected(variance)
        assert selected is not None
    end = min(selected + rule.patience, len(variance) - 1) + ramp
    lag = rule.lag(ema)
    at: dict[Output, int] = {
        "raw": selected + ramp,
        "smoothed": min(selected + ramp + lag, len(variance) + ramp - 1),
    }
    lost: dict[Output, float] = {}
    waited: dict[Output, float] = {}
    for output in OUTPUTS:
        psnr = curves[f"psnr_gt_{output}_db"]
        lost[output] = float(psnr.max() - psnr[at[output]])
        waited[output] = (end + 1) / (int(np.argmax(psnr)) + 1)
    psnr_db = float(curves["psnr_gt_smoothed_db"][at["smoothed"]])
    return Stopped(lost, waited, psnr_db, end + 1, found)


def replayed(run: RunRecord, trial: Trial) -> list[Stopped]:
    """Replay all trainings of a schedule."""
    schedule, trainer = trial.schedule, run.experiment.trainer
    assert schedule is not None
    ema = schedule.recipe.ema
    results = []
    for key in trial.replicates:
        result = stopped(
            run.curves(trial, key),
            schedule.ramp,
            trainer.ema if ema is None else ema,
            schedule.iterations,
        )
        if result is not None:
            results.append(result)
    return results


def row(name: str, results: list[Stopped]) -> dict[str, Any]:
    """Summarise the trainings of a schedule."""
    cells: dict[str, Any] = {
        "schedule": name,
        "trainings": len(results),
        "not_found": sum(not each.found for each in results),
        "psnr_db": float(np.mean([each.psnr_db for each in results])),
        "iterations": float(np.mean([each.end for each in results])),
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


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of the held-out trainings")
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/variance.json"))
    given = arguments.parse_args()
    run = RunRecord.open(given.run.name, given.run.parent)
    by_name: dict[str, list[Stopped]] = defaultdict(list)
    for trial in run.records():
        by_name[trial.name] += replayed(run, trial)
    rows = [row(name, results) for name, results in by_name.items() if results]
    rows.append(row("all", [each for results in by_name.values() for each in results]))
    for each in rows:
        print(each)
    experiment = run.experiment
    write(
        {
            "hardware": given.hardware,
            "size": experiment.size,
            "sigma_255": experiment.task.noise_255,
            "pictures": len(run.attributes.pictures),
            "rows": rows,
        },
        given.output,
    )


if __name__ == "__main__":
    main()
