"""A played run whose replicates have curves on disk, so that every figure can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fake_runs import CONTENT, KEYS, experiment, new_run, play

from search import Run
from search.store.paths import curve_path

SCORES: dict[int, tuple[float, int] | str] = {
    0: (25.0, 20), 1: (26.0, 15), 2: (27.0, 18), 3: (24.0, 10), 4: "diverged", 5: (27.0, 25),
    6: (23.0, 12), 7: (22.5, 28), 8: (25.5, 22), 9: (26.5, 17), 10: (21.0, 9), 11: (24.5, 13),
    12: (23.5, 27),
}  # fmt: skip
"""Objectives of three candidates and ten sampled trials, one of which failed."""
LONG = "sharp-linear:stages=5,x=3"


def curved(runs_dir: Path, **changes: Any) -> Run:
    """Every curve rises to its trial's maximum and falls by 1 dB in each iteration from there; that
    of replicate k is k iterations shorter than the budget.
    """
    content: dict[str, Any] = {
        "space": {**CONTENT["space"], "stages": {"low": 3, "high": 6}},
        "candidates": ["baseline", "log10", LONG],
        "search": {"trials": 10, "sampler": "random", "seed": 0},
        "racing": {"enabled": False},
    }
    tiny = experiment(**{**content, **changes})
    run = play(new_run(runs_dir, tiny), SCORES.__getitem__)
    for trial in run.records():
        for k, key in enumerate(KEYS if trial.replicates else ()):
            best, steps = trial.measure("raw", "max_psnr_gt_db").mean, SCORES[trial.number][1]
            raw = (best - np.abs(np.arange(30) - float(steps)))[: 30 - k].astype(np.float32)
            np.savez_compressed(
                curve_path(run.folder, trial.number, key),
                psnr_gt_raw_db=raw,
                psnr_gt_smoothed_db=raw + np.float32(1),
            )
    return run
