"""Trials of earlier searches that a sampler learns from, as differences to plain DIP.

Everything is copied into the new study, so that it goes on alike if the earlier runs are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dipstage.errors import InputError
from dipstage.tasks.registry import by_content, file_digests
from search.execution.sampler import placed
from search.experiment.candidate import Candidate
from search.experiment.model import Experiment
from search.experiment.space import FORMER
from search.store.attributes import Learned
from search.store.records import finite, plain_of
from search.store.run import RunRecord


def learn(
    experiment: Experiment, candidates: Sequence[Candidate], runs_dir: Path, storage: str | None
) -> list[Learned]:
    """Return the trials of the runs that `search.learn_from` names.

    Args:
        experiment: The experiment of the new run.
        candidates: Its candidates, which must include plain DIP.
        runs_dir: Folder of runs.
        storage: Address of a database, for runs without a study in their folder; None means the
            one in the environment.

    Raises:
        InputError: If a run does not exist, searched for something else or in another space, or if
            plain DIP is missing in one of the runs.
    """
    found: list[Learned] = []
    for entry in experiment.search.learn_from:
        if not any(candidate.schedule.is_plain for candidate in candidates):
            raise InputError(
                "search.learn_from needs plain DIP, which scores are compared with: add baseline "
                "to candidates"
            )
        try:
            run = RunRecord.open(entry, runs_dir, storage)
            _refuse_other(experiment, run)
            points = _points(experiment, run)
        except InputError as error:
            raise InputError(f"search.learn_from: {error}") from None
        # What that run learned from is not used again, but its pictures and seeds were seen.
        for each in run.attributes.learned:
            if _seen(each) not in map(_seen, found):
                found.append(replace(each, points=()))
        own = run.experiment
        pictures = sorted(run.attributes.pictures.values())
        learned = Learned(run.name, own.images, pictures, own.seeds, points)
        same = (i for i, e in enumerate(found) if not e.points and _seen(e) == _seen(learned))
        place = next(same, len(found))
        found[place : place + 1] = [learned]
    return found


def _seen(learned: Learned) -> tuple[str, list[str], list[int]]:
    """Return what tells runs apart whose pictures and seeds were seen: their names may be equal."""
    return learned.run, list(learned.pictures), list(learned.seeds)


def _refuse_other(experiment: Experiment, run: RunRecord) -> None:
    """Raise InputError unless a run searched for the same, in a space of the same parameters."""
    other = run.experiment
    ours = {
        "task": by_content(experiment.task, file_digests(experiment.task)),
        "objective": asdict(experiment.objective),
    }
    theirs = {
        "task": by_content(other.task, run.attributes.files),
        "objective": asdict(run.objective),
    }
    for key, group in ours.items():
        for name in {**group, **theirs[key]}:
            there, here = theirs[key].get(name), group.get(name)
            if there != here:
                raise InputError(
                    f"{key}.{name} of {run.name!r} is {_word(there)}, and here {_word(here)}: "
                    "leave that run out, or search for the same"
                )
    mine, its = (
        _searched(each.model_dump(mode="json")["space"], "space") for each in (experiment, other)
    )
    differing = [key for key in {**mine, **its} if mine.get(key) != its.get(key)]
    if differing:
        key = differing[0]
        raise InputError(
            f"the space of {run.name!r} has other parameters than this one: "
            f"{', '.join(differing)} ({key}: {_word(its.get(key))} there, {_word(mine.get(key))} "
            "here)"
        )


_SEARCHED = ["searched"]
"""Stands for a parameter with more than one possible value."""


def _searched(value: Any, name: str) -> dict[str, Any]:
    """Return the fixed value of each parameter by key; `_SEARCHED` if it has several values.

    value: A space, or a part of it, as plain data.
    """
    if isinstance(value, dict) and "low" in value:
        return {name: value["low"] if value["low"] == value["high"] else _SEARCHED}
    if isinstance(value, dict):
        inner = [_searched(each, f"{name}.{key}") for key, each in value.items()]
        return {key: each for group in inner for key, each in group.items()}
    if isinstance(value, list):
        return {name: value[0] if len(value) == 1 else _SEARCHED}
    return {} if value is None else {name: value}


def _word(value: Any) -> str:
    return "searched" if value is _SEARCHED else "absent" if value is None else str(value)


_NAMES = {former: name for name, former in FORMER.items()}


def _points(experiment: Experiment, run: RunRecord) -> list[list[Any]]:
    """Return the sampled trials that lie in the space, as `Learned.points`."""
    records = run.records()
    plain = plain_of(finite(records))
    if plain is None:
        raise InputError(
            f"run {run.name!r} has no complete plain DIP of finite scores among its candidates"
        )
    points: list[list[Any]] = []
    outside = 0
    for trial in records:
        values = trial.values or trial.estimate
        if trial.candidate is not None or values is None:
            continue
        params = {_NAMES.get(name, name): value for name, value in trial.params.items()}
        if placed(params, experiment) is None:
            outside += 1
            continue
        gains = [a - b for a, b in zip(values, plain.score, strict=True)]
        points.append([params, gains, *([dict(trial.violations)] if trial.violations else [])])
    if not points:
        raise InputError(
            f"run {run.name!r} has no trial to learn from: {outside} lie outside this space"
        )
    return points
