"""Pictures and seeds that the search has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dipstage.errors import InputError
from dipstage.pictures.images import SKIMAGE_PICTURES, Picture, expand
from search.experiment.model import MAX_SEEDS
from search.experiment.prepare import load_pictures
from search.store.run import RunRecord
from search.verification.declared import load_plan
from search.verification.parts import CONFIRMATION, HELD_OUT, has_scores, part

PICTURES = 4


def names_of(images: Sequence[str]) -> list[str]:
    """Return pictures with globs replaced and paths made absolute."""
    return [
        name if name.startswith("skimage:") else str(Path(name).absolute())
        for name in expand(list(images))
    ]


def _seen_seeds(run: RunRecord) -> set[int]:
    """Return the seeds of the search and of the runs that it learned from."""
    return set(run.experiment.seeds).union(*(each.seeds for each in run.attributes.learned))


def seen_pictures(run: RunRecord) -> set[str]:
    """Return SHA-256 of the pictures of the search, of runs that it learned from, and so on."""
    attributes = run.attributes
    learned = (each.pictures for each in attributes.learned)
    return {*attributes.pictures.values(), *used_pictures(run)}.union(*learned)


def seeds_of(run: RunRecord, seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds asked for; a number of seeds gives the first that the search left free."""
    if not isinstance(seeds, int):
        if len(seeds) > MAX_SEEDS:
            raise InputError(f"--seeds must be at most {MAX_SEEDS:,} seeds, got {len(seeds):,}")
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise InputError(f"--seeds must be different and not negative, got {list(seeds)}")
        return list(seeds)
    if not 1 <= seeds <= MAX_SEEDS:
        raise InputError(f"--seeds must be from 1 to {MAX_SEEDS:,}, got {seeds:,}")
    first = max(_seen_seeds(run)) + 1
    return list(range(first, first + seeds))


def held_out_images(run: RunRecord) -> list[str]:
    """Return unused pictures of scikit-image, with as many channels as those of the search."""
    experiment = run.experiment
    own = load_pictures(experiment)
    seen = seen_pictures(run)
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
        if len(found) == PICTURES:
            return found
    raise InputError(
        f"scikit-image holds {len(found)} pictures that fit and that the search has not seen: "
        "name others with --images"
    )


def refuse_seen(
    run: RunRecord, seeds: Sequence[int], pictures: dict[str, Picture], allowed: bool | None
) -> list[str] | None:
    """Return what the search or an earlier step has seen, in words; None for nothing.

    allowed: Whether that is allowed; None if it cannot be.

    Raises:
        InputError: Something was seen, and that is not allowed, or one of the pictures is a copy
            of another.
    """
    known = seen_pictures(run)
    names = [picture.name for picture in pictures.values() if picture.digest in known]
    names += _stored_again(run, pictures, known)
    again = sorted(set(seeds) & _seen_seeds(run))
    words = [f"pictures {', '.join(names)}"] if names else []
    words += [f"seeds {', '.join(map(str, again))}"] if again else []
    if words and not allowed:
        otherwise = "" if allowed is None else ", or use --allow-seen; every output then says so"
        raise InputError(
            f"the search or an earlier step has seen {'; '.join(words)}: choose others{otherwise}"
        )
    _refuse_copies(pictures)
    return words or None


def _stored_again(run: RunRecord, pictures: dict[str, Picture], known: set[str]) -> list[str]:
    """Return the pictures that are copies of used ones, such as a JPEG of a PNG.

    These are the pictures of the search, of its confirmation and verification, and of runs that it
    learned from, which have other digests at another size. Pictures that may be copies get a
    notice.
    """
    from dipstage.pictures.likeness import SAME, SIMILAR, likeness

    own: list[Picture] = []
    used = [run.experiment.images, *(made.experiment.images for made in _scored_parts(run))]
    for images in (*used, *(each.images for each in run.attributes.learned)):
        # Where pictures have moved, nothing can be compared with them.
        with suppress(InputError):
            others = run.experiment.model_copy(update={"images": list(images)})
            own += load_pictures(others).values()
    if not own:
        return []
    copies = []
    for label, picture in pictures.items():
        if picture.digest in known:
            continue
        twin = max(own, key=lambda each: likeness(picture.pixels, each.pixels))
        value = likeness(picture.pixels, twin.pixels)
        if value >= SAME:
            copies.append(f"{picture.name} (a copy of {twin.name})")
        elif value >= SIMILAR:
            words = f"{picture.name} is like {twin.name} of the search or an earlier step"
            pictures[label] = _noticed(picture, f"{words}: is it another picture?")
    return copies


def _refuse_copies(pictures: dict[str, Picture]) -> None:
    """Raise InputError if one picture is a copy of another; those that may be get a notice."""
    from dipstage.pictures.likeness import SAME, SIMILAR, likenesses

    labels = list(pictures)
    for i, j, value in likenesses([picture.pixels for picture in pictures.values()]):
        one, other = pictures[labels[i]].name, pictures[labels[j]].name
        if value >= SAME:
            raise InputError(f"images: {other} is a copy of {one}: leave one of them out")
        if value >= SIMILAR:
            notice = f"{other} is like {one}: is it another picture?"
            pictures[labels[j]] = _noticed(pictures[labels[j]], notice)


def _noticed(picture: Picture, notice: str) -> Picture:
    return replace(picture, notices=(*picture.notices, notice))


def used_pictures(run: RunRecord) -> list[str]:
    """Return SHA-256 of the pictures of the confirmation and of verifications so far.

    They count as used from the first score on: it can be read at any time.
    """
    plan = load_plan(run)
    found = set((plan.declared.used or []) if plan and plan.declared else [])
    found |= set((plan.spent or []) if plan else [])
    for made in _scored_parts(run):
        found |= set(made.attributes.pictures.values())
    return sorted(found)


def _scored_parts(run: RunRecord) -> list[RunRecord]:
    """Return the confirmation and the verification, as far as they have scores."""
    parts = (part(run, name) for name in (CONFIRMATION, HELD_OUT))
    return [made for made in parts if made is not None and has_scores(made)]
