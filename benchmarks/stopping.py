"""Measure what ending held-out trainings early would change, by replaying their recorded curves.

Claim: if a training ends once PSNR_GT of neither output has risen for `wait` iterations, the share
of iterations that is saved, in how many trainings a maximum or the steps to it change, and by how
much at most. `python benchmarks/stopping.py runs/denoise-128/verification` needs a verification
whose trainings ran to the end of their budget. Trainings that repeat another one count once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import write
from numpy.typing import NDArray

from dipstage.schedules.stopping import OUTPUTS, Output
from search.store.replicate import ReplicateKey

WAITS = (50, 100, 150, 200, 300)
BLOCK = 10
Curve = NDArray[np.float32]
Curves = dict[Output, Curve]


@dataclass(frozen=True, slots=True)
class Training:
    """A training whose curves were recorded.

    Args:
        picture: Name of its picture.
        curves: PSNR_GT of both outputs.
        last_stage: First iteration of the last stage.
    """

    picture: str
    curves: Curves
    last_stage: int

    @classmethod
    def read(cls, path: Path) -> Training:
        """Read a file of curves, `trialN-PICTURE-seedS.npz`."""
        replicate = ReplicateKey.parse(path.stem.partition("-")[2])
        with np.load(path, allow_pickle=False) as archive:
            stage = archive["stage"]
            curves: Curves = {output: archive[f"psnr_gt_{output}_db"] for output in OUTPUTS}
            return cls(replicate.picture, curves, int(np.argmax(stage == stage[-1])))


def distinct(trainings: Iterable[Training]) -> list[Training]:
    """Return the trainings without those that repeat an earlier one.

    Schedules that differ only in where the average begins train the same network: their raw curves
    are equal, and the smoothed ones differ only at first. They are one observation if the smoothed
    maximum is at the same iteration as well.
    """
    found: dict[tuple[bytes, int], Training] = {}
    for each in trainings:
        key = each.curves["raw"].tobytes(), int(np.argmax(each.curves["smoothed"]))
        found.setdefault(key, each)
    return list(found.values())


def trainings_of(run: Path) -> list[Training]:
    """Return the recorded trainings of a run, each once."""
    return distinct(map(Training.read, sorted((run / "curves").glob("*.npz"))))


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


def replay(trainings: list[Curves], wait: int) -> dict[str, Any]:
    """Replay trainings with a wait."""
    ends = [end_of(curves, wait) for curves in trainings]
    ended = list(zip(ends, trainings, strict=True))
    saved = float(np.mean([1 - end / len(curves["raw"]) for end, curves in ended]))
    row: dict[str, Any] = {"wait": wait, "saved": saved}
    for output in OUTPUTS:
        lost = [float(c[output].max() - c[output][:end].max()) for end, c in ended]
        row[output] = {"changed": sum(each > 0 for each in lost), "most_db": max(lost)}
    return row


def main() -> None:
    """Replay, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--hardware", required=True, help="what the trainings ran on")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/stopping.json"))
    given = arguments.parse_args()
    trainings = trainings_of(given.run)
    rows = [replay([each.curves for each in trainings], wait) for wait in WAITS]
    for row in rows:
        print(row)
    write(
        {
            "hardware": given.hardware,
            "trainings": len(trainings),
            "pictures": len({each.picture for each in trainings}),
            "iterations": max(len(each.curves["raw"]) for each in trainings),
            "rows": rows,
        },
        given.output,
    )


if __name__ == "__main__":
    main()
