"""Confirmation: the best schedules of a front again, on a few pictures and seeds of their own.

The front's scores are optimistic, because the schedules were chosen by them. A confirmation
chooses the schedules that are verified, by numbers that did not choose them before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.analysis.pareto import front
from search.experiment.candidate import Candidate
from search.store.records import Trial, distinct
from search.store.run import RunRecord
from search.verification.parts import CONFIRMATION, failed_after, has_ended, part
from search.verification.rules import Endpoint
from search.verification.verdicts import Comparison, Entry, compare, entry_of

TOP, PICTURES, SEEDS = 8, 6, 2
PLAIN = "plain DIP"


def best_schedules(trials: list[Trial], top: int) -> list[Trial]:
    """Return the front's staged schedules; if they are fewer, also those of the next fronts.

    A last front that does not fit whole gives those of the highest PSNR_GT.
    """
    left = [
        trial
        for trial in distinct(trials)
        if trial.feasible and not trial.is_plain and trial.candidate is None
    ]
    chosen: list[Trial] = []
    while left and len(chosen) < top:
        members = [left[i] for i in front([trial.score for trial in left])]
        members.sort(key=lambda trial: -trial.score.max_psnr_gt_db)
        chosen += members[: top - len(chosen)]
        left = [trial for trial in left if trial not in members]
    return chosen


def confirmed_candidates(run: RunRecord, top: int) -> list[Candidate]:
    """Return plain DIP with the search's own settings, and the best schedules of the search."""
    from dipstage.schedules.schedule import Schedule

    trials = best_schedules(run.records(), top)
    plain = Schedule.plain(run.experiment.trainer.iterations)
    return [Candidate(PLAIN, plain, role="plain")] + [
        Candidate(trial.name, trial.schedule, role="found", trial=trial.number)
        for trial in trials
        if trial.schedule is not None
    ]


@dataclass(frozen=True)
class Confirmation:
    """Result of a finished confirmation, in the output that the search optimised.

    Args:
        made: The comparison.
        comparisons: Each schedule against plain DIP with the search's settings; none that lacks
            replicates, because it or plain DIP failed.
        source: Trial of the search that each schedule is.
    """

    made: RunRecord
    comparisons: list[Comparison]
    source: dict[str, int]

    @classmethod
    def open(cls, run: RunRecord) -> Confirmation | None:
        """Return the confirmation of a run; None if there is none or it has not ended."""
        made = part(run, CONFIRMATION)
        if made is None or not has_ended(made):
            return None
        entries: dict[str, Entry] = {t.name: entry_of(made, t) for t in made.records()}
        plain = entries.pop(PLAIN)
        compared = compare(
            entries.values(), plain, run.objective, _replicates(made), with_times=True
        )
        output = run.objective.output
        source = {c.name: c.trial for c in made.attributes.candidates if c.trial is not None}
        return cls(made, [c for c in compared if c.output == output and not c.missing], source)

    def pick(self, endpoint: Endpoint) -> Comparison | None:
        """Return the schedule to verify: the fastest of those that are not lower in PSNR_GT on
        the mean, or the highest of those that are not slower. None if there is no such schedule.

        If there are any, the fastest is taken among those whose whole interval is not lower: tuning
        raises the PSNR_GT of plain DIP, so a schedule needs something in hand.
        """
        if endpoint == "time":
            able = [c for c in self.comparisons if c.psnr_db.mean >= 0]
            sure = [c for c in able if c.psnr_db.low is not None and c.psnr_db.low >= 0]
            return min(sure or able, key=mean_log_ratio, default=None)
        able = [c for c in self.comparisons if mean_log_ratio(c) <= 0]
        return max(able, key=lambda c: c.psnr_db.mean, default=None)

    @property
    def picked(self) -> dict[Endpoint, int]:
        """Number of the trial to verify for each endpoint that has one."""
        endpoints: tuple[Endpoint, ...] = ("time", "psnr")
        picks = {endpoint: self.pick(endpoint) for endpoint in endpoints}
        return {endpoint: self.source[c.schedule] for endpoint, c in picks.items() if c}

    @property
    def failures(self) -> list[str]:
        """Sentences that name what is not compared because it failed."""
        return [
            f"{failed_after(trial, _replicates(self.made))}, so it is not compared: {trial.failure}"
            for trial in self.made.records()
            if trial.failure
        ]

    @property
    def obstacle(self) -> str:
        """Failure that leaves nothing to compare, in words; "" if there is none."""
        plain = next(trial for trial in self.made.records() if trial.name == PLAIN)
        if plain.failure:
            return failed_after(plain, _replicates(self.made))
        return "" if self.comparisons else "every schedule failed"

    @property
    def success(self) -> str:
        """Number of schedules that kept their advantage over plain DIP, in words."""
        n = len(self.comparisons)
        higher = sum(c.psnr_db.mean > 0 for c in self.comparisons)
        faster = sum(mean_log_ratio(c) < 0 for c in self.comparisons)
        both = sum(c.psnr_db.mean > 0 and mean_log_ratio(c) < 0 for c in self.comparisons)
        return (
            f"of {n} schedules, {higher} have a higher mean max PSNR_GT than plain DIP, {faster} "
            f"reach the common target sooner, and {both} do both"
        )


def mean_log_ratio(comparison: Comparison) -> float:
    """Return the mean log ratio of the times to the common target."""
    return math.nan if comparison.log_ratio is None else comparison.log_ratio.mean


def _replicates(made: RunRecord) -> int:
    """Return how many replicates each schedule of a comparison has if none fails."""
    return len(made.attributes.pictures) * len(made.experiment.seeds)
