"""Data of the report's charts, as plain data for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dipstage.schedules.stopping import Output
from dipstage.terminal.numbers import db, fixed
from dipstage.terminal.palette import THEMES
from search.analysis.comparison import history, hypervolume_unit, reference_point
from search.analysis.importance import importance_of
from search.experiment.objectives import Objective
from search.plots.spread import Spread, spread_of
from search.presentation.front import Cells, front_rows, front_words
from search.presentation.words import capital, raced_words, some
from search.report.curves import Curves, gather
from search.store.records import Trial, plain_of
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.report.advice import Advice
    from search.verification.result import Verification

MAX_STAGES = 100
"""Maximum number of drawn stages; longer schedules are sampled evenly."""


@dataclass(frozen=True)
class Gathered:
    """Data of the charts.

    Args:
        content: Plain data for JSON.
        notes: Remarks on the data.
        missing: Names of the trials whose curves cannot be read.
        text: Alternative text of each chart by its name.
    """

    content: dict[str, Any]
    notes: list[str]
    missing: list[str]
    text: dict[str, str]


def gather_data(
    run: RunRecord, records: list[Trial], advice: Advice, verification: Verification | None
) -> Gathered:
    """Return all data except the pictures."""
    plain = plain_of(records)
    curves, decided = gather(run, records), importance_of(run)
    moments = history(run)
    objective = run.objective
    rows = front_rows(records, objective)
    members = [row.trial for row in rows if row.on_front]
    knee = next((row.trial for row in rows if row.is_knee), None)
    relations = {row.trial.number: row.relation for row in rows}
    keys = (objective.quality.key, objective.cost.key)
    spread = spread_of(run, objective.output, "paired", keys)
    content = {
        "run": run.name,
        "colours": list(THEMES["light"]),
        "output": objective.output,
        "steps_key": objective.cost.key,
        "steps_words": objective.cost.words,
        "steps_label": objective.cost.label,
        "beside_label": objective.beside.label,
        "quality_key": objective.quality.key,
        "quality_words": objective.quality.words,
        "quality_label": objective.quality.label,
        "quality_unit": objective.quality.unit,
        "budget": run.experiment.trainer.iterations,
        "replicates": len(run.attributes.pictures) * len(run.experiment.seeds),
        "chosen": advice.number,
        "plain": plain.number if plain else None,
        "knee": knee.number if knee else None,
        "bars": spread.words,
        "front": [trial.number for trial in members],
        "member_words": "the best" if objective.single else "on the front",
        "other_words": "behind" if objective.single else "dominated",
        "trials": [
            _trial(trial, run, relations, curves, verification, spread) for trial in records
        ],
        "params": _params(run, records),
        "envelope": curves.envelope,
        "history": {
            "trials": [moment.trials for moment in moments],
            "hours": [_rounded(moment.training_hours, 5) for moment in moments],
            "name": f"gain in {objective.quality.words}" if objective.single else "hypervolume",
            "unit": hypervolume_unit(objective),
            "hypervolume": [_rounded(moment.hypervolume, 4) for moment in moments],
        },
        "importance": {"values": decided.values, "note": decided.note},
    }
    notes = []
    if curves.missing:
        names = some(curves.missing)
        notes.append(f"The curves of {names} are not in the run's folder or cannot be read.")
    return Gathered(content, notes, curves.missing, _texts(run, members, content))


def _trial(
    trial: Trial, run: RunRecord, relations: dict[int, str], curves: Curves,
    verification: Verification | None, spread: Spread,
) -> dict[str, Any]:  # fmt: skip
    objective = run.objective
    values = trial.values or trial.estimate
    cells: dict[str, Any] = {
        "n": trial.number,
        "name": trial.name,
        "state": trial.state,
        "candidate": trial.candidate is not None,
        "psnr": _rounded(values[0], objective.quality.digits + 1) if values else None,
        "steps": _rounded(values[1], objective.cost.digits + 1) if values else None,
        "replicates": len(trial.replicates),
        "stages": _staircase(trial),
        "switches": list(trial.schedule.starts[1:])[:MAX_STAGES] if trial.schedule else [],
        "count": len(trial.schedule.stages) if trial.schedule else None,
        "ramp": trial.schedule.ramp if trial.schedule else None,
        "learning_rate": trial.learning_rate,
        "params": {k: _rounded(v, 5) for k, v in trial.params.items() if not _is_weight(k)},
        "weights": sum(map(_is_weight, trial.params)),
        "wall_s": _rounded(trial.wall_s, 1),
        "failure": trial.failure,
        "infeasible": trial.infeasible_words or None,
        "curve": curves.by_trial.get(trial.number),
        "verdict": _verdict(trial, verification),
        "words": _words(trial, objective),
    }
    if trial.number in relations:
        cells["relation"] = relations[trial.number]
    if trial.replicates:
        cells |= _measures(trial, objective)
        for bar, key in (("psnr_bar", objective.quality.key), ("steps_bar", objective.cost.key)):
            cells[bar] = _rounded(spread.of(trial, objective.output, key), 3)
    return cells


def _measures(trial: Trial, objective: Objective) -> dict[str, Any]:
    """Return means and spreads over the finished replicates, and the maximum of each."""
    output, quality, cost = objective.output, objective.quality, objective.cost
    psnr, steps = trial.measure(output, quality.key), trial.measure(output, cost.key)
    beside = objective.beside
    other = trial.measure("smoothed" if output == "raw" else "raw", "max_psnr_gt_db")
    return {
        "psnr_mean": _rounded(psnr.mean, quality.digits + 1),
        "steps_mean": _rounded(steps.mean, cost.digits + 1),
        "beside": _rounded(trial.measure(output, beside.key).mean, beside.digits + 1),
        "other_psnr": _rounded(other.mean, 3),
        "maxima": [
            [scores.steps_to_max, _rounded(scores.max_psnr_gt_db, 3)]
            for replicate in list(trial.replicates.values())[:MAX_STAGES]
            for scores in (replicate.scores(output),)
        ],
    }


def _words(trial: Trial, objective: Objective) -> dict[str, str]:
    """Return the numbers that the page shows as text, rounded as everywhere."""
    cells = Cells.of(trial, objective)
    other: Output = "smoothed" if objective.output == "raw" else "raw"
    score, has_scores = "", trial.values or trial.estimate
    if has_scores:
        score = objective.at(has_scores, bool(trial.censored(objective.output)))
    found = {"psnr": cells.psnr_db, "steps": cells.steps, "wall_s": fixed(trial.wall_s, 0)}
    found["score"] = "~ " * (trial.estimate is not None) + score
    if trial.raced:
        found["raced"] = raced_words(trial.raced)
    if trial.replicates:
        beside = objective.beside
        found["beside"] = beside.text(trial.measure(objective.output, beside.key).mean)
        found["other"] = db(trial.measure(other, "max_psnr_gt_db").mean)
    return found


def _verdict(trial: Trial, verification: Verification | None) -> str | None:
    verdict = verification.verdict(trial.number) if verification else None
    return str(verdict) if verdict else None


def _staircase(trial: Trial) -> list[list[float]]:
    """Return each stage's first iteration and alpha_bar."""
    if trial.schedule is None:
        return []
    steps = [
        [start, _rounded(stage.alpha_bar, 4)]
        for start, stage in zip(trial.schedule.starts, trial.schedule.stages, strict=True)
    ]
    if len(steps) <= MAX_STAGES:
        return steps
    places = [round(i * (len(steps) - 1) / (MAX_STAGES - 1)) for i in range(MAX_STAGES)]
    return [steps[i] for i in places]


