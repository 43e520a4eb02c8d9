"""A tiny experiment, and runs that are played through without Ray or training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from search import Run
from search.execution.ledger import Ledger
from search.experiment.model import Experiment, validate
from search.experiment.prepare import load_candidates, load_pictures
from search.store.replicate import Replicate
from search.store.storage import open_storage
from search.store.study import create_study

CONTENT: dict[str, Any] = {
    "name": "tiny",
    "images": ["skimage:chelsea", "skimage:camera"],
    "size": 16,
    "seeds": [0, 1],
    "trainer": {"iterations": 30, "width": 4, "scales": 1, "input_depth": 4, "patience": 5},
    "space": {
        "stages": {"low": 1, "high": 6},
        "exponent": {"low": 0.2, "high": 5.0, "log": True},
        "ramp": {"low": 5, "high": 25},
        "split": ["power", "log", "free"],
        "noise": {
            "beta": ["linear", "cosine", "sigmoid"],
            "heaviest": {"low": 0.1, "high": 1.0},
        },
    },
    "candidates": ["baseline", "log10"],
    "search": {"trials": 4, "seed": 0},
}
KEYS = ["chelsea-seed0", "camera-seed0", "chelsea-seed1", "camera-seed1"]


def experiment(**changes: Any) -> Experiment:
    """The tiny experiment with some top-level keys replaced."""
    return validate({**CONTENT, **changes}, "test")


def outcome(max_psnr_gt_db: float, steps_to_max: float, censored: bool = False) -> Replicate:
    """A replicate as a worker sends it."""
    scores = {
        "max_psnr_gt_db": max_psnr_gt_db,
        "steps_to_max": steps_to_max,
        "censored": censored,
        "ssim_gt_at_max_psnr_gt": 0.7,
        "max_ssim_gt": 0.75,
        "steps_to_max_ssim_gt": steps_to_max + 1,
        "final_psnr_gt_db": max_psnr_gt_db - 1,
        "final_ssim_gt": 0.6,
    }
    smoothed = {**scores, "max_psnr_gt_db": max_psnr_gt_db + 1}
    return Replicate.from_plain(
        {
            "stop": "budget",
            "iterations": 30,
            "resets": 0,
            "wall_s": 2.5,
            "iterations_per_s": 12.0,
            "device": "cpu",
            "host": "here",
            "versions": {"torch": "2.13.0", "python": "3.11.7"},
            "raw": scores,
            "smoothed": smoothed,
        }
    )


def new_run(runs_dir: Path, tiny: Experiment) -> Run:
    """A run that no driver has touched yet."""
    folder = runs_dir / tiny.name
    (folder / "curves").mkdir(parents=True)
    (folder / "experiment.yaml").write_text(tiny.yaml())
    digests = {label: picture.digest for label, picture in load_pictures(tiny).items()}
    create_study(open_storage(folder, None, create=True), tiny, digests, load_candidates(tiny))
    return Run.open(tiny.name, runs_dir)


def play(run: Run, score: Callable[[int], tuple[float, int] | str]) -> Run:
    """Finish a run without training: `score` gives a trial's objectives or why it failed."""
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        result = score(work.number)
        if isinstance(result, str):
            ledger.finish(work.number, result)
            continue
        for key in KEYS:
            ledger.record(work.number, key, outcome(*result))
        ledger.finish(work.number, None)
    return run
