"""Forecast of a search's remaining time from the duration of its last trials.

The cost of a replicate depends on its picture and on the iterations of its schedule, as measured in
the last trials. Where trials may be raced, a sampled trial is expected to train the same share of
its replicates as the last ones. Until enough trials are complete, no trial can be raced, so it is
expected to train all of them. The forecast accounts for the finished part of running trials, for
machines that are idle during the last trials, and for `search.hours`, after which no trial begins.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean, median

from search.analysis.racing import MIN_COMPLETE
from search.store.attributes import StudyAttributes
from search.store.records import Trial
from search.store.replicate import ReplicateKey

LAST = 16
"""Number of last trials from which the forecast is made."""
_IN_TURN = 1000
"""Maximum number of future trials that are scheduled individually; the rest fill slots evenly."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The trials of a search and the resources that run them.

    Args:
        keys: Keys of a trial's replicates.
        candidates: Scheduled iterations of each candidate by its name.
        sampled: Requested number of sampled trials.
        iterations: Expected iterations of a sampled trial's schedule.
        slots: Number of trials that run at the same time.
        racing: Whether trials may be raced.
        since: Start time of the driver, in local time; None if it is unknown.
        begin_within_s: Time that `search.hours` leaves for trials to begin, in seconds.
    """

    keys: tuple[str, ...]
    candidates: Mapping[str, int]
    sampled: int
    iterations: int
    slots: int
    racing: bool
    since: datetime | None
    begin_within_s: float = math.inf

    @classmethod
    def of(cls, attributes: StudyAttributes) -> Workload:
        """Create a workload from the attributes of a study."""
        experiment, since = attributes.experiment or {}, attributes.driven_since
        seeds, trainer = experiment.get("seeds", ()), experiment.get("trainer", {})
        hours = math.inf if attributes.hours is None else attributes.hours
        return cls(
            keys=tuple(str(ReplicateKey(p, s)) for p in attributes.pictures for s in seeds),
            candidates={c.name: c.schedule.iterations for c in attributes.candidates},
            sampled=attributes.trials,
            iterations=int(trainer.get("iterations", 0)) or 1,
            slots=attributes.concurrent or 1,
            racing=bool(experiment.get("racing", {}).get("enabled", True)),
            since=None if since is None else _local(datetime.fromisoformat(since)),
            begin_within_s=max(0.0, 3600 * hours - attributes.driven_s),
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of a search; both fields are None if no replicate has ended or no trial runs."""

    trials_per_hour: float | None = None
    seconds_left: float | None = None


def forecast(trials: Sequence[Trial], work: Workload, now: datetime) -> Forecast:
    """Return the forecast of a search.

    Args:
        trials: Trials of the search.
        work: Workload of the search.
        now: Present local time without a time zone, like the times of trials.
    """
    running = [trial for trial in trials if trial.state == "running"]
    ended = _last([trial for trial in trials if trial.ended and trial.replicates])
    costs = _Costs.of([*ended, *running], work)
    if not running or costs is None:
        return Forecast()
    overhead_s = _overhead_s(ended, work)
    shares = _shares(trials, costs, work)
    jobs = [costs.left_s(t, shares, work, now) for t in sorted(running, key=lambda t: t.number)]
    named = {trial.candidate for trial in trials}
    jobs += [
        costs.trial_s(iterations) + overhead_s
        for name, iterations in work.candidates.items()
        if name not in named
    ]
    complete = sum(trial.state == "complete" for trial in trials)
    sampled = max(0, work.sampled - sum(trial.candidate is None for trial in trials))
    # No trial can be raced until enough trials are complete.
    whole = min(sampled, max(0, MIN_COMPLETE - complete - len(jobs))) if work.racing else 0
    a_trial_s = costs.trial_s(work.iterations)
    jobs += [a_trial_s + overhead_s] * whole
    # The shares are not averaged, because unraced trials take longest and so end last.
    some = [a_trial_s * share + overhead_s for share in shares or [1.0]]
    far = max(0, sampled - whole - _IN_TURN)
    jobs += itertools.islice(itertools.cycle(some), sampled - whole - far)
    took = [_took_s(trial, work) or trial.wall_s + overhead_s for trial in ended]
    slots = min(work.slots, len(jobs))
    in_turn_s = makespan_s(jobs, work.slots, len(running), work.begin_within_s)
    far_s = far * fmean(some) / max(1, work.slots)
    return Forecast(
        slots * 3600 / fmean(took) if took else None,
        in_turn_s + min(far_s, max(0.0, work.begin_within_s - in_turn_s)),
    )


def makespan_s(
    jobs: Sequence[float], slots: int, begun: int = 0, begin_within_s: float = math.inf
) -> float:
    """Return the time at which the last job ends if jobs start in order in the first free slot.

    The first `begun` jobs are finished in any case, others only if they begin within the time.
    """
    if not jobs:
        return 0.0
    busy = [0.0] * max(1, min(slots, len(jobs)))
    for i, job in enumerate(jobs):
        if i >= begun and busy[0] >= begin_within_s:
            break
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)