def _is_weight(name: str) -> bool:
    """Return whether a parameter is one of the weights of a free split, which may be many."""
    return name.startswith("weight_")


def _params(run: RunRecord, records: list[Trial]) -> list[dict[str, Any]]:
    """Return the sampled parameters in the study's order, without the weights of free splits."""
    distributions: dict[str, Any] = {}
    for trial in run.study.get_trials(deepcopy=False):
        for name, distribution in trial.distributions.items():
            if not _is_weight(name):
                distributions.setdefault(name, distribution)
    return [
        {
            "name": name,
            "low": getattr(distribution, "low", None),
            "high": getattr(distribution, "high", None),
            "log": bool(getattr(distribution, "log", False)),
            "choices": [str(c) for c in getattr(distribution, "choices", ())] or None,
        }
        for name, distribution in distributions.items()
    ]


def _texts(run: RunRecord, members: list[Trial], content: dict[str, Any]) -> dict[str, str]:
    """Return the alternative text of each chart."""
    objective = run.objective
    if members:
        ends = [
            objective.at(trial.values, bool(trial.censored(objective.output)))
            for trial in (members[0], members[-1])
            if trial.values is not None
        ]
        unit = " iterations" if objective.cost.unit == "iterations" else ""
        words = f"{ends[0]}{unit} ({members[0].name})"
        if len(members) > 1 and not objective.single:
            words = f"from {words} to {ends[1]} ({members[-1].name})"
        count = "" if objective.single else f" of {len(members)}"
        front = f"{capital(front_words(objective))}{count}: {words}."
    else:
        front = f"No trial is complete and feasible, so there is no {front_words(objective)} yet."
    return {
        "front": f"{front} {capital(objective.quality.words)} over {objective.cost.words}, "
        f"{objective.output} output; the table of all trials holds the same numbers.",
        "history": f"{_growth(content['history'], objective)} {_growing(run)}",
    }


def _growth(progress: dict[str, Any], objective: Objective) -> str:
    """Return how far the search has come, in words."""
    areas = progress["hypervolume"]
    if not areas:
        return "No trial has ended."
    unit = objective.quality.unit if objective.single else progress["unit"]
    reached = f"{_three_digits(areas[-1])} {unit}".rstrip()
    return f"{capital(progress['name'])} grew to {reached} in {len(areas)} trials."


def _growing(run: RunRecord) -> str:
    """Explain what grows in a search: the hypervolume, or with one objective the gain."""
    objective = run.objective
    if not objective.single:
        axes = f"{objective.quality.words} and {objective.cost.words}"
        return f"The hypervolume is the area that the front dominates, between {axes}."
    origin = "that of the worst trial"
    if objective.metric == "psnr":
        origin = f"{db(reference_point(run.experiment).max_psnr_gt_db)} dB"
    return f"The gain is that of the best trial over {origin}."


def _three_digits(value: float) -> str:
    """Return a number that is not negative with three significant digits, or whole with more."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{max(0, digits)}f}"


def _rounded(value: Any, digits: int) -> Any:
    """Round a float, or return None if it is not finite; return other values unchanged."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return (
        round(value, digits) if abs(value) >= 10**-digits or value == 0 else float(f"{value:.3g}")
    )
