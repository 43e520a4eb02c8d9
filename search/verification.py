"""Verification: the front and the candidates again, on pictures and seeds the search never saw.

Two comparisons, each a run of its own inside the search's folder, driven and resumed as any run:
`learning-rate` tunes plain DIP's learning rate on the search's pictures, `verification` then
trains everything on the held-out ones. What they hold is fixed by `verification.yaml`, which is
written first.
"""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from dipstage.controls import heaviest_alone, in_reverse, shuffled
from dipstage.documents import read_yaml, write_whole, yaml_text
from dipstage.errors import InputError
from dipstage.images import SKIMAGE_PICTURES, Picture, expand
from dipstage.records import from_plain, to_plain
from dipstage.schedules import Schedule, Stage
from search.paths import verification_path
from search.prepare import Candidate, Role, load_pictures
from search.run import Run, Trial, pick_of
from search.study import delete_study, open_storage

if TYPE_CHECKING:
    from search.experiment import Experiment
    from search.progress import View

T = TypeVar("T")

LEARNING_RATES = (0.02, 0.01, 0.005, 0.003, 0.002)
BASELINE_SHARE = 1.5
"""Plain DIP's budget over the search's, at least."""
PICTURES, SEEDS, TOP = 4, 4, 3
NEAR_DB = 0.05
"""Learning rates whose max PSNR_GT is this near the best are told apart by their steps."""
TUNING, HELD_OUT = "learning-rate", "verification"


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