@dataclass(frozen=True, slots=True)
class _Costs:
    """Training time per scheduled iteration for each picture."""

    per_iteration_s: Mapping[str, float]
    otherwise_s: float
    keys: tuple[str, ...]

    @classmethod
    def of(cls, trials: Sequence[Trial], work: Workload) -> _Costs | None:
        """Return the costs, or None if no replicate has ended."""
        spent, scheduled = defaultdict[str, float](float), defaultdict[str, float](float)
        for trial in trials:
            for key, replicate in trial.replicates.items():
                spent[_picture(key)] += replicate.wall_s
                scheduled[_picture(key)] += _iterations(trial, work)
        if not spent or not any(spent.values()):
            return None
        per_iteration = {picture: spent[picture] / scheduled[picture] for picture in spent}
        everywhere = sum(spent.values()) / sum(scheduled.values())
        seen = {key for trial in trials for key in trial.replicates}
        return cls(per_iteration, everywhere, work.keys or tuple(seen))

    def replicate_s(self, key: str, iterations: int) -> float:
        """Return the cost of one replicate; an unknown picture costs the mean of the others."""
        return iterations * self.per_iteration_s.get(_picture(key), self.otherwise_s)

    def trial_s(self, iterations: int) -> float:
        """Return the cost of all replicates of a trial."""
        return sum(self.replicate_s(key, iterations) for key in self.keys)

    def left_s(self, trial: Trial, shares: Sequence[float], work: Workload, now: datetime) -> float:
        """Return the remaining cost of a running trial."""
        iterations = _iterations(trial, work)
        undone = [self.replicate_s(k, iterations) for k in self.keys if k not in trial.replicates]
        if not undone:
            return 0.0
        whole_s, left_s = self.trial_s(iterations), sum(undone)
        if trial.candidate is None:
            done = 1 - left_s / whole_s
            later = [share for share in shares if share > done]
            left_s = max(min(undone), whole_s * (fmean(later) if later else 1.0) - whole_s * done)
        return max(0.0, left_s - min(fmean(undone), _since_last_replicate_s(trial, work, now)))


def _picture(key: str) -> str:
    return ReplicateKey.parse(key).picture


def _shares(trials: Sequence[Trial], costs: _Costs, work: Workload) -> list[float]:
    """Return the share of its full training cost that each of the last sampled trials took.

    If racing is enabled, only trials count that ended after enough trials were complete.
    """
    sampled = [trial for trial in trials if trial.ended and trial.candidate is None]
    if work.racing:
        complete = [trial for trial in trials if trial.state == "complete"]
        first = heapq.nsmallest(MIN_COMPLETE, complete, key=_end)
        if len(first) < MIN_COMPLETE:
            return []
        sampled = [trial for trial in sampled if _end(trial) > _end(first[-1])]
    shares = []
    for trial in _last(sampled):
        iterations = _iterations(trial, work)
        trained = [key for key in trial.replicates if key not in trial.taken]
        spent_s = sum(costs.replicate_s(key, iterations) for key in trained)
        if trial.state == "failed":  # Its last replicate did not finish.
            spent_s = max(spent_s, _took_s(trial, work) or 0.0)
        shares.append(min(1.0, spent_s / costs.trial_s(iterations)))
    return shares


def _last(trials: Sequence[Trial]) -> list[Trial]:
    return heapq.nlargest(LAST, trials, key=_end)


def _end(trial: Trial) -> datetime:
    return trial.ended or datetime.min


def _iterations(trial: Trial, work: Workload) -> int:
    return trial.schedule.iterations if trial.schedule else work.iterations


def _took_s(trial: Trial, work: Workload) -> float | None:
    """Return the wall-clock duration of a trial.

    None for a trial that an earlier driver started: the search may have paused in between.
    """
    if trial.started is None or trial.ended is None:
        return None
    if work.since is None or trial.started < work.since:
        return None
    return (trial.ended - trial.started).total_seconds()


def _overhead_s(ended: Sequence[Trial], work: Workload) -> float:
    """Return the median time that a trial takes in addition to its training.

    The median is robust to the first trial of each worker, which includes the worker's start.
    """
    took = [(_took_s(t, work), t.wall_s) for t in ended if t.state != "failed" and not t.taken]
    beside = [seconds - wall_s for seconds, wall_s in took if seconds is not None]
    return max(0.0, median(beside)) if beside else 0.0


def _since_last_replicate_s(trial: Trial, work: Workload, now: datetime) -> float:
    """Return the elapsed time of the running replicate; 0 if it is unknown."""
    if trial.started is None or work.since is None or trial.started < work.since:
        return 0.0
    return max(0.0, (now - trial.started).total_seconds() - trial.wall_s)


def _local(moment: datetime) -> datetime:
    """Convert to local time without a time zone, as Optuna stores times."""
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.astimezone().replace(tzinfo=None)
