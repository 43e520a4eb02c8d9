"""Fit and test the oracle that ends a training once its smoothed maximum is decided.

Claim: how many trainings of a run have another maximum of the smoothed PSNR_GT (by more than 0.02
dB) or other steps to it (by more than 1 %) if they end by `OracleDecided` instead of after a fixed
patience, and the share of iterations that is saved. `PYTHONPATH=. python benchmarks/decided.py
--fit RUN --test RUN ... --hardware WORDS` replays recorded curves. Trainings that the patience did
not end are counted if they ran to the end of the budget, and left out if something else had ended
them. Trainings that repeat another one count once. Trainings on one picture resemble one another,
so each row also says how many pictures there are, and how many of them `--fit` has too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from stopping import BLOCK, Curve, Training, trainings_of

from dipstage.schedules.stopping import DECIDED_AFTER, DECIDED_FALL_DB

AFTER, FALL_DB = (10, 20, 30, 40, 50), (0.0, 0.02, 0.05, 0.1)
PATIENCES = (80, 150)
LEAST = 100
"""Trainings of a row; with fewer, hardly any was ended by a patience of 150."""


def end_of(curve: Curve, first: int, patience: int, after: int, fall_db: float) -> int | None:
    """Return the iterations after which a training ends; None if it goes on.

    Args:
        curve: PSNR_GT of the smoothed output.
        first: First iteration of the last stage.
        patience: Iterations without a rise that end it.
        after: Iterations without a rise that end it after a fall.
        fall_db: The fall.
    """
    last = curve[first:]
    steps, highest = np.arange(len(last)), np.maximum.accumulate(last)
    is_rise = last > np.concatenate([[-np.inf], highest[:-1]])
    waited = steps - np.maximum.accumulate(np.where(is_rise, steps, 0))
    ends = (waited >= patience) | ((waited >= after) & (highest - last >= fall_db))
    ends &= (first + steps + 1) % BLOCK == 0
    return first + int(np.argmax(ends)) + 1 if ends.any() else None


def replay(
    trainings: list[Training], fitted: set[str], patience: int, after: int, fall_db: float
) -> dict[str, Any]:
    """Replay the trainings of a run with a fixed patience, and with the rule.

    Args:
        trainings: The trainings.
        fitted: The pictures that the rule was fitted to.
        patience: The fixed patience.
        after: Iterations that the rule waits.
        fall_db: The fall that it waits for.
    """
    budget = max(len(each.curves["smoothed"]) for each in trainings)
    before = total = changed = n = 0
    most_db = 0.0
    pictures: set[str] = set()
    for training in trainings:
        curve, first = training.curves["smoothed"], training.last_stage
        fixed = end_of(curve, first, patience, patience, 0.0)
        if fixed is None and len(curve) < budget:
            continue
        whole = curve[:fixed]
        end = end_of(whole, first, patience, after, fall_db)
        lost_db = float(whole.max() - whole[:end].max())
        moved = abs(int(np.argmax(whole)) - int(np.argmax(whole[:end])))
        changed += lost_db > 0.02 or moved > 0.01 * int(np.argmax(whole))
        most_db, n = max(most_db, lost_db), n + 1
        pictures.add(training.picture)
        before, total = before + len(whole), total + len(whole[:end])
    saved = 1 - total / before if n else float("nan")
    return {"patience": patience, "after": after, "fall_db": fall_db, "trainings": n,
            "pictures": len(pictures), "pictures_of_fit": len(pictures & fitted),
            "changed": changed, "most_db": most_db, "saved": saved}  # fmt: skip


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fit", type=Path, required=True, help="the run to fit to")
    arguments.add_argument("--test", type=Path, nargs="+", required=True, help="other runs")
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/decided.json"))
    given = arguments.parse_args()
    runs = {"/".join(run.parts[-2:]): trainings_of(run) for run in [given.fit, *given.test]}
    name, trainings = next(iter(runs.items()))
    fitted = {training.picture for training in trainings}
    fit = [{"run": name, **replay(trainings, fitted, PATIENCES[0], after, fall_db)}
           for after in AFTER for fall_db in FALL_DB]  # fmt: skip
    test = [{"run": name, **replay(trainings, fitted, p, DECIDED_AFTER, DECIDED_FALL_DB)}
            for name, trainings in runs.items() for p in PATIENCES]  # fmt: skip
    test = [row for row in test if row["trainings"] >= LEAST]
    for row in [*fit, *test]:
        print(row)
    write({"hardware": given.hardware, "fit": fit, "test": test}, given.output)


if __name__ == "__main__":
    main()
