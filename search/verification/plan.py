"""The claims of a verification and their rules: requested, checked and written down first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dipstage.errors import InputError
from dipstage.pictures.images import Picture
from dipstage.schedules.recipe import Recipe
from search.analysis.front import front_of, is_number, pick, pick_of
from search.experiment.prepare import load_pictures
from search.store.records import Trial
from search.store.run import RunRecord
from search.store.suggested import run_words
from search.verification.confirmation import Confirmation
from search.verification.declared import Claim, Declared, Plan, Request, load_plan
from search.verification.parts import (
    CONFIRMATION,
    HELD_OUT,
    has_scores,
    is_finished,
    part,
)
from search.verification.references import LEARNING_RATES, plain_recipes, trials_wanted
from search.verification.rules import SIGNIFICANCE, Endpoint
from search.verification.unseen import (
    held_out_images,
    names_of,
    refuse_seen,
    seeds_of,
    used_pictures,
)

if TYPE_CHECKING:
    from search.experiment.model import Experiment

BASELINE_SHARE = 1.5
"""Minimum budget of plain DIP, as a multiple of the search's."""
SEEDS = 4
SMALLEST_DB, SMALLEST_RATIO = 0.2, 0.85
"""Smallest effects of interest: gain in max PSNR_GT, and ratio of times."""


def begin(run: RunRecord, request: Request) -> tuple[Plan, dict[str, Picture]]:
    """Return the plan, new or as begun, and the pictures that are left to train on."""
    begun = load_plan(run)
    if begun is not None and not request.restart:
        _refuse_other(run, begun, request)
        return begun, {} if is_finished(run) else load_pictures(held_out_experiment(run, begun))
    plan = new_plan(run, request, begun)
    pictures = load_pictures(held_out_experiment(run, plan))
    seen = refuse_seen(run, plan.seeds, pictures, request.allow_seen)
    return replace(plan, seen=seen), pictures


def new_plan(run: RunRecord, request: Request, former: Plan | None = None) -> Plan:
    """Return what a request asks for, with defaults for what it leaves open.

    Args:
        run: The search.
        request: What is asked for.
        former: Plan of the verification that this one replaces.

    Raises:
        InputError: The request is wrong, or the run has nothing to verify.
    """
    experiment, records = run.experiment, run.records()
    refuse_other_objectives(run)
    if not any(trial.state == "complete" for trial in records):
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
    claims = _claims(run, request)
    return Plan(
        images=held_out_images(run) if request.images is None else names_of(request.images),
        seeds=seeds_of(run, SEEDS if request.seeds is None else request.seeds),
        trials=[claim.trial for claim in claims],
        baseline_iterations=baseline,
        learning_rates=list(rates),
        declared=_declared(run, request, claims, rates, former),
    )


def refuse_other_objectives(run: RunRecord) -> None:
    """Raise InputError unless a search optimised what a verification judges."""
    objective = run.objective
    if not objective.is_standard:
        raise InputError(
            f"run {run.name!r} optimised {objective.quality.words}"
            + ("" if objective.single else f" against {objective.cost.words}")
            + ", and a verification judges maximum PSNR_GT and the time to it: search with the "
            "default objective to verify, or compare the exported schedule on new pictures yourself"
        )


def _declared(
    run: RunRecord,
    request: Request,
    claims: list[Claim],
    rates: tuple[float, ...],
    former: Plan | None,
) -> Declared:
    output = run.objective.output
    before = former.declared if former else None
    earlier = before.earlier if before else 0
    if former is not None and _was_scored(run, former):
        # A plan of version 0.1 judged each of its schedules in both objectives.
        earlier += len(before.claims) if before else 2 * len(former.trials)
    least = len(claims) + earlier
    family = least if request.claims is None else request.claims
    if family < least:
        words = f" and {earlier} that were verified before" if earlier else ""
        raise InputError(f"--claims must count these {len(claims)}{words}, got {family}")
    alpha = SIGNIFICANCE if request.alpha is None else request.alpha
    if not 0 < alpha <= SIGNIFICANCE:
        raise InputError(f"--alpha must be in (0, {SIGNIFICANCE:g}], got {alpha}")
    gain = SMALLEST_DB if request.smallest_db is None else request.smallest_db
    ratio = SMALLEST_RATIO if request.smallest_ratio is None else request.smallest_ratio
    if not gain > 0 or not 0 < ratio < 1:
        raise InputError(
            f"--smallest-db must be above 0 and --smallest-ratio in (0, 1), got {gain} and {ratio}"
        )
    recipes = _recipes(run, request, rates)
    front = [trial.number for trial in front_of(run.records())]
    return Declared(claims, output, family, alpha, gain, ratio, recipes, request.controls, front,
                    earlier, used_pictures(run) if former else None)  # fmt: skip


