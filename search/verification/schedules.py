"""Schedules that a verification trains: references, claims, candidates and controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dipstage.schedules.controls import contrast_alone, in_reverse, shuffled
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from search.experiment.candidate import Candidate
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.declared import Plan
from search.verification.references import chosen_references, recipe_words, tuned_name

USUAL_RATE = 0.01
"""Learning rate of the official recipe; plain DIP at this rate is always a reference."""


def plain_candidates(recipes: list[Recipe], iterations: int) -> list[Candidate]:
    """Return plain DIP with each of the recipes that it is tuned over."""
    return [Candidate(tuned_name(recipe), Schedule.plain(iterations, recipe)) for recipe in recipes]


def held_out_candidates(run: RunRecord, plan: Plan, tuned: list[Trial]) -> list[Candidate]:
    """Return the references, the claimed schedules, the search's candidates, and the controls.

    All get plain DIP's budget by a longer last stage: a schedule whose budget ends before its
    maximum would look fast. A training that is there already is not listed again.

    Args:
        run: The search.
        plan: A plan with declared claims.
        tuned: Complete trials of plain DIP's tuning.
    """
    assert plan.declared is not None
    budget, trainer = plan.baseline_iterations, run.experiment.trainer
    trials = {trial.number: trial for trial in run.records()}
    claimed = [_extended(trials[claim.trial], plan, trainer) for claim in plan.declared.claims]
    wanted = [*_references(tuned, run, plan)]
    for each in claimed:
        wanted += references_of_claim(each)
    wanted += claimed
    for trial in trials.values():
        if trial.candidate and trial.values is not None and trial.number not in plan.trials:
            wanted.append(replace(_extended(trial, plan, trainer), role="candidate"))
    if plan.declared.controls:
        for each in claimed:
            wanted += controls_of(each)
    return list(_distinct(replace(c, schedule=c.schedule.extended(budget)) for c in wanted))


def _extended(trial: Trial, plan: Plan, trainer: TrainerSettings) -> Candidate:
    """Return a trial with all values of its recipe, under its own name."""
    assert trial.schedule is not None
    schedule = trial.schedule.extended(plan.baseline_iterations)
    recipe = schedule.recipe.completed(trainer)
    return Candidate(trial.name, replace(schedule, recipe=recipe), role="found",
                     trial=trial.number)  # fmt: skip


def _references(tuned: list[Trial], run: RunRecord, plan: Plan) -> Iterator[Candidate]:
    """Yield the references of every claim: tuned plain DIP, and plain DIP at the usual rate."""
    assert plan.declared is not None
    highest, fastest = chosen_references(tuned)
    both = "highest PSNR and fastest" if highest is fastest else "highest PSNR"
    usual = Recipe(learning_rate=USUAL_RATE).completed(run.experiment.trainer)
    for words, trial in ((both, highest), ("fastest", fastest)):
        assert trial.schedule is not None
        recipe = trial.schedule.recipe
        yield _plain(f"plain DIP, {words} ({recipe_words(recipe)})", recipe, plan)
    yield _plain(f"plain DIP, rate {USUAL_RATE:g}", usual, plan)


def _plain(name: str, recipe: Recipe, plan: Plan) -> Candidate:
    return Candidate(name, Schedule.plain(plan.baseline_iterations, recipe), role="plain")


def references_of_claim(claimed: Candidate) -> list[Candidate]:
    """Return plain DIP with the recipe of a claimed schedule, and its average begun as late.

    Only staged runs restart their average at a switch of stages, so plain DIP gets an average that
    begins at the schedule's last switch as well.
    """
    schedule = claimed.schedule
    own = replace(schedule.recipe, target="ddpm", draw="fixed", ramp_learning_rate=None)
    late = replace(own, average_from=schedule.ramp)
    return [
        Candidate(name, Schedule.plain(schedule.iterations, recipe), role="plain",
                  trial=claimed.trial)
        for name, recipe in (
            (f"plain DIP as {claimed.name}", own),
            (f"plain DIP as {claimed.name}, averaged from {schedule.ramp}", late),
        )
    ]  # fmt: skip


def controls_of(claimed: Candidate) -> list[Candidate]:
    """Return the schedule with its staging broken: reversed, shuffled, and contrast alone.

    Schedules with a single noised stage have no order to break.
    """
    schedule, name = claimed.schedule, claimed.name
    broken = {f"{name} reversed": in_reverse(schedule)}
    generator = np.random.default_rng(claimed.trial)
    for _ in range(20):
        drawn = shuffled(schedule, generator)
        if drawn not in (schedule, in_reverse(schedule)):
            broken[f"{name} shuffled"] = drawn
            break
    broken[f"{name} contrast alone"] = contrast_alone(schedule)
    return [
        Candidate(key, each, role="control", trial=claimed.trial)
        for key, each in broken.items()
        if each != schedule
    ]


def lacking(control: str, name: str) -> str:
    """Return what a training lacks that a schedule has, in words.

    If the training is not worse than the schedule, the gain of the schedule is not due to this.

    Args:
        control: Name of one of the schedule's controls or references.
        name: Name of the schedule.
    """
    kind = control.removeprefix(f"{name} ")
    if kind in ("reversed", "shuffled"):
        return "the order of the stages"
    return "the added noise" if kind == "contrast alone" else "the stages"


def _distinct(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """Yield each training once. A reference of two claims becomes a reference of all."""
    kept: dict[Schedule, Candidate] = {}
    for each in candidates:
        known = kept.setdefault(each.schedule, each)
        if known.role == each.role == "plain" and known.trial != each.trial:
            kept[each.schedule] = replace(known, trial=None)
    yield from kept.values()
