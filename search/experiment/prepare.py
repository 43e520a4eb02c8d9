"""Load and check the pictures and candidates of an experiment before anything starts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dipstage.errors import InputError
from dipstage.pictures.images import Picture, expand, load_picture
from dipstage.schedules.presets import PRESETS, is_preset, measured_on
from dipstage.schedules.published import ENDPOINTS, is_published, published
from dipstage.schedules.schedule_file import read_schedule_file
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.problem import Task
from dipstage.tasks.registry import loaded, used_elsewhere
from search.experiment.candidate import Candidate, preset_schedule
from search.experiment.model import MAX_ENTRIES, Experiment

MAX_REPLICATES = 100_000
"""Maximum number of replicates of a trial: pictures times seeds."""


def load_pictures(experiment: Experiment) -> dict[str, Picture]:
    """Load the pictures, keyed by unique label, in the order of the experiment.

    Raises:
        InputError: A picture cannot be read, or does not suit the task.
    """
    names = expanded(experiment.images)
    replicates = len(names) * len(experiment.seeds)
    if len(names) > MAX_ENTRIES or replicates > MAX_REPLICATES:
        raise InputError(
            f"images: {len(names)} pictures with {len(experiment.seeds)} seeds are too many: at "
            f"most {MAX_ENTRIES} pictures, and {MAX_REPLICATES:,} replicates of a trial"
        )
    pictures = [
        load_picture(name, size=experiment.size, multiple=experiment.largest.multiple)
        for name in names
    ]
    by_digest: dict[str, Picture] = {}
    for picture in pictures:
        twin = by_digest.setdefault(picture.digest, picture)
        if twin is not picture:
            raise InputError(f"images: {twin.name} and {picture.name} are the same picture")
    counts = Counter(_folded(picture.label) for picture in pictures)
    labelled: dict[str, Picture] = {}
    taken: set[str] = set()
    for picture in pictures:
        label = picture.label
        if counts[_folded(label)] > 1:
            label = f"{label}-{picture.digest[:8]}"
        if _folded(label) in taken:
            raise InputError(f"images: two pictures would have the label {label}: rename a file")
        taken.add(_folded(label))
        labelled[label] = picture
    _check_task(experiment, pictures)
    return labelled


def expanded(images: list[str]) -> list[str]:
    """Return the files that entries of `images` name.

    Raises:
        InputError: Two entries name the same file, or an entry names none.
    """
    found: dict[str, str] = {}
    for entry in images:
        for name in expand([entry]):
            if name in found:
                raise InputError(f"images: {found[name]} and {entry} both name {name}: keep one")
            found[name] = entry
    return list(found)


def _folded(label: str) -> str:
    """Return what labels must differ in: some disks ignore case and how accents are encoded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())


def loaded_task(experiment: Experiment) -> Task:
    """Return the task of an experiment without any files that it would have to read.

    Raises:
        InputError: A file cannot be read.
    """
    try:
        return loaded(experiment.task, experiment.size, experiment.largest.multiple)
    except InputError as error:
        raise InputError(f"task: {error}") from None


def _check_task(experiment: Experiment, pictures: Iterable[Picture]) -> None:
    """Raise InputError unless the task can be posed with all pictures. Noise always can."""
    if isinstance(experiment.task, Denoise):
        return
    from dipstage.randomness import Streams
    from dipstage.tasks.problem import check_problem

    task = loaded_task(experiment)
    for picture in pictures:
        truth = picture.tensor()
        try:
            problem = task.observe(truth, Streams(picture.digest, experiment.seeds[0]))
            check_problem(problem, truth, experiment.largest)
        except InputError as error:
            raise InputError(f"task on {picture.name}: {error}") from None


def refuse_early_end(experiment: Experiment) -> None:
    """Raise InputError if trainings may end before the maximum that is optimised.

    Runs of earlier versions may have such an experiment. They stay readable and go on.
    """
    if experiment.objective.metric == "ssim" and experiment.trainer.oracle_stop is not False:
        raise InputError(
            "objective.metric is ssim, and trainer.oracle_stop ends trainings by their PSNR_GT, "
            "perhaps before the maximum of SSIM_GT: set trainer.oracle_stop to false"
        )


def load_candidates(experiment: Experiment) -> list[Candidate]:
    """Load the candidates, with their schedules rescaled to the experiment's budget and noise.

    Raises:
        InputError: A candidate cannot be read or used, or `no_gain` needs plain DIP among them.
    """
    budget, sigma_255 = experiment.trainer.iterations, experiment.task.noise_255
    candidates = []
    for entry in experiment.candidates:
        if is_preset(entry):
            schedule = preset_schedule(entry, budget)
            origin = used_elsewhere(measured_on(entry), experiment.task) or None
            candidates.append(Candidate(entry, schedule, origin=origin))
            continue
        if is_published(entry):
            if experiment.size is None:
                raise InputError(f"candidates: {entry} is chosen by the size of pictures: set size")
            name, file = entry, published(entry, experiment.size, sigma_255).file
        else:
            if not Path(entry).is_absolute():
                known = ", ".join((*PRESETS, *ENDPOINTS))
                raise InputError(
                    f"candidates: unknown preset {entry!r}: choose one of {known}, or write the "
                    f"path of a schedule file, such as ./{entry}.yaml"
                )
            name, file = Path(entry).stem, read_schedule_file(Path(entry))
        origin = file.origin(budget, sigma_255)
        words = used_elsewhere(file.of_task, experiment.task)
        origin = "; ".join(filter(None, [origin, words]))
        candidates.append(Candidate(name, file.rescaled(budget, sigma_255), origin=origin))
    for candidate in candidates:
        scales = candidate.schedule.recipe.scales
        side = experiment.size or experiment.largest.multiple
        if scales is not None and side % 2**scales:
            raise InputError(
                f"candidates: {candidate.name} was searched with {scales} scales, for pictures "
                f"whose sides are multiples of {2**scales}: set size to one"
            )
        if candidate.name.startswith(("trial ", "plain ")):
            raise InputError(
                f"candidates: the name {candidate.name!r} is reserved for trials: rename the file"
            )
        if candidate.name.isascii() and candidate.name.isdecimal():
            raise InputError(
                f"candidates: the name {candidate.name!r} would mean the trial of that number: "
                "rename the file"
            )
    doubled = [name for name, n in Counter(c.name for c in candidates).items() if n > 1]
    if doubled:
        raise InputError(f"candidates: two have the name {doubled[0]}: rename a file")
    objective = experiment.objective
    needs_plain = experiment.search.until is not None and not objective.has_reference
    if needs_plain and not any(candidate.schedule.is_plain for candidate in candidates):
        raise InputError(
            "search.until.no_gain needs plain DIP where the objectives are not PSNR_GT and "
            f"iterations, got metric {objective.metric} against {objective.against}: add baseline "
            "to candidates"
        )
    return candidates