def _recipes(run: RunRecord, request: Request, rates: tuple[float, ...]) -> list[Recipe]:
    """Return the recipes that plain DIP is tuned over.

    Raises:
        InputError: Fewer are asked for than must be tried, or there are not as many.
    """
    least = trials_wanted(sum(not trial.is_plain for trial in run.records()), len(rates))
    wanted = least if request.references is None else request.references
    if wanted < least:
        raise InputError(
            f"--references must be at least {least}, a quarter of the search's schedules and one "
            f"for each learning rate, got {wanted}"
        )
    recipes = plain_recipes(run.experiment, run.objective.output, rates, wanted)
    if len(recipes) < wanted:
        otherwise = ", or lower --references" if wanted > least else ""
        raise InputError(
            f"--learning-rates {list(rates)} give plain DIP only {len(recipes)} recipes that "
            f"differ enough, and it is to be tuned over {wanted}: name more rates{otherwise}"
        )
    return recipes


def _was_scored(run: RunRecord, plan: Plan) -> bool:
    """Return whether a verification has had any held-out scores."""
    made = part(run, HELD_OUT)
    return plan.spent is not None or (made is not None and has_scores(made))


def _claims(run: RunRecord, request: Request) -> list[Claim]:
    """Return what is claimed: as asked for, else as confirmed, else the front's knee and end."""
    asked: dict[Endpoint, str | int | None] = {"time": request.fast, "psnr": request.best}
    if request.fast is None and request.best is None:
        asked = dict(_picked(run))
    trials: dict[Endpoint, Trial] = {
        endpoint: _trial_of(run, _OPTIONS[endpoint], which)
        for endpoint, which in asked.items()
        if which is not None
    }
    claims = [Claim(trial.number, endpoint) for endpoint, trial in trials.items()]
    # Two files may hold one schedule.
    if len({trial.schedule for trial in trials.values()}) < len(claims):
        if request.fast is not None and request.best is not None:
            raise InputError(
                "--fast and --best name the same schedule: each has one declared endpoint, so "
                "leave one of them out"
            )
        return claims[:1]
    return claims


_OPTIONS: dict[Endpoint, str] = {"time": "--fast", "psnr": "--best"}


def _picked(run: RunRecord) -> Mapping[Endpoint, str | int]:
    """Return what is claimed by default: as confirmed, else the front's knee and end."""
    found = Confirmation.open(run)
    if found is None and part(run, CONFIRMATION) is not None:
        raise InputError(
            f"the confirmation of {run.name!r} has not ended: continue it with dipsearch confirm "
            f"{run_words(run.folder)}, or name what is to be verified with --fast or --best"
        )
    if found is None:
        return {"time": "knee", "psnr": "psnr"}
    if not found.picked:
        words = f"the confirmation of {run.name!r} found no schedule that is faster than plain DIP "
        words += "or has a higher PSNR_GT"
        if found.obstacle:
            words = f"in the confirmation of {run.name!r}, {found.obstacle}"
        raise InputError(f"{words}: name what is to be verified with --fast or --best")
    return found.picked


def claimed_trial(run: RunRecord, endpoint: Endpoint) -> Trial:
    """Return the trial that is claimed in an endpoint; before a verification, the one to claim.

    Raises:
        InputError: There is none.
    """
    plan = load_plan(run)
    if plan is not None and plan.declared is not None:
        claims = plan.declared.claims
        picked: Mapping[Endpoint, str | int] = {each.endpoint: each.trial for each in claims}
        source = "verification"
    else:
        picked, source = _picked(run), "confirmation"
    if endpoint not in picked:
        word = "faster" if endpoint == "time" else "higher"
        raise InputError(f"the {source} of {run.name!r} claims no schedule to be {word}")
    return _trial_of(run, _OPTIONS[endpoint], picked[endpoint])


