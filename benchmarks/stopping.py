"""Measure what ending held-out trainings early would change, by replaying their recorded curves.

Claim: if a training ends once PSNR_GT of neither output has risen for `wait` iterations, the share
of iterations that is saved, in how many trainings a maximum or the steps to it change, and by how
much at most. `python benchmarks/stopping.py runs/denoise-128/verification` needs a verification
whose trainings ran to the end of their budget.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from numpy.typing import NDArray

from dipstage.schedules.stopping import OUTPUTS

WAITS = (50, 100, 150, 200, 300)
BLOCK = 10
Curves = dict[str, NDArray[np.float32]]


def end_of(curves: Curves, wait: int) -> int:
    """Return the iterations after which the rule ends a training."""
    length = len(curves["raw"])
    steps = np.arange(length)
    waited = []
    for curve in curves.values():
        before = np.maximum.accumulate(np.concatenate([[-np.inf], curve[:-1]]))
        waited.append(steps - np.maximum.accumulate(np.where(curve > before, steps, 0)))
    ended = np.minimum(*waited)[BLOCK - 1 :: BLOCK] >= wait
    return BLOCK * (int(np.argmax(ended)) + 1) if ended.any() else length


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/stopping.json"))
    given = arguments.parse_args()
    trainings: list[Curves] = []
    for path in sorted((given.run / "curves").glob("*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            trainings.append({output: archive[f"psnr_gt_{output}_db"] for output in OUTPUTS})
    rows: list[dict[str, Any]] = []
    for wait in WAITS:
        ends = [end_of(curves, wait) for curves in trainings]
        row: dict[str, Any] = {
            "wait": wait,
            "saved": float(
                np.mean([1 - e / len(c["raw"]) for e, c in zip(ends, trainings, strict=True)])
            ),
        }
        for output in OUTPUTS:
            lost = [
                float(c[output].max() - c[output][:e].max())
                for e, c in zip(ends, trainings, strict=True)
            ]
            row[output] = {"changed": sum(each > 0 for each in lost), "most_db": max(lost)}
        rows.append(row)
        print(row)
    longest = max(len(curves["raw"]) for curves in trainings)
    write(
        {
            "hardware": given.hardware,
            "trainings": len(trainings),
            "iterations": longest,
            "rows": rows,
        },
        given.output,
    )


if __name__ == "__main__":
    main()
