"""Pictures for the report: recomputed ground truth and observation, and stored outputs.

All pictures are lossless PNG. Only the centre of large pictures is shown. Pictures that do not fit
the report's size are left out, and the report says so.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dipstage.errors import InputError
from dipstage.pictures.images import Picture, expand, load_picture, png
from dipstage.schedules.stopping import Output
from dipstage.terminal.numbers import at, db
from search.experiment.prepare import load_pictures, loaded_task
from search.report.fitting import size
from search.store.records import Trial
from search.store.replicate import Replicate, ReplicateKey
from search.store.run import RunRecord

if TYPE_CHECKING:
    from dipstage.tasks.problem import Task
    from search.verification.result import Verification

SIDE = 256
"""Maximum side of shown pictures, in pixels; larger pictures are cut to their centre."""


@dataclass(frozen=True)
class Source:
    """Source of a group of pictures.

    Args:
        run: Run that holds the pictures.
        title: Words that name the source; empty for the search.
        trials: Trials of the run by the numbers of the corresponding trials of the search.
        plain: Plain DIP among the run's trials; None if there is none.
    """

    run: RunRecord
    title: str
    trials: dict[int, Trial]
    plain: Trial | None


@dataclass
class Gallery:
    """Pictures as plain data, notes on those that are left out, and why ground truths are missing.

    Args:
        missing: Run, label and reason of each ground truth that is not shown. Reasons may name
            folders, so they are not for the page.
        has_outputs: Whether the output of a trial could be read. It may not fit.
        whole: Whether everything fits.
    """

    groups: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[tuple[str, str, str]] = field(default_factory=list)
    has_outputs: bool = False
    whole: bool = True


def sources(
    run: RunRecord, records: list[Trial], plain: Trial | None, verification: Verification | None
) -> list[Source]:
    """Return the sources of the search's pictures and of its verification's."""
    trials = {trial.number: trial for trial in records if trial.replicates}
    found = [Source(run, "", trials, plain)]
    if verification is not None:
        held = {
            number: trial
            for role in ("found", "candidate")
            for trial in verification.of_role(role)
            if (number := verification.source(trial)) is not None
        }
        words = "verification" if verification.plan.seen else "held out"
        found.append(Source(verification.held_out, words, held, verification.plain))
    return found


def gather(
    found: Sequence[Source],
    first: Sequence[int],
    output: Output,
    room: int,
    images: Sequence[str] = (),
) -> Gallery:
    """Return as many pictures as fit.

    The trials in `first` come first, in their order, followed by the others, up to the first
    picture that does not fit. A group is left out entirely if its ground truth, observation, plain
    DIP and first trial do not fit together.

    Args:
        found: Sources of the pictures.
        first: Numbers of the trials that take precedence.
        output: Output of which the scores are given.
        room: Available size in bytes.
        images: Pictures that are not where the experiment says.

    Raises:
        InputError: If one of `images` cannot be read.
    """
    _refuse_foreign(found, images)
    gallery = Gallery()
    made = [(source, group) for source in found for group in _groups(source, gallery, images)]
    kept: list[tuple[Source, dict[str, Any]]] = []
    for source, group in made:
        if source.plain is not None:
            group["plain"] = _output(source, source.plain, group, output, gallery)
        for number in first[:1]:
            _add(source, number, group, output, gallery)
        if (needed := size(group)) > room:
            gallery.whole = False
            continue
        room -= needed
        kept.append((source, group))
    others = sorted({n for source, _ in kept for n in source.trials} - set(first))
    gallery.whole &= _fill(kept, [*first[1:], *others], output, gallery, room)
    gallery.groups = [group for _, group in kept if group["outputs"] or group["truth"]]
    if not gallery.whole:
        gallery.has_outputs = gallery.has_outputs or _find_output(made, output, gallery)
        gallery.notes.append(
            "Not all pictures fit this file; the others lie in the run's folder, in pictures/."
        )
    return gallery


def _find_output(
    made: list[tuple[Source, dict[str, Any]]], output: Output, gallery: Gallery
) -> bool:
    """Return whether there is any output of a trial that can be read."""
    return any(
        _output(source, trial, group, output, gallery)
        for source, group in made
        for trial in source.trials.values()
    )


def _fill(
    kept: list[tuple[Source, dict[str, Any]]],
    numbers: Sequence[int],
    output: Output,
    gallery: Gallery,
    room: int,
) -> bool:
    """Add the trials' pictures up to the first that does not fit; return whether all fit."""
    for number in numbers:
        for source, group in kept:
            _add(source, number, group, output, gallery)
            if number not in group["outputs"]:
                continue
            room -= size({number: group["outputs"][number]})
            if room < 0:
                del group["outputs"][number]
                return False
    return True


