"""The time left, held against what a simulated search then took."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import fmean

import pytest
from fake_runs import outcome

from dipstage.schedules.schedule import Schedule, Stage
from search.analysis.forecast import Forecast, Workload, forecast, makespan_s
from search.store.records import Trial

START = datetime(2026, 1, 1)
REPLICATE = outcome(25.0, 10)
KEYS = ("a-seed0", "b-seed0", "a-seed1", "b-seed1")
PLAN = Workload(
    keys=KEYS, candidates={"baseline": 100, "log10": 100}, sampled=60, iterations=100, slots=2,
    racing=True, since=START,
)  # fmt: skip


class Simulation:
    """A search on a simulated clock: pictures `a` take a second, `b` three, give or take a fifth.

    raced: of the sampled trials, once eight are complete; after two replicates. failed: at once.
    """

    def __init__(
        self,
        plan: Workload,
        raced: float = 0.6,
        failed: float = 0.0,
        overhead_s: float = 0.1,
        seed: int = 0,
    ) -> None:
        chance, slots = random.Random(seed), [0.0] * plan.slots
        self.trials: list[Trial] = []
        complete: list[float] = []
        for number in range(len(plan.candidates) + plan.sampled):
            name = list(plan.candidates)[number] if number < len(plan.candidates) else None
            begin = slots[0]
            share = (plan.candidates[name] if name else plan.iterations) / 100
            cost = [
                share * (1 if key.startswith("a") else 3) * chance.uniform(0.8, 1.2)
                for key in plan.keys
            ]
            fails = name is None and chance.random() < failed
            may_race = plan.racing and sum(end <= begin for end in complete) >= 8
            races = name is None and may_race and chance.random() < raced
            taken = cost[:0] if fails else cost[:2] if races else cost
            spent = 0.3 * sum(cost) if fails else sum(taken)
            end = begin + spent + overhead_s
            heapq.heapreplace(slots, end)
            state = "failed" if fails else "raced" if races else "complete"
            if state == "complete":
                heapq.heappush(complete, end)
            self.trials.append(self._trial(number, name, plan, taken, state, begin, end))
        self.end = max(slots)

    def _trial(
        self, number: int, name: str | None, plan: Workload, taken: list[float], state: str,
        begin: float, end: float,
    ) -> Trial:  # fmt: skip
        iterations = plan.candidates[name] if name else plan.iterations
        done = {
            key: replace(REPLICATE, wall_s=cost)
            for key, cost in zip(plan.keys, taken, strict=False)
        }
        return Trial(
            number=number, state=state, candidate=name,  # type: ignore[arg-type]
            schedule=Schedule((Stage(1.0, iterations),)), params={}, replicates=done, values=None,
            raced=None, failure=None,
            started=START + timedelta(seconds=begin), ended=START + timedelta(seconds=end),
        )  # fmt: skip

    def at(self, now_s: float) -> list[Trial]:
        """The study at a moment."""
        now, seen = START + timedelta(seconds=now_s), []
        for trial in self.trials:
            assert trial.started is not None
            assert trial.ended is not None
            if trial.ended <= now:
                seen.append(trial)
            elif trial.started <= now:
                left_s, done = (now - trial.started).total_seconds(), {}
                for key, replicate in trial.replicates.items():
                    left_s -= replicate.wall_s
                    if left_s >= 0:
                        done[key] = replicate
                seen.append(replace(trial, replicates=done, state="running", ended=None))
        return seen


def errors(simulation: Simulation, plan: Workload, begin: float, end: float) -> list[float]:
    """Predicted over true time left, minus 1, at moments between two shares of the search."""
    found = []
    for i in range(20):
        now_s = simulation.end * (begin + (end - begin) * i / 20)
        told = forecast(simulation.at(now_s), plan, START + timedelta(seconds=now_s))
        assert told.seconds_left is not None
        found.append(told.seconds_left / (simulation.end - now_s) - 1)
    return found


@pytest.mark.parametrize(("raced", "failed"), [(0.0, 0.0), (0.6, 0.0), (0.9, 0.0), (0.5, 0.3)])
@pytest.mark.parametrize(
    "slots", [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(7, marks=pytest.mark.long)]
)
def test_the_time_left_is_what_it_then_took(raced: float, failed: float, slots: int) -> None:
    plan = replace(PLAN, slots=slots, sampled=80)
    found = [
        errors(Simulation(plan, raced, failed, seed=seed), plan, 0.5, 0.9) for seed in range(20)
    ]
    assert abs(fmean(error for run in found for error in run)) < 0.05
    # One search is judged by 16 trials, of which one took all its replicates, another half.
    assert sum(abs(fmean(run)) < 0.15 for run in found) >= 16


def test_before_anything_could_be_raced_the_time_is_that_of_whole_trials() -> None:
    plan, simulation = PLAN, Simulation(PLAN, raced=0.0)
    assert abs(fmean(errors(simulation, plan, 0.05, 0.2))) < 0.1


def test_candidates_with_longer_schedules_and_their_pictures_are_counted_as_such() -> None:
    # As in a verification: plain DIP first, on half as many iterations again.
    plan = replace(
        PLAN, sampled=0,
        candidates={f"plain {i}": 150 for i in range(4)} | {f"trial {i}": 100 for i in range(12)},
    )  # fmt: skip
    simulation = Simulation(plan)
    # The first trial is under way, and two of its replicates, of either picture, have ended.
    [early] = {round(e, 1) for e in errors(simulation, plan, 0.12, 0.13)}
    assert abs(early) <= 0.1
    assert abs(fmean(errors(simulation, plan, 0.15, 0.9))) < 0.05


def test_what_runs_is_partly_done_and_the_last_trial_leaves_a_slot_idle() -> None:
    plan = replace(PLAN, sampled=0, candidates={"a": 100, "b": 100, "c": 100})
    simulation = Simulation(plan, overhead_s=0.0)
    third = simulation.trials[2].started
    assert third is not None
    for into_s in (0.5, 2.0, 5.0):
        now = third + timedelta(seconds=into_s)
        now_s = (now - START).total_seconds()
        told = forecast(simulation.at(now_s), plan, now).seconds_left
        assert told == pytest.approx(simulation.end - now_s, abs=1.2)


def test_a_night_in_between_does_not_count() -> None:
    simulation = Simulation(PLAN, raced=0.0)
    now_s = simulation.end / 2
    told = forecast(simulation.at(now_s), PLAN, START + timedelta(seconds=now_s))
    later = replace(PLAN, since=START + timedelta(seconds=now_s, hours=9))
    resumed = forecast(simulation.at(now_s), later, START + timedelta(seconds=now_s, hours=9))
    assert told.seconds_left is not None
    assert resumed.seconds_left == pytest.approx(told.seconds_left, rel=0.1)
    assert resumed.trials_per_hour == pytest.approx(told.trials_per_hour, rel=0.05)


def test_nothing_is_foretold_before_a_replicate_has_ended_or_where_nothing_runs() -> None:
    simulation = Simulation(PLAN)
    assert forecast(simulation.at(0.1), PLAN, START + timedelta(seconds=0.1)) == Forecast()
    told = forecast(simulation.at(2.0), PLAN, START + timedelta(seconds=2.0))
    assert told.seconds_left is not None
    assert told.trials_per_hour is None
    idle = [trial for trial in simulation.at(60) if trial.state != "running"]
    assert forecast(idle, PLAN, START + timedelta(seconds=60)) == Forecast()


@pytest.mark.parametrize("hours_s", [40.0, 100.0, 103.0, 140.0])
def test_what_has_begun_when_the_hours_are_used_is_finished(hours_s: float) -> None:
    simulation = Simulation(PLAN, raced=0.0)
    begun = simulation.at(hours_s)
    last = max(t.ended for t in simulation.trials[: len(begun)] if t.ended)
    end_s, a_trial_s = (last - START).total_seconds(), 9.0
    for now_s, within_s in ((hours_s / 2, a_trial_s), ((hours_s + end_s) / 2, 2.0)):
        plan = replace(PLAN, begin_within_s=max(0.0, hours_s - now_s))
        trials = [t for t in simulation.at(now_s) if t.number < len(begun)]
        told = forecast(trials, plan, START + timedelta(seconds=now_s)).seconds_left
        assert told == pytest.approx(end_s - now_s, abs=within_s)


def test_a_million_trials_are_foretold_as_the_first_thousand_are() -> None:
    simulation = Simulation(PLAN, raced=0.0)
    now = START + timedelta(seconds=100)
    for sampled in (1050, 1_000_000):
        plan = replace(PLAN, sampled=sampled)
        told = forecast(simulation.at(100), plan, now).seconds_left
        assert told == pytest.approx(sampled * 8.1 / 2, rel=0.1)
        plan = replace(plan, begin_within_s=3600)
        told = forecast(simulation.at(100), plan, now).seconds_left
        assert told == pytest.approx(3600, abs=9)


def test_jobs_begin_in_turn_as_soon_as_a_slot_is_free() -> None:
    assert makespan_s([], 4) == 0
    assert makespan_s([3, 1, 1, 1], 2) == 3
    assert makespan_s([1, 1, 1, 3], 2) == 4
    assert makespan_s([2, 2], 9) == 2
    assert makespan_s([3, 1, 1, 1], 2, begin_within_s=1) == 3
    assert makespan_s([1, 1, 1, 3], 2, begun=3, begin_within_s=0) == 2
    assert makespan_s([1, 1, 1, 3], 2, begin_within_s=1) == 1
    assert makespan_s([1, 1, 1, 3], 2, begin_within_s=1.1) == 4
