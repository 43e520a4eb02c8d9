"""Which schedules a verification trains: plain DIP, what was found, the candidates, controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dipstage.controls import in_reverse, max_level_alone, shuffled
from dipstage.recipe import Recipe
from dipstage.schedules import Schedule
from search.experiment.candidate import Candidate, Role
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.plan import Plan


def _plain(learning_rate: float, iterations: int) -> Candidate:
    return Candidate(
        f"plain DIP, learning rate {learning_rate}",
        Schedule.plain(iterations, Recipe(learning_rate=learning_rate)),
    )


def plain_candidates(plan: Plan) -> list[Candidate]:
    """Plain DIP at each learning rate that it is tuned among."""
    return [_plain(rate, plan.baseline_iterations) for rate in plan.learning_rates]


def held_out_candidates(run: RunRecord, plan: Plan, tuned: Trial) -> list[Candidate]:
    """Plain DIP first, then what was found, the search's own candidates, and the controls.

    All get plain DIP's budget, the last stage made longer: a schedule whose budget ends before
    its maximum would look fast. Plain DIP is there twice, at the tuned learning rate and at the
    experiment's, unless they are the same or a candidate is the second.
    """
    assert tuned.learning_rate is not None
    budget = plan.baseline_iterations
    trials = {trial.number: trial for trial in run.records()}
    chosen = [trials[number] for number in plan.trials]
    chosen += [trial for trial in trials.values() if trial.candidate and trial.values is not None]
    plain = replace(_plain(tuned.learning_rate, budget), role="plain")
    entries = [plain]
    for trial in chosen:
        assert trial.schedule is not None
        role: Role = "candidate" if trial.candidate else "found"
        schedule = trial.schedule.extended(budget)
        entry = Candidate(trial.name, schedule, role=role, trial=trial.number)
        if not _same_training(entry, plain):
            entries.append(entry)
    usual = replace(_plain(run.experiment.trainer.learning_rate, budget), role="plain")
    if not any(_same_training(usual, entry) for entry in entries):
        entries.insert(1, usual)
    if plan.controls is not None:
        for control in controls_of(trials[plan.controls], budget):
            if not any(_same_training(control, entry) for entry in entries):
                entries.append(control)
    return entries


def _same_training(one: Candidate, other: Candidate) -> bool:
    """Whether two would give the same bytes."""
    return (one.schedule, one.warmup) == (other.schedule, other.warmup)


def controls_of(trial: Trial, budget: int) -> list[Candidate]:
    """The schedule with its staging broken, and plain DIP at its learning rate.

    Without those that are the schedule itself, or one another: a single noised stage has no order.
    """
    assert trial.schedule is not None
    schedule = trial.schedule.extended(budget)
    name = trial.name
    plain = Schedule.plain(budget, schedule.recipe)
    broken = {f"{name} reversed": in_reverse(schedule)}
    generator = np.random.default_rng(trial.number)
    for _ in range(20):
        drawn = shuffled(schedule, generator)
        if drawn not in (schedule, in_reverse(schedule)):
            broken[f"{name} shuffled"] = drawn
            break
    broken[f"{name} max level alone"] = max_level_alone(schedule)
    kept = {key: each for key, each in broken.items() if each != schedule}
    return [
        *(Candidate(key, each, role="control", trial=trial.number) for key, each in kept.items()),
        Candidate(f"plain at the rate of {name}", plain, role="control", trial=trial.number),
        Candidate(
            f"plain warmed up as {name}",
            plain,
            warmup=schedule.ramp,
            role="control",
            trial=trial.number,
        ),
    ]
