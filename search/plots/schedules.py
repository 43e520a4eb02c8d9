"""Schedules as staircases over iterations, for several schedules on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.ticker import MaxNLocator

from dipstage.errors import InputError
from dipstage.schedules.noise import AnyNoiseLevels, added_sigma_255
from dipstage.schedules.presets import Baseline, is_preset, parse_preset
from dipstage.schedules.schedule import Schedule
from search.plots.chosen import choose, legend_labels
from search.plots.style import Plot, Style, drawing, legend_below, line_styles
from search.store.records import Trial
from search.store.run import RunRecord

Level: TypeAlias = Literal["stage", "alpha-bar", "sigma"]
LEVELS: tuple[Level, ...] = ("stage", "alpha-bar", "sigma")

_WORDS: dict[Level, str] = {
    "stage": "stage",
    "alpha-bar": r"noise level $\bar{\alpha}$",
    "sigma": r"noise added, $\sigma$ (of 255)",
}


def plot_schedules(
    run: RunRecord, which: Sequence[str | int] = (), level: Level = "stage", style: Style = "screen"
) -> Plot:
    """Draw the target of each iteration, by default for the knee and the candidates that have more
    than one stage.

    level: stage, for the index of the stage from 1, counting stages without iterations, as in the
    report; alpha-bar, for the noise level; or sigma, for the standard deviation of the noise that
    the target adds to the observation, on the scale from 0 to 255.
    """
    if level not in LEVELS:
        raise InputError(f"level must be {', '.join(LEVELS)}, got {level!r}")
    trials = choose(run, which or _multi_stage(run), lambda trial: trial.schedule is not None)
    with drawing(style, 0.62 if style == "screen" else 0.95) as figure:
        axes = figure.subplots()
        names, lines = legend_labels(run, trials), line_styles(run, trials)
        for trial, name, line in zip(trials, names, lines, strict=True):
            assert trial.schedule is not None
            values = _levels(run, trial, trial.schedule, level)
            edges = [*trial.schedule.starts, trial.schedule.iterations]
            axes.step(edges, [*values, values[-1]], where="post", label=name, **line)
        axes.set_xlabel("iterations")
        axes.set_ylabel(_WORDS[level])
        axes.set_xlim(left=0)
        if level == "stage":
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, axes, columns=2 if style == "paper" else 3)
        figure.explain(f"{run.name}: schedules", f"{level} of each iteration")
    return figure


def _multi_stage(run: RunRecord) -> list[int]:
    """Return the trials among the knee and the candidates with several stages; if none, all are
    drawn.
    """
    trials = choose(run, (), lambda trial: trial.schedule is not None)
    return [t.number for t in trials if t.schedule and not t.is_plain]


def _levels(run: RunRecord, trial: Trial, schedule: Schedule, level: Level) -> list[float]:
    levels = [stage.alpha_bar for stage in schedule.stages]
    if level == "alpha-bar":
        return levels
    if level == "sigma":
        return [added_sigma_255(schedule.recipe.target, alpha_bar) for alpha_bar in levels]
    return [float(index) for index in stage_indices(run, trial, schedule)]


def stage_indices(run: RunRecord, trial: Trial, schedule: Schedule) -> list[int]:
    """Return the index of each stage, from 1, among all stages of the family or preset.

    A schedule omits stages without iterations. If its family or preset is not known, as for a
    schedule from a file, only its own stages are counted.
    """
    whole = _origin(run, trial)
    if whole is None:
        return list(range(1, len(schedule.stages) + 1))
    noise, noised = whole
    levels = [*noise.alpha_bars(noised), 1.0]
    own = [stage.alpha_bar for stage in schedule.stages]
    return [1 + int(np.argmin(np.abs(np.subtract(levels, alpha_bar)))) for alpha_bar in own]


def _origin(run: RunRecord, trial: Trial) -> tuple[AnyNoiseLevels, int] | None:
    """Return the noise levels and the number of noised stages that a schedule was made from."""
    if trial.candidate is None:
        point = run.point(trial)
        family = point.family if point else None
        return (family.noise, family.stages - 1) if family and family.noise else None
    if not is_preset(trial.candidate):
        return None
    preset = parse_preset(trial.candidate)
    if isinstance(preset, Baseline) or not trial.schedule:
        return None
    if trial.schedule.stages != preset.schedule(trial.schedule.iterations).stages:
        return None  # A schedule file can have the name of a preset.
    return preset.noise, preset.stages - 1
