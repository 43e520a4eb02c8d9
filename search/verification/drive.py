"""Confirmation and verification: what drives their comparisons.

Each comparison is a run of its own inside the search's folder, and is driven and resumed like any
run. `learning-rate` tunes plain DIP on the search's pictures, `confirmation` chooses what is
verified, and `verification` trains everything on held-out pictures. `verification.yaml` is written
before the last one begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.interrupts import terminable
from dipstage.pictures.images import Picture
from search.experiment.candidate import Candidate
from search.experiment.prepare import load_pictures
from search.store.attributes import write
from search.store.folders import is_remote, remove_tree
from search.store.lease import leased, verifying
from search.store.paths import verification_path
from search.store.records import Trial
from search.store.run import RunRecord
from search.store.study import delete_study
from search.verification.confirmation import PICTURES, SEEDS, TOP, confirmed_candidates
from search.verification.declared import Plan, Request, load_plan
from search.verification.outlook import outlook
from search.verification.parts import (
    CONFIRMATION,
    HELD_OUT,
    TUNING,
    has_ended,
    has_scores,
    is_finished,
    part,
    study_name,
)
from search.verification.plan import (
    begin,
    comparison,
    held_out_experiment,
    refuse_differences,
    refuse_other_objectives,
)
from search.verification.references import beyond_edges, chosen_references, recipe_words
from search.verification.schedules import held_out_candidates, plain_candidates
from search.verification.unseen import names_of, refuse_seen, seeds_of

if TYPE_CHECKING:
    from search.execution.view import View
    from search.experiment.model import Experiment, Resources

EXTENSIONS = 6
"""Maximum number of times that the tried recipes of plain DIP are extended."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Hardware that trains a confirmation or a verification.

    Args:
        resources: Keys of the group `resources` that replace those of the search or of what has
            begun, as KEY=VALUE.
        address: Address of a running Ray cluster; None starts a local one.
        accept_changes: Continue with changed resources or code, or on another device.
    """

    resources: tuple[str, ...] = ()
    address: str | None = None
    accept_changes: bool = False


HERE = Hardware()


def verify(run: RunRecord, request: Request, *, hardware: Hardware = HERE, view: View) -> None:
    """Begin or continue the verification of a run, and wait for its end.

    A finished one is left as it is, and needs neither a cluster nor its pictures.

    Raises:
        InputError: Before anything starts, for pictures or seeds that were seen, for a request
            that differs from a verification that has begun, for another device, for a restart in
            the place of a link, and if there is nothing to verify.
    """
    with leased(run.storage, verifying(run.study.study_name), f"the verification of {run.name!r}"):
        if request.restart:
            _refuse_links(run)
        plan, held_out = begin(run, request)
        if not request.restart and is_finished(run):
            return
        if plan.declared is None and part(run, HELD_OUT) is None:
            raise InputError(
                f"the verification of {run.name!r} was begun by an earlier version and has trained "
                "nothing on held-out pictures yet: use --restart to begin another"
            )
        own: dict[str, Picture] = {}
        if request.restart or part(run, TUNING) is None:
            from search.store.changes import unchanged_pictures

            own = unchanged_pictures(run, run.experiment)
        with _driving(run, (HELD_OUT, TUNING), hardware, view) as drive:
            _show_notices(held_out, view)
            for line in outlook(run, plan):
                view.note(line)
            # Nothing is discarded or begun before there is a cluster to run it on.
            if request.restart:
                _discard(run, plan, drive.device)
            else:
                drive.refuse_other_device(run, (HELD_OUT, TUNING))
            _write_plan(run, plan)
            tuned = _tuned(run, plan, own, drive, view)
            made, experiment = part(run, HELD_OUT), held_out_experiment(run, plan)
            if made is None:
                candidates = held_out_candidates(run, plan, tuned)
                made = drive.make(run, HELD_OUT, experiment, held_out, candidates)
            drive(made, experiment)


def confirm(
    run: RunRecord,
    images: tuple[str, ...],
    seeds: int | tuple[int, ...] | None = None,
    top: int | None = None,
    *,
    hardware: Hardware = HERE,
    view: View,
) -> None:
    """Train the best schedules of a search again on fresh pictures and seeds, beside plain DIP.

    A finished confirmation is left as it is, and needs neither a cluster nor its pictures.

    Args:
        run: The search.
        images: At least six pictures that the search has not seen; empty to continue.
        seeds: Number of seeds, or the seeds; by default two that the search has not used.
        top: Number of schedules; eight by default.
        hardware: What it is trained on.
        view: Shows the progress.

    Raises:
        InputError: The pictures are too few or were seen, a verification has begun, or the
            confirmation has begun with other pictures, seeds or schedules, or on another device.
    """
    with leased(run.storage, verifying(run.study.study_name), f"the verification of {run.name!r}"):
        made = part(run, CONFIRMATION)
        if made is None:
            refuse_other_objectives(run)
            if verification_path(run.folder).exists():
                raise InputError(
                    f"run {run.name!r} has a verification already: a confirmation comes before it"
                )
            names, numbers = names_of(images), seeds_of(run, SEEDS if seeds is None else seeds)
            experiment = comparison(run, CONFIRMATION, images=names, seeds=numbers)
            pictures = load_pictures(experiment)
            if len(names) < PICTURES:
                raise InputError(
                    f"--images must name at least {PICTURES} pictures that the search has not "
                    f"seen, got {len(names)}"
                )
            refuse_seen(run, numbers, pictures, allowed=None)
            candidates = confirmed_candidates(run, TOP if top is None else top)
            if len(candidates) < 2:
                raise InputError(f"run {run.name!r} has no staged schedule to confirm")
        else:
            begun, schedules = made.experiment, len(made.attributes.candidates) - 1
            # A search that had found fewer than were asked for had those that there were.
            is_same = top is None or len(confirmed_candidates(run, top)) - 1 == schedules
            asked: dict[str, tuple[object, object]] = {
                "--images": (names_of(images) or None, begun.images),
                "--seeds": (None if seeds is None else seeds_of(run, seeds), begun.seeds),
                "--top": (None if is_same else top, schedules),
            }
            refuse_differences(f"run {run.name!r} has a confirmation", asked)
            if has_ended(made):
                return
        with _driving(run, (CONFIRMATION,), hardware, view) as drive:
            drive.refuse_other_device(run, (CONFIRMATION,))
            if made is None:
                _show_notices(pictures, view)
                made = drive.make(run, CONFIRMATION, experiment, pictures, candidates)
            drive(made)


@dataclass(frozen=True)
class _Driver:
    """Makes comparisons and drives them to their end, on hardware that was checked."""

    hardware: Hardware
    resources: Resources
    device: str
    view: View

    def make(
        self,
        run: RunRecord,
        name: str,
        experiment: Experiment,
        pictures: dict[str, Picture],
        candidates: Sequence[Candidate],
    ) -> RunRecord:
        """Create a comparison."""
        from search.execution import driver

        if run.address is not None:
            # Left by a discard.
            delete_study(run.storage, study_name(run, name))
        digests = {label: picture.digest for label, picture in pictures.items()}
        changes = {"candidates": [c.name for c in candidates], "resources": self.resources}
        experiment, study = experiment.model_copy(update=changes), study_name(run, name)
        driver.create(experiment, run.folder / name, run.address, digests, list(candidates), study)
        made = part(run, name)
        assert made is not None
        return made

    def __call__(self, made: RunRecord, moved: Experiment | None = None) -> RunRecord:
        """Drive a comparison to its end.

        moved: An experiment with the present paths of its pictures.
        """
        from search.execution import driver

        resources, given = self.resources if self.hardware.resources else None, None
        if moved is not None:
            paths = {"images": moved.images, "task": moved.task}
            used = resources or made.experiment.resources
            given = made.experiment.model_copy(update={**paths, "resources": used})
        return driver.drive(
            made,
            address=self.hardware.address,
            view=self.view,
            given=given,
            accept_changes=self.hardware.accept_changes,
            resources=resources,
        )

    def refuse_other_device(self, run: RunRecord, names: Sequence[str]) -> None:
        """Raise InputError if one of the comparisons has been trained on another device."""
        others = {name: _trained_on(run, name) - {self.device} for name in names}
        if any(others.values()) and not self.hardware.accept_changes:
            words = ", ".join(
                f"{run.name}/{n} on {o}" for n, found in others.items() for o in found
            )
            restart = "" if CONFIRMATION in names else " begin anew with --restart,"
            raise InputError(
                f"{words} has begun, and this would train on {self.device}: continue on the same "
                f"kind of device (--set resources.device),{restart} or mix both with "
                "--accept-changes; every output then says so"
            )


def _show_notices(pictures: Mapping[str, Picture], view: View) -> None:
    for picture in pictures.values():
        for notice in picture.notices:
            view.note(notice)


def _trained_on(run: RunRecord, name: str) -> set[str]:
    """Return the kinds of device that have trained replicates of a comparison."""
    made = part(run, name)
    records = made.records() if made is not None else []
    devices = {each.device for trial in records for each in trial.replicates.values()}
    return {"cpu" if device == "cpu" else "cuda" for device in devices}


@contextmanager
def _driving(
    run: RunRecord, names: Sequence[str], hardware: Hardware, view: View
) -> Iterator[_Driver]:
    """Yield what drives comparisons, on a cluster that is checked first.

    names: The comparisons, the last one first: its resources are kept.
    """
    from search.execution.cluster import ray_cluster
    from search.execution.logging_wanted import refuse_missing_loggers
    from search.execution.resources import resources_of
    from search.experiment.reading import with_resources

    begun = next((made for name in names if (made := part(run, name)) is not None), run)
    experiment = with_resources(begun.experiment, hardware.resources)
    refuse_missing_loggers(run.experiment, run.folder)
    with terminable(), ray_cluster(hardware.address, view=view), terminable():
        shares = resources_of(experiment, can_grow=hardware.address is not None)
        yield _Driver(hardware, experiment.resources, shares.device, view)


def _tuned(
    run: RunRecord, plan: Plan, own: dict[str, Picture], drive: _Driver, view: View
) -> list[Trial]:
    """Return the complete trials of plain DIP's tuning, run now as far as they are missing.

    While a chosen recipe has the first or last of the tried values, further values are added.
    """
    made = part(run, TUNING)
    if plan.declared is None:
        assert made is not None
        return made.records()
    budget = run.experiment.trainer.iterations
    if made is None:
        candidates = plain_candidates(plan.declared.references, budget)
        made = drive.make(run, TUNING, comparison(run, TUNING), own, candidates)
    for _ in range(EXTENSIONS + 1):
        if not has_ended(made):
            made = drive(made, run.experiment)
        complete = complete_trials(made)
        tried = [candidate.schedule.recipe for candidate in made.attributes.candidates]
        chosen = {t.number: t for t in chosen_references(complete)}
        more = [
            recipe
            for trial in chosen.values()
            if trial.schedule is not None
            for recipe in beyond_edges(trial.schedule.recipe, tried, budget)
        ]
        if not more:
            return complete
        more = list(dict.fromkeys(more))
        view.note(
            "the chosen plain DIP has the first or last of the tried values, so others are tried "
            f"as well: {'; '.join(map(recipe_words, more))}"
        )
        added = plain_candidates(more, budget)
        write(made.study, candidates=[*made.attributes.candidates, *added])
        made = made.reread()
    raise InputError(
        f"plain DIP is still best at the end of what was tried, after {EXTENSIONS} extensions: "
        "use --restart with other --learning-rates"
    )


def complete_trials(tuned: RunRecord) -> list[Trial]:
    """Return the complete trials of plain DIP's tuning.

    Raises:
        InputError: There are none.
    """
    trials = [trial for trial in tuned.records() if trial.values is not None]
    if not trials:
        failures = "; ".join(f"{t.name}: {t.failure}" for t in tuned.records())
        raise InputError(f"plain DIP failed with every recipe: {failures}")
    return trials


def _refuse_links(run: RunRecord) -> None:
    """Raise InputError if a folder that a restart may remove is a link, which somebody has made."""
    for folder in (run.folder / name for name in (HELD_OUT, TUNING)):
        if not is_remote(folder) and folder.is_symlink():
            raise InputError(
                f"{folder} is a link to {os.path.realpath(folder)}, and --restart removes no "
                "folder behind a link: put that folder in the place of the link"
            )


def _discard(run: RunRecord, following: Plan, device: str) -> None:
    """Remove a verification; its table, and a tuning that the following one needs, are kept.

    Its plan stays until the following one replaces it, so that its claims and pictures count even
    if this is cut off.
    """
    former, held_out = load_plan(run), part(run, HELD_OUT)
    if former is not None and held_out is not None and has_scores(held_out):
        spent = {*(former.spent or []), *held_out.attributes.pictures.values()}
        _write_plan(run, replace(former, spent=sorted(spent)))
    tuned, following_tuned = _tuning_of(former), _tuning_of(following)
    is_kept = tuned == following_tuned and _trained_on(run, TUNING) <= {device}
    table = run.folder / "verification.csv"
    if table.exists():
        kept = sorted(run.folder.glob("verification-*.csv"))
        table.rename(run.folder / f"verification-{len(kept) + 1}.csv")
    for name in (HELD_OUT, TUNING)[: 1 if is_kept else 2]:
        folder = run.folder / name
        if folder.exists():
            # Without its experiment it is no run: a discard that is cut off leaves none.
            (folder / "experiment.yaml").unlink(missing_ok=True)
            remove_tree(folder)


def _write_plan(run: RunRecord, plan: Plan) -> None:
    write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))


def _tuning_of(plan: Plan | None) -> object:
    return None if plan is None or plan.declared is None else plan.declared.references
