"""A small search, what its verification is asked for, and copies to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path

from search import Run
from search.verification.plan import Request
from search.verification.result import Verification

SMALL = {
    "images": ["skimage:astronaut"],
    "seeds": [0, 3],
    "candidates": ["baseline", "log10"],
    "search": {"trials": 2, "sampler": "random"},
    "space": {
        "stages": {"low": 4, "high": 5},
        "exponent": {"low": 1.0, "high": 1.5},
        "ramp": {"low": 10, "high": 12},
        "split": ["power"],
        "noise": {"beta": ["linear"], "max_level": {"low": 0.1, "high": 0.3}},
    },
}
REQUEST = Request(
    images=("skimage:coffee", "skimage:rocket"), seeds=2, learning_rates=(0.01, 0.02), controls="2"
)


def copy(run: Run, runs_dir: Path) -> Run:
    """A run to try things on."""
    shutil.copytree(run.folder, runs_dir / run.name)
    return Run.open(run.name, runs_dir)


def results(run: Run) -> Verification:
    """Of a run whose verification has ended."""
    verification = Verification.open(run)
    assert verification is not None
    return verification
