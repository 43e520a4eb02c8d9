"""The spread of a trial over its replicates, as bars and bands show it.

All trials are trained on the same pictures and seeds, so pictures that are easy and seeds that are
lucky move all trials alike, and say nothing of their difference. The paired spread takes off what a
replicate is above the others on average over all complete trials (Cousineau 2005, with Morey's 2008
correction), and gives the standard error of what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal, TypeAlias

from dipstage.errors import InputError
from dipstage.stopping import Output
from search.store.records import Trial
from search.store.run import RunRecord

Errors: TypeAlias = Literal["paired", "std", "none"]
ERRORS: tuple[Errors, ...] = ("paired", "std", "none")


@dataclass(frozen=True)
class Spread:
    """How bars are taken; `offsets` is what each replicate lies above the mean, by score."""

    kind: Errors
    offsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def words(self) -> str:
        """For a caption."""
        return {
            "paired": "± paired standard error",
            "std": "± standard deviation",
            "none": "",
        }[self.kind]

    def adjusted(self, key: str, replicate: str, value: float) -> float:
        """A replicate's score without what the replicate itself adds."""
        return value - self.offsets.get(key, {}).get(replicate, 0.0)

    def of(self, trial: Trial, output: Output, key: str) -> float:
        """Half the length of a trial's bar in one score; 0 where there is none to show."""
        values = [
            self.adjusted(key, name, float(getattr(replicate.scores(output), key)))
            for name, replicate in trial.replicates.items()
        ]
        return stdev(values) * self.factor(len(values)) if len(values) > 1 else 0.0

    def factor(self, n: int) -> float:
        """Half the length of a bar in standard deviations of n adjusted replicates."""
        return {"paired": self.scale / math.sqrt(n), "std": 1.0, "none": 0.0}[self.kind]


def spread_of(run: RunRecord, output: Output, kind: Errors, keys: Sequence[str]) -> Spread:
    """Of a run's trials in some scores. Paired needs two complete trials, and else is `std`."""
    if kind not in ERRORS:
        raise InputError(f"errors must be paired, std or none, got {kind!r}")
    complete = [trial for trial in run.records() if trial.values is not None]
    if kind != "paired" or len(complete) < 2:
        return Spread("std" if kind == "paired" else kind)
    # Complete trials have all replicates.
    replicates = list(complete[0].replicates)
    offsets = {}
    for key in keys:
        means = {
            name: fmean(getattr(t.replicates[name].scores(output), key) for t in complete)
            for name in replicates
        }
        whole = fmean(means.values())
        offsets[key] = {name: mean - whole for name, mean in means.items()}
    return Spread("paired", offsets, math.sqrt(len(complete) / (len(complete) - 1)))
