"""Comparison of searches: hypervolume over trials and hours, attainment over repetitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.errors import InputError
from dipstage.tasks.registry import by_content
from search.analysis import pareto
from search.experiment.objectives import Objective, Score
from search.store.folders import is_remote
from search.store.records import Trial, finite
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.experiment.model import Experiment

QUARTILES = (0.25, 0.5, 0.75)


def reference_point(experiment: Experiment) -> Score:
    """Return the reference point of the hypervolume, the same for every search of one task.

    Its PSNR is that of the observation itself, 20 log10(255 / sigma_255) dB without clipping, and
    0 dB for other tasks than denoising. Its steps are the whole budget: it stands for doing nothing
    and taking all the time for it.
    """
    sigma = experiment.task.noise_255 if experiment.task.kind == "denoise" else 0.0
    psnr = 20 * math.log10(255 / sigma) if sigma > 0 else 0.0
    return Score(psnr, float(experiment.trainer.iterations))


def hypervolume_unit(objective: Objective) -> str:
    """Return the unit of the hypervolume: that of the first objective if it is the only one."""
    quality = objective.quality.unit or objective.quality.words
    return quality if objective.single else f"{quality} · {objective.cost.unit}".rstrip(" ·")


def _reference_of(run: RunRecord, trials: Sequence[Trial]) -> Score:
    """Return the reference point of a run: other objectives begin at the worst of its trials."""
    objective, reference = run.objective, reference_point(run.experiment)
    scores = [trial.score for trial in finite(trials)]
    worst = reference.max_psnr_gt_db
    if objective.metric != "psnr":
        worst = min((score.max_psnr_gt_db for score in scores), default=0.0)
    if objective.single:
        return Score(worst, 1.0)
    if objective.cost.unit == "iterations":
        return Score(worst, reference.steps_to_max)
    return Score(worst, max((score.steps_to_max for score in scores), default=0.0))


@dataclass(frozen=True, slots=True)
class Moment:
    """State of a search after some of its trials.

    Training hours are summed over all workers. Wall time would depend on interruptions and on the
    number of workers, which say nothing about the search.
    """

    trials: int
    training_hours: float
    hypervolume: float


def history(run: RunRecord) -> list[Moment]:
    """Return one moment for each ended trial, in order of their ends; raced trials count."""
    ended = [t for t in run.records() if t.state != "running" and t.ended is not None]
    reference = _reference_of(run, ended)
    moments: list[Moment] = []
    members: list[Score] = []
    seconds = 0.0
    for trial in sorted(ended, key=lambda t: (str(t.ended), t.number)):
        seconds += trial.wall_s
        if trial.values is not None and trial.feasible:
            scores = [*members, trial.score]
            members = [scores[i] for i in pareto.front(scores)]
        area = pareto.hypervolume(members, reference)
        moments.append(Moment(len(moments) + 1, seconds / 3600, area))
    return moments


def after_trials(moments: Sequence[Moment], trials: int) -> float:
    """Return the hypervolume after a number of trials; 0 before the first."""
    return max((m.hypervolume for m in moments if m.trials <= trials), default=0.0)


def after_hours(moments: Sequence[Moment], training_hours: float) -> float:
    """Return the hypervolume after some hours of training; 0 before the first trial ended."""
    held = [m.hypervolume for m in moments if m.training_hours <= training_hours * (1 + 1e-12)]
    return max(held, default=0.0)


def attained_within(scores: Sequence[Score], steps: float) -> float:
    """Return the highest max_psnr_gt_db within so many steps; -inf if no score is within them."""
    return max((s.max_psnr_gt_db for s in scores if s.steps_to_max <= steps), default=-math.inf)


def attained_by_share(values: Sequence[float], share: float) -> float:
    """Return the value that at least this share of repeated searches reached.

    This is the empirical attainment function (Grunert da Fonseca et al. 2001).

    values: one for each search.
    """
    needed = max(1, math.ceil(share * len(values) - 1e-9))
    return sorted(values, reverse=True)[needed - 1]


def repetitions(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Group runs that differ only in name, sampler seed, resources, logging and paths of files."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(str(_but_seed(run)), []).append(run)
    return list(groups.values())


def _but_seed(run: RunRecord) -> dict[str, Any]:
    """Return what repetitions of a search share. Files are in it by their content.

    A study of an early version may lack a content; its entries in the experiment stand in.
    """
    attributes, content = run.attributes, run.experiment.model_dump(mode="json")
    for key in ("name", "resources", "logging"):
        del content[key]
    content["images"] = sorted(attributes.pictures.values()) or content["images"]
    content["task"] = by_content(run.experiment.task, attributes.files)
    # Their origin is in words, which another version may choose differently.
    candidates = [replace(each, origin=None).to_plain() for each in attributes.candidates]
    content["candidates"] = candidates or content["candidates"]
    search = content["search"] = {**content["search"], "seed": None, "trials": run.trials_wanted}
    learned = [(each.pictures, each.seeds, each.points) for each in attributes.learned]
    search["learn_from"] = learned or search["learn_from"]
    return content


def _place(run: RunRecord) -> str:
    """Return a run's folder by the one name that it has, whatever it was opened by."""
    return str(run.folder if is_remote(run.folder) else run.folder.resolve())


def labels_of(runs: Sequence[RunRecord]) -> dict[Path, str]:
    """Return the label of each run by its folder: its name, or its path if names are equal."""
    names = Counter({run.folder: run.name for run in runs}.values())
    return {run.folder: str(run.folder) if names[run.name] > 1 else run.name for run in runs}


def check_comparable(runs: Sequence[RunRecord]) -> None:
    """Raise InputError, naming what differs, unless all runs search for the same task."""
    if len({_place(run) for run in runs}) < max(2, len(runs)):
        raise InputError("name at least two runs, each once")
    first, labels = runs[0], labels_of(runs)
    objective = first.objective
    if objective.single or not objective.has_reference:
        raise InputError(
            f"run {first.name!r} has no hypervolume in dB · iterations to compare: its objective "
            f"is {objective.metric} against {objective.against}"
        )
    for other in runs[1:]:
        for key, ours in _task(first).items():
            theirs = _task(other)[key]
            if ours != theirs:
                raise InputError(
                    f"runs {labels[first.folder]!r} and {labels[other.folder]!r} cannot be "
                    f"compared: {key} is {ours} in one and {theirs} in the other"
                )


def _task(run: RunRecord) -> dict[str, Any]:
    """Return the settings that two searches must share for their fronts to be comparable."""
    experiment = run.experiment
    return {
        # Listed before the pictures: another size changes their digests, too.
        "size": experiment.size,
        "task": by_content(experiment.task, run.attributes.files),
        "pictures": sorted(
            f"{label} ({digest[:8]})" for label, digest in run.attributes.pictures.items()
        ),
        "seeds": experiment.seeds,
        **{f"objective.{key}": value for key, value in asdict(run.objective).items()},
        **{f"trainer.{key}": value for key, value in asdict(experiment.trainer).items()},
    }