def verify(run: Run, request: Request, *, address: str | None = None, view: View) -> None:
    """Begin or go on with the verification of a run, and wait for its end.

    InputError, before anything starts, for pictures or seeds that the search has seen, for a
    request that differs from a verification that has begun, and for a run with nothing to verify.
    """
    lock = FileLock(run.folder / "verification.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"run {run.name!r} is being verified: wait for it to end") from None
    try:
        plan, held_out = _begin(run, request)
        if request.restart:
            _discard(run)
        elif is_finished(run):
            return
        # Before Ray starts: whatever ends this now, the same command goes on with what was asked.
        write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
        from search import driver, tuning

        with driver.terminable(), tuning.ray_cluster(address), driver.terminable():
            tuned = _make(
                run, TUNING, _tuning_experiment(run, plan),
                load_pictures(run.experiment), _plain_candidates(run, plan),
            )  # fmt: skip
            driver.drive(tuned, address=address, view=view)
            main = _make(
                run, HELD_OUT, _held_out_experiment(run, plan),
                held_out, _candidates(run, plan, tuned_trial(tuned)),
            )  # fmt: skip
            driver.drive(main, address=address, view=view)
    finally:
        lock.release()


def load_plan(run: Run) -> Plan | None:
    """The plan of a verification that has begun; None where there is none."""
    path = verification_path(run.folder)
    if not path.exists():
        return None
    try:
        return from_plain(Plan, read_yaml(path), {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def part(run: Run, name: str) -> Run | None:
    """One of the two comparisons; None where it has not begun."""
    folder = run.folder / name
    if not (folder / "experiment.yaml").is_file():
        return None
    return Run.at(folder, f"{run.name}.{name}", run.storage)


def is_finished(run: Run) -> bool:
    """Whether both comparisons are there and every trial of them has ended."""
    for name in (TUNING, HELD_OUT):
        made = part(run, name)
        if made is None:
            return False
        records = made.records()
        if len(records) < made.candidates_wanted or any(t.state == "running" for t in records):
            return False
    return True


def tuned_trial(tuned: Run) -> Trial:
    """Plain DIP at the learning rate that suits it: of those near the best max PSNR_GT, the one
    with the fewest steps. InputError if none is complete.
    """
    trials = [trial for trial in tuned.records() if trial.values is not None]
    if not trials:
        failures = "; ".join(f"{t.name}: {t.failure}" for t in tuned.records())
        raise InputError(f"plain DIP failed at every learning rate: {failures}")
    best = max(trial.score.max_psnr_gt_db for trial in trials)
    near = [trial for trial in trials if trial.score.max_psnr_gt_db >= best - NEAR_DB]
    return min(near, key=lambda trial: (trial.score.steps_to_max, -trial.score.max_psnr_gt_db))


def _discard(run: Run) -> None:
    """Each folder is renamed before anything in it goes, so that a cut-off discard leaves none."""
    (run.folder / "verification.csv").unlink(missing_ok=True)
    for name in (HELD_OUT, TUNING):
        folder = run.folder / name
        if folder.exists():
            aside = folder.with_name(f".{name}.{uuid.uuid4().hex}")
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
    verification_path(run.folder).unlink(missing_ok=True)


def _begin(run: Run, request: Request) -> tuple[Plan, dict[str, Picture]]:
    """The plan, new or as begun, and its pictures."""
    begun = None if request.restart else load_plan(run)
    if begun is not None:
        _refuse_other(run, begun, request)
        return begun, load_pictures(_held_out_experiment(run, begun))
    plan = _new_plan(run, request)
    pictures = load_pictures(_held_out_experiment(run, plan))
    seen = _seen(run, plan, pictures)
    if seen and not request.allow_seen:
        raise InputError(
            f"the search has seen {'; '.join(seen)}: choose others, or say --allow-seen, and every "
            "output will say so"
        )
    return replace(plan, seen=seen or None), pictures


def _new_plan(run: Run, request: Request) -> Plan:
    experiment = run.experiment
    front = [trial for trial in run.front() if trial.candidate is None]
    if not front and not run.candidates_wanted:
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


def _control_of(run: Run, which: str) -> int:
    trial = run.pick(which)
    if trial.schedule is None or len(trial.schedule.stages) < 2:
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


def _held_out_images(run: Run) -> list[str]:
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


def _seen(run: Run, plan: Plan, pictures: dict[str, Picture]) -> list[str]:
    known = set(run.study.user_attrs["pictures"].values())
    names = [picture.name for picture in pictures.values() if picture.digest in known]
    seeds = sorted(set(plan.seeds) & set(run.experiment.seeds))
    words = [f"pictures {', '.join(names)}"] if names else []
    return words + ([f"seeds {', '.join(map(str, seeds))}"] if seeds else [])


def _refuse_other(run: Run, begun: Plan, request: Request) -> None:
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


def _tuning_experiment(run: Run, plan: Plan) -> Experiment:
    experiment = run.experiment
    names = [candidate.name for candidate in _plain_candidates(run, plan)]
    return _comparison(run, TUNING, names, images=experiment.images, seeds=experiment.seeds)


def _held_out_experiment(run: Run, plan: Plan) -> Experiment:
    """Every run goes to the end of its budget: the two outputs have their maxima apart."""
    trainer = replace(run.experiment.trainer, oracle_stop=False)
    return _comparison(
        run, HELD_OUT, ["plain DIP"], images=plan.images, seeds=plan.seeds, trainer=trainer
    )


def _comparison(run: Run, name: str, candidates: list[str], **changes: object) -> Experiment:
    experiment = run.experiment
    return experiment.model_copy(
        update={
            "name": f"{run.name}.{name}",
            "space": None,
            "candidates": candidates,
            "search": experiment.search.model_copy(update={"trials": 0}),
            **changes,
        }
    )


def _plain(learning_rate: float, iterations: int) -> Candidate:
    return Candidate(
        f"plain DIP, learning rate {learning_rate}",
        Schedule((Stage(1.0, iterations),)),
        learning_rate,
    )


def _plain_candidates(run: Run, plan: Plan) -> list[Candidate]:
    return [_plain(rate, plan.baseline_iterations) for rate in plan.learning_rates]


def _candidates(run: Run, plan: Plan, tuned: Trial) -> list[Candidate]:
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
        entry = Candidate(trial.name, schedule, trial.learning_rate, role=role, trial=trial.number)
        if not _same_training(entry, plain):
            entries.append(entry)
    usual = replace(_plain(run.experiment.trainer.learning_rate, budget), role="plain")
    if not any(_same_training(usual, entry) for entry in entries):
        entries.insert(1, usual)
    if plan.controls is not None:
        entries += _controls(trials[plan.controls], budget)
    return entries


def _same_training(one: Candidate, other: Candidate) -> bool:
    """Whether two would give the same bytes."""
    return (one.schedule, one.learning_rate, one.warmup) == (
        other.schedule,
        other.learning_rate,
        other.warmup,
    )


def _controls(trial: Trial, budget: int) -> list[Candidate]:
    """The schedule with its staging broken, and plain DIP at its learning rate.

    Without those that are the schedule itself, or one another: a single noised stage has no order.
    """
    assert trial.schedule is not None
    schedule = trial.schedule.extended(budget)
    name, rate = trial.name, trial.learning_rate
    plain = Schedule((Stage(1.0, budget),))
    broken = {f"{name} reversed": in_reverse(schedule)}
    generator = np.random.default_rng(trial.number)
    for _ in range(20):
        drawn = shuffled(schedule, generator)
        if drawn not in (schedule, in_reverse(schedule)):
            broken[f"{name} shuffled"] = drawn
            break
    broken[f"{name} heaviest alone"] = heaviest_alone(schedule)
    kept = {key: each for key, each in broken.items() if each != schedule}
    return [
        *(
            Candidate(key, each, rate, role="control", trial=trial.number)
            for key, each in kept.items()
        ),
        Candidate(f"plain at the rate of {name}", plain, rate, role="control", trial=trial.number),
        Candidate(
            f"plain warmed up as {name}",
            plain,
            rate,
            warmup=schedule.ramp,
            role="control",
            trial=trial.number,
        ),
    ]


def _make(
    run: Run,
    name: str,
    experiment: Experiment,
    pictures: dict[str, Picture],
    candidates: list[Candidate],
) -> Run:
    """The comparison, made now or by a driver before."""
    from search import driver

    made = part(run, name)
    if made is not None:
        return made
    if run.storage is not None:
        # Left by a discard, or by a driver that died before the folder was there.
        delete_study(open_storage(run.folder, run.storage), experiment.name)
    digests = {label: picture.digest for label, picture in pictures.items()}
    named = experiment.model_copy(update={"candidates": [c.name for c in candidates]})
    driver.create(named, run.folder / name, run.storage, digests, candidates)
    made = part(run, name)
    assert made is not None
    return made
