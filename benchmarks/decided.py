"""Fit and test the oracle that ends a training once its smoothed maximum is decided.

Claim: how many trainings of a run have another maximum of the smoothed PSNR_GT (by more than 0.02
dB) or other steps to it (by more than 1 %) if they end by `OracleDecided` instead of after a fixed
patience, and the share of iterations that is saved. `PYTHONPATH=. python benchmarks/decided.py
--fit RUN --test RUN ... --hardware WORDS` replays recorded curves. Trainings that the patience did
not end are counted if they ran to the end of the budget, and left out if something else had ended
them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from numpy.typing import NDArray

from dipstage.schedules.stopping import DECIDED_AFTER, DECIDED_FALL_DB

BLOCK = 10
AFTER, FALL_DB = (10, 20, 30, 40, 50), (0.0, 0.02, 0.05, 0.1)
PATIENCES = (80, 150)
LEAST = 100
"""Trainings of a row; with fewer, hardly any was ended by a patience of 150."""
Training = tuple[NDArray[np.float32], int]
"""PSNR_GT of the smoothed output, and the first iteration of the last stage."""


def trainings_of(run: Path) -> list[Training]:
    """Return the recorded trainings of a run."""
    found = []
    for path in sorted((run / "curves").glob("*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            stage = archive["stage"]
            found.append((archive["psnr_gt_smoothed_db"], int(np.argmax(stage == stage[-1]))))
    return found


def end_of(training: Training, patience: int, after: int, fall_db: float) -> int | None:
    """Return the iterations after which a training ends; None if it goes on."""
    curve, first = training
    last = curve[first:]
    steps, highest = np.arange(len(last)), np.maximum.accumulate(last)
    is_rise = last > np.concatenate([[-np.inf], highest[:-1]])
    waited = steps - np.maximum.accumulate(np.where(is_rise, steps, 0))
    ends = (waited >= patience) | ((waited >= after) & (highest - last >= fall_db))
    ends &= (first + steps + 1) % BLOCK == 0
    return first + int(np.argmax(ends)) + 1 if ends.any() else None


def replay(run: Path, patience: int, after: int, fall_db: float) -> dict[str, Any]:
    """Replay the trainings of a run with a fixed patience, and with the rule."""
    trainings = trainings_of(run)
    budget = max(len(curve) for curve, _ in trainings)
    before = total = changed = n = 0
    most_db = 0.0
    for training in trainings:
        curve = training[0]
        fixed = end_of(training, patience, patience, 0.0)
        if fixed is None and len(curve) < budget:
            continue
        whole = curve[:fixed]
        end = end_of((whole, training[1]), patience, after, fall_db)
        lost_db = float(whole.max() - whole[:end].max())
        moved = abs(int(np.argmax(whole)) - int(np.argmax(whole[:end])))
        changed += lost_db > 0.02 or moved > 0.01 * int(np.argmax(whole))
        most_db, n = max(most_db, lost_db), n + 1
        before, total = before + len(whole), total + len(whole[:end])
    saved = 1 - total / before if n else float("nan")
    return {"run": "/".join(run.parts[-2:]), "patience": patience, "after": after,
            "fall_db": fall_db, "trainings": n, "changed": changed, "most_db": most_db,
            "saved": saved}  # fmt: skip


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fit", type=Path, required=True, help="the run to fit to")
    arguments.add_argument("--test", type=Path, nargs="+", required=True, help="other runs")
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/decided.json"))
    given = arguments.parse_args()
    fit = [replay(given.fit, PATIENCES[0], a, f) for a in AFTER for f in FALL_DB]
    runs = [given.fit, *given.test]
    test = [replay(run, p, DECIDED_AFTER, DECIDED_FALL_DB) for run in runs for p in PATIENCES]
    test = [row for row in test if row["trainings"] >= LEAST]
    for row in [*fit, *test]:
        print(row)
    write({"hardware": given.hardware, "fit": fit, "test": test}, given.output)


if __name__ == "__main__":
    main()