def _groups(source: Source, gallery: Gallery, images: Sequence[str]) -> list[dict[str, Any]]:
    """Return a group without outputs for each picture with the first seed."""
    run = source.run
    experiment = run.experiment
    seed = experiment.seeds[0]
    digests = run.attributes.pictures
    loaded = _loaded(run, gallery, images)
    task = loaded_task(experiment) if loaded else experiment.task
    groups = []
    for label in dict.fromkeys([*digests, *loaded]):
        group: dict[str, Any] = {
            "title": ", ".join(filter(None, [label, source.title, f"seed {seed}"])),
            "key": str(ReplicateKey(label, seed)),
            "truth": None, "observation": None, "plain": None, "outputs": {},
        }  # fmt: skip
        picture = loaded.get(label)
        if picture is not None and digests.get(label, picture.digest) == picture.digest:
            truth, noisy, psnr = _observed(picture, task, seed)
            group["truth"] = {"src": _url(png(truth))}
            group["observation"] = {
                "src": _url(png(noisy)),
                "words": "" if psnr is None else f"{db(psnr)} dB",
            }
        elif picture is not None:
            gallery.notes.append(
                f"{label} is not the picture that it was when the run began, so its ground truth "
                "and observation are not shown."
            )
            gallery.missing.append((run.name, label, f"{picture.name} has changed"))
        groups.append(group)
    return groups


def _loaded(run: RunRecord, gallery: Gallery, images: Sequence[str]) -> dict[str, Picture]:
    """Return the pictures of a run by label: from where its experiment says, else of `images`."""
    labels = {digest: label for label, digest in run.attributes.pictures.items()}
    found = {labels[p.digest]: p for p in _named(run, images) if p.digest in labels}
    if labels and len(found) == len(labels):
        return found
    try:
        return load_pictures(run.experiment) | found
    except InputError as error:
        gallery.notes.append(
            "The ground truth is not where the experiment says, so neither it nor the observation "
            "is shown."
        )
        for label in labels.values():
            if label not in found:
                gallery.missing.append((run.name, label, str(error)))
        return found


def _refuse_foreign(found: Sequence[Source], images: Sequence[str]) -> None:
    """Raise InputError for a name or pattern that gives no picture of these sources."""
    digests = {digest for source in found for digest in source.run.attributes.pictures.values()}
    for named in images if digests else ():
        given = [picture.digest for source in found for picture in _named(source.run, [named])]
        if digests.isdisjoint(given):
            raise InputError(f"--images {named} gives no picture of the run: its pixels are others")


def _named(run: RunRecord, images: Sequence[str]) -> list[Picture]:
    experiment = run.experiment
    return [
        load_picture(name, size=experiment.size, multiple=experiment.largest.multiple)
        for name in expand(list(images))
    ]


def _observed(picture: Picture, task: Task, seed: int) -> tuple[Any, Any, float | None]:
    """Return ground truth and observation, cut to the shown part, and the PSNR_GT."""
    from dipstage.randomness import Streams

    problem = task.observe(picture.tensor(), Streams(picture.digest, seed))
    noisy = problem.picture[0].numpy()
    error = float(np.mean((noisy.astype(np.float64) - picture.pixels) ** 2))
    psnr = -10 * math.log10(error) if error > 0 else None  # JSON has no infinity.
    return _centre(picture.pixels), _centre(noisy), psnr


def _centre(pixels: Any) -> Any:
    height, width = pixels.shape[-2:]
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    return pixels[..., top : top + SIDE, left : left + SIDE]


def _add(
    source: Source, number: int, group: dict[str, Any], output: Output, gallery: Gallery
) -> None:
    trial = source.trials.get(number)
    shown = _output(source, trial, group, output, gallery) if trial else None
    if shown is not None:
        group["outputs"][number] = shown


def _output(
    source: Source, trial: Trial, group: dict[str, Any], output: Output, gallery: Gallery
) -> dict[str, Any] | None:
    """Return the output of a trial that the run kept, with its score; None if it kept none."""
    replicate = trial.replicates.get(group["key"])
    try:
        content = source.run.picture(trial, group["key"])
        if content is None or replicate is None:
            return None
        shown = _cut(content)
    except (InputError, OSError, ValueError, SyntaxError, Warning) as error:
        gallery.notes.append(f"A picture of {trial.name} cannot be shown: {type(error).__name__}.")
        return None
    gallery.has_outputs = True
    return {"src": _url(shown), "name": trial.name, "words": _score(replicate, output)}


def _score(replicate: Replicate, output: Output) -> str:
    """Return PSNR_GT and iteration of the kept output: the one that the rule selected, if any."""
    selected = replicate.selected
    if selected is None:
        scores = replicate.scores(output)
        return at(scores.max_psnr_gt_db, scores.steps_to_max, censored=bool(scores.censored))
    return at(
        selected.psnr_gt_raw_db if output == "raw" else selected.psnr_gt_smoothed_db,
        selected.iteration if output == "raw" else selected.iteration_smoothed,
        censored=replicate.censored(output),
    )


def _cut(content: bytes) -> bytes:
    """Return a small PNG unchanged or the centre of a large one; reject other formats."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        width, height = image.size
        if max(width, height) <= SIDE:
            image.verify()
            return content
        if width * height > 100_000_000:
            raise ValueError("too large")
        left, top = max(0, (width - SIDE) // 2), max(0, (height - SIDE) // 2)
        cut = image.crop((left, top, min(left + SIDE, width), min(top + SIDE, height)))
        buffer = io.BytesIO()
        cut.save(buffer, format="PNG")
        return buffer.getvalue()


def _url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()