def _trial_of(run: RunRecord, option: str, which: str | int) -> Trial:
    """Return a complete staged trial by number, by a candidate's name, or by a rule."""
    candidates = [t for t in run.records() if t.candidate == which and t.values is not None]
    if is_number(which) or candidates:
        trial = pick(run, which) if is_number(which) else candidates[0]
        if trial.schedule is None or trial.is_plain:
            raise InputError(f"{option} {which}: {trial.name} is plain DIP, which has no stages")
        return trial
    staged = staged_front(run)
    staged = [trial for trial in staged if trial.candidate is None] or staged
    if not staged:
        raise InputError(f"the front of {run.name!r} holds no staged schedule to verify")
    try:
        return staged[pick_of([trial.score for trial in staged], str(which))]
    except InputError as error:
        raise InputError(f"{option}: {error}") from None


def staged_front(run: RunRecord) -> list[Trial]:
    """Return the front without plain DIP, which everything else is compared with."""
    return [trial for trial in front_of(run.records()) if trial.schedule and not trial.is_plain]


def _refuse_other(run: RunRecord, begun: Plan, request: Request) -> None:
    """Raise InputError if a verification that has begun is asked to be another one."""
    said, now = begun.declared, request
    claims = {claim.endpoint: claim.trial for claim in said.claims} if said else {}
    rates, images, seeds = now.learning_rates, now.images, now.seeds
    asked: dict[str, tuple[object, object]] = {
        "--images": (None if images is None else names_of(images), begun.images),
        "--seeds": (None if seeds is None else seeds_of(run, seeds), begun.seeds),
        "--fast": (now.fast and _trial_of(run, "--fast", now.fast).number, claims.get("time")),
        "--best": (now.best and _trial_of(run, "--best", now.best).number, claims.get("psnr")),
        "--claims": (now.claims, said and said.family),
        "--alpha": (now.alpha, said and said.alpha),
        "--baseline-iterations": (now.baseline_iterations, begun.baseline_iterations),
        "--learning-rates": (None if rates is None else list(rates), begun.learning_rates),
        "--references": (now.references, said and len(said.references)),
        "--smallest-db": (now.smallest_db, said and said.smallest_db),
        "--smallest-ratio": (now.smallest_ratio, said and said.smallest_ratio),
        "--controls": (now.controls or None, bool(said and said.controls)),
    }
    restart = ", or use --restart to discard it and begin another"
    refuse_differences(f"run {run.name!r} has a verification", asked, restart)


def refuse_differences(
    begun: str, asked: Mapping[str, tuple[object, object]], otherwise: str = ""
) -> None:
    """Raise InputError for the first option that is not what something began with.

    Args:
        begun: What has begun, in words.
        asked: What is asked for by each option, None for nothing, and what it began with.
        otherwise: What else can be done than to leave the option out.
    """
    for option, (wanted, stored) in asked.items():
        if wanted is not None and wanted != stored:
            raise InputError(
                f"{begun} with {option} {stored}, not {wanted}: leave the option out to continue "
                f"it{otherwise}"
            )


def held_out_experiment(run: RunRecord, plan: Plan) -> Experiment:
    """Return the held-out trainings, which go on until both outputs are past their maxima."""
    trainer = replace(run.experiment.trainer, oracle_stop="both")
    return comparison(run, HELD_OUT, images=plan.images, seeds=plan.seeds, trainer=trainer)


def comparison(run: RunRecord, name: str, **changes: object) -> Experiment:
    """Return a run of candidates alone; their names are put in once they are known."""
    experiment = run.experiment
    return experiment.model_copy(
        update={
            # Constraints choose among the search's trials; what is compared here has none.
            "objective": experiment.objective.standard,
            "name": f"{run.name}.{name}",
            # Pictures must suit the deepest network that was searched.
            "space": experiment.space if experiment.space and experiment.space.scales else None,
            "candidates": ["plain DIP"],
            "search": experiment.search.model_copy(
                update={"trials": 0, "hours": None, "until": None, "learn_from": []}
            ),
            **changes,
        }
    )
