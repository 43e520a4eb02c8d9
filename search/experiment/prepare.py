"""Load and check the pictures and candidates of an experiment before anything starts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

from dipstage.documents.published import is_published, published
from dipstage.documents.schedule_file import read_schedule_file
from dipstage.errors import InputError
from dipstage.images import Picture, expand, load_picture
from dipstage.presets import is_preset, parse_preset
from search.experiment.candidate import Candidate
from search.experiment.model import MAX_ENTRIES, Experiment

MAX_REPLICATES = 100_000
"""Maximum number of replicates of a trial: pictures times seeds."""


def load_pictures(experiment: Experiment) -> dict[str, Picture]:
    """Load the pictures, keyed by unique label, in the order of the experiment."""
    names = expand(experiment.images)
    replicates = len(names) * len(experiment.seeds)
    if len(names) > MAX_ENTRIES or replicates > MAX_REPLICATES:
        raise InputError(
            f"images: {len(names)} pictures with {len(experiment.seeds)} seeds are too many: at "
            f"most {MAX_ENTRIES} pictures, and {MAX_REPLICATES:,} replicates of a trial"
        )
    pictures = [
        load_picture(name, size=experiment.size, multiple=experiment.trainer.multiple)
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
    return labelled


def _folded(label: str) -> str:
    """Return what labels must differ in: some disks ignore case and how accents are encoded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())


def load_candidates(experiment: Experiment) -> list[Candidate]:
    """Load the candidates, with their schedules rescaled to the experiment's budget and noise."""
    budget, sigma_255 = experiment.trainer.iterations, experiment.task.sigma_255
    candidates = []
    for entry in experiment.candidates:
        if is_preset(entry):
            try:
                candidates.append(Candidate(entry, parse_preset(entry).schedule(budget)))
            except InputError as error:
                raise InputError(f"candidates: {entry}: {error}") from None
            continue
        if is_published(entry):
            if experiment.size is None:
                raise InputError(f"candidates: {entry} is chosen by the size of pictures: set size")
            found = published(entry, experiment.size, sigma_255)
            origin = found.file.origin(budget, sigma_255)
            schedule = found.schedule(budget, sigma_255)
            candidates.append(Candidate(entry, schedule, origin=origin))
            continue
        if not Path(entry).is_absolute():
            # Not a path, so a mistyped preset: the preset parser's error lists those that exist.
            parse_preset(entry)
        file = read_schedule_file(Path(entry))
        schedule, origin = file.rescaled(budget, sigma_255), file.origin(budget, sigma_255)
        candidates.append(Candidate(Path(entry).stem, schedule, origin=origin))
    for candidate in candidates:
        if candidate.name.startswith(("trial ", "plain ")):
            raise InputError(
                f"candidates: the name {candidate.name!r} is reserved for trials: rename the file"
            )
    doubled = [name for name, n in Counter(c.name for c in candidates).items() if n > 1]
    if doubled:
        raise InputError(f"candidates: two have the name {doubled[0]}: rename a file")
    return candidates
