"""The spread of a trial over its replicates, which error bars and bands show.

All trials are trained on the same pictures and seeds. An easy picture or a lucky seed therefore
moves all trials alike, and says nothing about their differences. The paired spread subtracts the
mean offset of each replicate over all complete trials (Cousineau 2005, with the correction of Morey
2008), and is the standard error of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal, TypeAlias

from dipstage.errors import InputError
from dipstage.schedules.stopping import Output
from search.store.records import Trial, finite
from search.store.run import RunRecord

Errors: TypeAlias = Literal["paired", "std", "none"]
ERRORS: tuple[Errors, ...] = ("paired", "std", "none")


@dataclass(frozen=True)
class Spread:
    """The method by which error bars are computed.

    offsets: for each score, the mean offset of each replicate from the mean of all.
    """

    kind: Errors
    offsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def words(self) -> str:
        """Description for a caption."""
        return {
            "paired": "± paired standard error",
            "std": "± standard deviation",
            "none": "",
        }[self.kind]

    def adjusted(self, key: str, replicate: str, value: float) -> float:
        """Return the score of a replicate without the mean offset of that replicate."""
        return value - self.offsets.get(key, {}).get(replicate, 0.0)

    def of(self, trial: Trial, output: Output, key: str) -> float:
        """Return half the length of a trial's error bar in one score; 0 if there is no bar."""
        values = [
            self.adjusted(key, name, replicate.measure(output, key))
            for name, replicate in trial.replicates.items()
        ]
        has_bar = len(values) > 1 and all(map(math.isfinite, values))
        return stdev(values) * self.factor(len(values)) if has_bar else 0.0

    def factor(self, n: int) -> float:
        """Return half the length of a bar, in standard deviations of n adjusted replicates."""
        return {"paired": self.scale / math.sqrt(n), "std": 1.0, "none": 0.0}[self.kind]


def spread_of(run: RunRecord, output: Output, kind: Errors, keys: Sequence[str]) -> Spread:
    """Return the spread of a run's trials for some scores.

    `paired` needs two complete trials; with fewer it becomes `std`.
    """
    if kind not in ERRORS:
        raise InputError(f"errors must be paired, std or none, got {kind!r}")
    complete = finite(run.records())
    if kind != "paired" or len(complete) < 2:
        return Spread("std" if kind == "paired" else kind)
    # Every complete trial has all replicates.
    replicates = list(complete[0].replicates)
    offsets = {}
    for key in keys:
        means = {
            name: fmean(t.replicates[name].measure(output, key) for t in complete)
            for name in replicates
        }
        whole = fmean(means.values())
        offsets[key] = {name: mean - whole for name, mean in means.items()}
    return Spread("paired", offsets, math.sqrt(len(complete) / (len(complete) - 1)))
