"""Plain DIP as the reference: which recipes are tried, and which of them are chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.stopping import Output

if TYPE_CHECKING:
    from search.experiment.model import Experiment
    from search.store.records import Trial

LEARNING_RATES = (0.02, 0.01, 0.005, 0.003, 0.002)
INPUT_NOISE = (0.5, 1.0, 2.0)
"""Tried input noise, as a multiple of the trainer's."""
EMAS = (0.98, 0.99, 0.995)
AVERAGE_FROM = (0.1, 0.25, 0.5)
"""Tried starts of the moving average, as shares of the budget, beside no later start."""
NEAREST = 1.05
"""Values between two others are tried only if the ratio of these two is above this."""
NEAR_DB = 0.1
"""The fastest reference is chosen among those that are this near the highest PSNR_GT."""
TUNED = ("learning_rate", "input_noise_std", "ema", "average_from")


def plain_recipes(
    experiment: Experiment, output: Output, rates: Sequence[float], wanted: int
) -> list[Recipe]:
    """Return the recipes of plain DIP that are tried.

    They are combinations of learning rates, input noise and, for the smoothed output, weights and
    starts of the moving average. The trainer's own settings at each learning rate come first; the
    others are drawn without replacement, with the search's seed. If these are fewer than wanted,
    combinations with values between the learning rates and between the levels of noise follow.

    Args:
        experiment: The search. Its seed, settings and budget are used.
        output: The output that is judged.
        rates: Learning rates, at least one.
        wanted: Number of recipes; at least one for each rate are returned, and fewer than wanted
            only if there are no more that differ enough.
    """
    trainer = experiment.trainer
    generator = np.random.default_rng(experiment.search.seed)
    found = dict.fromkeys(Recipe(learning_rate=rate).completed(trainer) for rate in rates)
    levels = _levels(experiment, output, rates)
    while True:
        others = [
            recipe
            for values in product(*levels.values())
            if (recipe := Recipe(**dict(zip(levels, values, strict=True))).completed(trainer))
            not in found
        ]
        found |= dict.fromkeys(others[i] for i in generator.permutation(len(others)))
        finer = _with_means(levels)
        if len(found) >= wanted or finer == levels:
            return list(found)[: max(wanted, len(rates))]
        levels = finer


def _levels(experiment: Experiment, output: Output, rates: Sequence[float]) -> dict[str, list[Any]]:
    """Return the values of each setting that are combined first."""
    trainer = experiment.trainer
    levels: dict[str, list[Any]] = {
        "learning_rate": list(rates),
        "input_noise_std": sorted({share * trainer.input_noise_std for share in INPUT_NOISE}),
    }
    if output == "smoothed":
        starts = {round(share * trainer.iterations) for share in AVERAGE_FROM}
        levels["ema"] = sorted({*EMAS, trainer.ema})
        levels["average_from"] = [None, *sorted(starts - {0})]
    return levels


def _with_means(levels: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the values with geometric means between learning rates and levels of input noise."""
    return {
        **levels,
        **{name: _between(levels[name]) for name in ("learning_rate", "input_noise_std")},
    }


def _between(values: list[float]) -> list[float]:
    """Return values with the geometric mean of neighbours between them, unless they are near."""
    ordered = sorted(values)
    means = (math.sqrt(a) * math.sqrt(b) for a, b in pairwise(ordered) if b > NEAREST * a)
    return sorted({*ordered, *(float(f"{mean:.3g}") for mean in means)})


def recipe_words(recipe: Recipe) -> str:
    """Return the tuned values of a recipe in words."""
    words = [f"rate {recipe.learning_rate:g}", f"input noise {recipe.input_noise_std:.3g}"]
    if recipe.ema is not None:
        words.append(f"ema {recipe.ema:g}")
    if recipe.average_from:
        words.append(f"averaged from {recipe.average_from}")
    return ", ".join(words)


def tuned_name(recipe: Recipe) -> str:
    """Return the name of plain DIP with one of the recipes that it is tuned over."""
    return f"plain DIP, {recipe_words(recipe)}"


def chosen_references(trials: Sequence[Trial]) -> tuple[Trial, Trial]:
    """Return plain DIP of the highest mean PSNR_GT, and the fastest within 0.1 dB of it.

    trials: Complete trials of plain DIP, at least one. Their scores are in the judged output.
    """
    highest = max(trials, key=lambda trial: trial.score.max_psnr_gt_db)
    least = highest.score.max_psnr_gt_db - NEAR_DB
    near = [trial for trial in trials if trial.score.max_psnr_gt_db >= least]
    return highest, min(near, key=lambda t: (t.score.steps_to_max, -t.score.max_psnr_gt_db))


def beyond_edges(chosen: Recipe, tried: Sequence[Recipe], budget: int) -> list[Recipe]:
    """Return recipes one step beyond each end of the tried values at which the chosen one lies.

    Values of which only one was tried are left out, and so are ends that cannot be exceeded:
    no input noise, no average, and one that starts at once or at the end of the budget.
    """
    found = []
    for name in TUNED:
        levels = sorted({getattr(recipe, name) or 0 for recipe in tried})
        value = getattr(chosen, name) or 0
        if len(levels) < 2 or value not in (levels[0], levels[-1]) or value == 0:
            continue
        neighbour = levels[1] if value == levels[0] else levels[-2]
        following = _beyond(name, value, neighbour)
        if name != "average_from" or 0 < following < budget:
            moved: dict[str, Any] = {name: following}
            found.append(replace(chosen, **moved))
    return [recipe for recipe in found if recipe not in tried]


def _beyond(name: str, value: float, neighbour: float) -> float:
    """Continue the spacing of the tried values: that of 1 - ema, or the ratio of others."""
    if name == "average_from":
        return round(2 * value - neighbour)
    if name == "ema":
        return max(0.0, 1 - (1 - value) ** 2 / (1 - neighbour))
    if neighbour == 0:
        return 2 * value
    further = value**2 / neighbour
    return min(further, 1.0) if name == "learning_rate" else further


def trials_wanted(schedules: int, rates: int) -> int:
    """Return how many recipes are tried at least: a quarter of the schedules, and every rate."""
    return max(rates, math.ceil(schedules / 4))
