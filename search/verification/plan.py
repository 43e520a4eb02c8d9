"""What a verification holds: asked for by a user, checked, and written down before it begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.images import SKIMAGE_PICTURES, Picture, expand
from search.analysis.front import front_of, pick, pick_of
from search.experiment.prepare import load_pictures
from search.store.paths import verification_path
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.experiment.model import Experiment

T = TypeVar("T")

LEARNING_RATES = (0.02, 0.01, 0.005, 0.003, 0.002)
BASELINE_SHARE = 1.5
"""Plain DIP's budget over the search's, at least."""
PICTURES, SEEDS, TOP = 4, 4, 3
TUNING, HELD_OUT = "learning-rate", "verification"
"""The folders of the two comparisons."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks of a verification; None leaves the choice to it, or to the one begun.

    images: pictures to verify on. seeds: how many, or which. top: members of the front.
    baseline_iterations: plain DIP's budget. learning_rates: plain DIP's to choose from.
    controls: the trial whose controls are run, as in `Run.pick`.
    allow_seen: takes pictures and seeds that the search has seen.
    restart: discards a verification that has begun.
    """

    images: tuple[str, ...] | None = None
    seeds: int | tuple[int, ...] | None = None
    top: int | None = None
    baseline_iterations: int | None = None
    learning_rates: tuple[float, ...] | None = None
    controls: str | None = None
    allow_seen: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a verification is: written down before it begins, and what resume continues.

    seen: what of it the search had seen already, in words; nothing by default.
    """

    images: list[str]
    seeds: list[int]
    top: int
    trials: list[int]
    baseline_iterations: int
    learning_rates: list[float]
    controls: int | None = None
    seen: list[str] | None = None


