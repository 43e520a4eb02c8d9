"""Played runs with files beside the study: curves that look like DIP's, and pictures."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from fake_runs import KEYS, outcome
from numpy.typing import NDArray

from dipstage.documents.plain_yaml import parse_yaml
from dipstage.images import Pixels, png
from search import Run
from search.execution.ledger import Ledger, Work
from search.experiment.model import validate
from search.experiment.prepare import load_pictures
from search.store.paths import curve_path, picture_path
from search.store.replicate import Replicate, ReplicateKey

Score = Callable[[int], tuple[float, int] | str]


def curve(psnr: float, steps: int, length: int, seed: int) -> NDArray[np.float32]:
    """Rises to exactly `psnr` at `steps`, then falls, with noise below its maximum."""
    at = np.arange(length)
    rise = psnr - 14 * np.exp(-4 * at / max(steps, 1)) - 0.002 * np.maximum(at - steps, 0)
    noisy = rise - 0.05 - np.abs(np.random.default_rng(seed).normal(0, 0.15, length))
    noisy[steps] = psnr
    return np.minimum(noisy, psnr).astype(np.float32)


@functools.cache
def truth_of(text: str, label: str) -> Pixels:
    """A ground truth of an experiment, which is its YAML."""
    return load_pictures(validate(parse_yaml(text, "test"), "test"))[label].pixels


def keep_files(run: Run, number: int, key: str, replicate: Replicate, picture: bool) -> None:
    """What a driver writes of a replicate; not compressed, which is as good to read."""
    length, found = run.experiment.trainer.iterations, {}
    for output in ("raw", "smoothed"):
        scores = replicate.raw if output == "raw" else replicate.smoothed
        best = curve(scores.max_psnr_gt_db, scores.steps_to_max, length, number)
        found[f"psnr_gt_{output}_db"] = best
    buffer = io.BytesIO()
    np.savez(buffer, **found)  # type: ignore[arg-type]
    curve_path(run.folder, number, key).write_bytes(buffer.getvalue())
    if picture:
        truth = truth_of(run.experiment.yaml(), ReplicateKey.parse(key).picture)
        noise = np.random.default_rng(number).normal(0, 0.05, truth.shape)
        path = picture_path(run.folder, number, key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png((truth + noise).astype(np.float32)))


def record(
    run: Run, ledger: Ledger, work: Work, key: str, score: tuple[float, int], picture: bool = True
) -> None:
    """One finished replicate; the second picture is harder, the second seed luckier, and trials
    differ in how much harder, without moving their means.
    """
    own = 0.02 * (work.number % 5 + 1) * (1 if "camera" in key else -1)
    shift = 1.5 * ("camera" in key) - 0.2 * ("seed1" in key) + own
    scores = outcome(score[0] - shift, score[1])
    keep_files(run, work.number, key, scores, picture and key.endswith("seed0"))
    ledger.record(work.number, key, scores)


def play_with_files(
    run: Run, score: Score, *, keys: list[str] = KEYS, leave: int = 0, pictures: int = 10**9
) -> Run:
    """Play a run through with racing; `leave` trials are left under way with one replicate.

    pictures: of how many trials pictures are kept.
    """
    ledger = Ledger(run.study, run.experiment, keys)
    wanted = run.trials_wanted + run.candidates_wanted
    while (work := ledger.next()) is not None:
        result = score(work.number)
        if isinstance(result, str):
            record(run, ledger, work, keys[0], (20.0, 10), work.number < pictures)
            ledger.finish(work.number, result)
            continue
        for key in keys:
            record(run, ledger, work, key, result, work.number < pictures)
            if work.number >= wanted - leave:
                break
            if ledger.race(work.number):
                ledger.finish(work.number, None)
                break
        else:
            ledger.finish(work.number, None)
        if work.number == wanted - 1:
            break
    return run