def load_plan(run: RunRecord) -> Plan | None:
    """The plan of a verification that has begun; None where there is none."""
    path = verification_path(run.folder)
    if not path.exists():
        return None
    try:
        return from_plain(Plan, read_yaml(path), {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def begin(run: RunRecord, request: Request) -> tuple[Plan, dict[str, Picture]]:
    """The plan, new or as begun, and its pictures."""
    begun = None if request.restart else load_plan(run)
    if begun is not None:
        _refuse_other(run, begun, request)
        return begun, load_pictures(held_out_experiment(run, begun))
    plan = new_plan(run, request)
    pictures = load_pictures(held_out_experiment(run, plan))
    seen = _seen(run, plan, pictures)
    if seen and not request.allow_seen:
        raise InputError(
            f"the search has seen {'; '.join(seen)}: choose others, or say --allow-seen, and every "
            "output will say so"
        )
    return replace(plan, seen=seen or None), pictures


def new_plan(run: RunRecord, request: Request) -> Plan:
    """What a request asks for and what it leaves open; InputError for what is wrong."""
    experiment = run.experiment
    front = [trial for trial in staged_front(run) if trial.candidate is None]
    if not any(trial.state == "complete" for trial in run.records()):
        raise InputError(f"run {run.name!r} has nothing to verify: no complete trial")
    least = math.ceil(BASELINE_SHARE * experiment.trainer.iterations)
    baseline = least if request.baseline_iterations is None else request.baseline_iterations
    if baseline < least:
        raise InputError(
            f"--baseline-iterations must be at least {least}, {BASELINE_SHARE:g} times the "
            f"search's {experiment.trainer.iterations}, got {baseline}: plain DIP would be cut off"
        )
    rates = request.learning_rates or tuple(
        sorted({*LEARNING_RATES, experiment.trainer.learning_rate}, reverse=True)
    )
    if len(set(rates)) < len(rates) or not all(0 < rate <= 1 for rate in rates):
        raise InputError(f"--learning-rates must be different numbers in (0, 1], got {list(rates)}")
    top = TOP if request.top is None else request.top
    if top == 1 and front:
        front = [front[pick_of([trial.score for trial in front], "knee")]]
    chosen = [trial.number for trial in spread(front, top)]
    controls = None if request.controls is None else _control_of(run, request.controls)
    # Controls without the schedule itself would say nothing.
    is_candidate = any(t.number == controls and t.candidate for t in run.records())
    if controls is not None and controls not in chosen and not is_candidate:
        chosen.append(controls)
    return Plan(
        images=_held_out_images(run) if request.images is None else _names(request.images),
        seeds=_seeds(experiment, SEEDS if request.seeds is None else request.seeds),
        top=top,
        trials=chosen,
        baseline_iterations=baseline,
        learning_rates=list(rates),
        controls=controls,
    )


def _names(images: tuple[str, ...]) -> list[str]:
    """Globs replaced, paths made absolute: the plan is read from any folder."""
    return [
        name if name.startswith("skimage:") else str(Path(name).absolute())
        for name in expand(list(images))
    ]


def staged_front(run: RunRecord) -> list[Trial]:
    """The front without plain DIP, which everything else is compared with."""
    return [trial for trial in front_of(run.records()) if trial.schedule and not trial.is_plain]


def _control_of(run: RunRecord, which: str) -> int:
    if which.isdecimal():
        trial = pick(run, which)
    else:
        staged = staged_front(run)
        if not staged:
            raise InputError(
                f"--controls {which}: the front of {run.name!r} holds no staged schedule"
            )
        try:
            trial = staged[pick_of([each.score for each in staged], which)]
        except InputError as error:
            raise InputError(f"--controls: {error}") from None
    if trial.schedule is None or trial.is_plain:
        raise InputError(f"--controls {which}: {trial.name} is plain DIP, which has no stages")
    return trial.number


def spread(members: Sequence[T], top: int) -> list[T]:
    """`top` members of a front, the ends among them, evenly by their place on it."""
    if top < 1:
        raise InputError(f"--top must be at least 1, got {top}")
    if top >= len(members):
        return list(members)
    places = np.rint(np.linspace(0, len(members) - 1, top)).astype(int)
    return [members[i] for i in places]


def _seeds(experiment: Experiment, seeds: int | tuple[int, ...]) -> list[int]:
    if isinstance(seeds, tuple):
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise InputError(f"--seeds must be different and not negative, got {list(seeds)}")
        return list(seeds)
    if seeds < 1:
        raise InputError(f"--seeds must be at least 1, got {seeds}")
    first = max(experiment.seeds) + 1
    return list(range(first, first + seeds))


def _held_out_images(run: RunRecord) -> list[str]:
    """Pictures of scikit-image that the search has not seen, with as many channels as its own."""
    experiment = run.experiment
    own = load_pictures(experiment)
    seen = {picture.digest for picture in own.values()}
    channels = {picture.pixels.shape[0] for picture in own.values()}
    found = []
    for name in SKIMAGE_PICTURES:
        try:
            other = experiment.model_copy(update={"images": [f"skimage:{name}"]})
            [picture] = load_pictures(other).values()
        except InputError:
            continue  # Smaller than the search's size.
        if picture.digest not in seen and picture.pixels.shape[0] in channels:
            found.append(f"skimage:{name}")
    if len(found) < PICTURES:
        raise InputError(
            f"scikit-image holds {len(found)} pictures that fit and that the search has not seen: "
            "name others with --images"
        )
    return found[:PICTURES]


def _seen(run: RunRecord, plan: Plan, pictures: dict[str, Picture]) -> list[str]:
    known = set(run.attributes.pictures.values())
    names = [picture.name for picture in pictures.values() if picture.digest in known]
    seeds = sorted(set(plan.seeds) & set(run.experiment.seeds))
    words = [f"pictures {', '.join(names)}"] if names else []
    return words + ([f"seeds {', '.join(map(str, seeds))}"] if seeds else [])


def _refuse_other(run: RunRecord, begun: Plan, request: Request) -> None:
    """A verification that has begun goes on as it was asked for."""
    images, seeds, controls = request.images, request.seeds, request.controls
    rates = request.learning_rates
    asked = {
        "--images": (None if images is None else _names(images), begun.images),
        "--seeds": (None if seeds is None else _seeds(run.experiment, seeds), begun.seeds),
        "--top": (request.top, begun.top),
        "--baseline-iterations": (request.baseline_iterations, begun.baseline_iterations),
        "--learning-rates": (None if rates is None else list(rates), begun.learning_rates),
        "--controls": (None if controls is None else _control_of(run, controls), begun.controls),
    }
    for option, (wanted, stored) in asked.items():
        if wanted is not None and wanted != stored:
            raise InputError(
                f"run {run.name!r} has a verification with {option} {stored}, not {wanted}: leave "
                "the option out to go on with it, or say --restart to discard it and begin another"
            )


def tuning_experiment(run: RunRecord) -> Experiment:
    """Plain DIP on the search's own pictures and seeds."""
    return _comparison(run, TUNING)


def held_out_experiment(run: RunRecord, plan: Plan) -> Experiment:
    """Every run goes to the end of its budget: the two outputs have their maxima apart."""
    trainer = replace(run.experiment.trainer, oracle_stop=False)
    return _comparison(run, HELD_OUT, images=plan.images, seeds=plan.seeds, trainer=trainer)


def _comparison(run: RunRecord, name: str, **changes: object) -> Experiment:
    """A run of candidates alone; their names are put in once they are known."""
    experiment = run.experiment
    return experiment.model_copy(
        update={
            "name": f"{run.name}.{name}",
            "space": None,
            "candidates": ["plain DIP"],
            "search": experiment.search.model_copy(update={"trials": 0}),
            **changes,
        }
    )
