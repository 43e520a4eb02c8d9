"""Sentences that `dipstage restore` prints: what was chosen, its cost, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dipstage.terminal.fitted import FittedTable
from dipstage.terminal.numbers import duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dipstage.pictures.photographs import Photograph
    from dipstage.restoration.choosing import StopName, TaskName
    from dipstage.restoration.restoring import Plan

LONG_S = 300
"""Trainings that take longer are confirmed before they begin."""
_QUICK_SIZE = 256
_LITTLE_NOISE_255 = 10.0
"""Noise below which a notice is shown: with so little noise, detail is easily taken for noise."""


def chosen(
    plan: Plan, given: Photograph, photo: Photograph, sigma: float | None, compared: bool
) -> Iterator[str]:
    """Say what is restored, and what was chosen for it.

    Args:
        plan: The restoration.
        given: The photograph as it was read.
        photo: The same, perhaps smaller.
        sigma: The noise that was asked for; None where it was estimated.
        compared: Whether it is compared with classical methods.
    """
    sides = _sides(photo.pixels)
    if photo.pixels.shape != given.pixels.shape:
        sides += f", made smaller from {_sides(given.pixels)}"
    if plan.sides != photo.pixels.shape[:2]:
        sides += f", enlarged to {plan.sides[1]} × {plan.sides[0]}"
    yield f"photograph: {sides}"
    if plan.missing:
        others = "the others stay as they are" if plan.sigma_255 is None else "all are restored"
        smaller = photo.pixels.shape != given.pixels.shape
        black = "where any of the mask's pixels that one replaces is black" if smaller else ""
        yield (
            f"missing: {plan.missing:.1%} of the pixels ({black or 'black in the mask'}), {others}"
        )
    if plan.sigma_255 is not None:
        how = "estimated" if sigma is None else "as given"
        if sigma is None and photo.pixels.shape != given.pixels.shape:
            how += " in the smaller photograph"
        yield f"noise: sigma {plan.sigma_255:.1f} on the scale from 0 to 255, {how}"
        if plan.sigma_255 < _LITTLE_NOISE_255:
            yield (
                "notice: there is little noise, and the network may remove more detail than noise"
                + ": compare with classical methods (--compare)" * (not compared)
            )
    settings = plan.settings
    yield (
        f"schedule: {plan.schedule_name}, at most {plan.schedule.iterations} iterations, width "
        f"{settings.width}, {settings.scales} scales"
    )
    if plan.evidence:
        yield f"evidence: {plan.evidence}"


def cost(
    plan: Plan, seconds: float, runs: int, at_once: int, device: str, one_thread_s: float | None
) -> str:
    """Say how long the training takes, how much memory, and how runs share the machine.

    Args:
        one_thread_s: How long it takes with one thread, if that was measured.
    """
    from dipstage.schedules.stopping import VarianceMinimum

    at_most = "at most " if isinstance(plan.rule, VarianceMinimum) else ""
    memory = f"{plan.estimated_bytes(at_once) / 1e9:.1f} GB"
    words = f"should take {at_most}{duration(max(seconds, 1))} and about {memory} on {device}"
    if runs > 1:
        together = f"{'all' if at_once == runs else at_once} at the same time"
        words += f", {runs} runs, {together if at_once > 1 else 'one after the other'}"
    if one_thread_s is not None and one_thread_s < seconds:
        words += f"; with --threads 1, as other programs use the cores, {duration(one_thread_s)}"
    longer = max(plan.problem.observation.shape[2:])
    if seconds > LONG_S and longer > _QUICK_SIZE:
        quick = duration(seconds * (_QUICK_SIZE / longer) ** 2)
        words += f"; with --size {_QUICK_SIZE} about {quick}"
    return words + "; Ctrl-C ends it and writes the result so far"


def advice(task: TaskName, stop: StopName, compared: bool, has_stopped: bool) -> Iterator[str]:
    """Say what to do if the result is not as it should be.

    Args:
        stop: The rule that was asked for; `none` does not read sigma.
        has_stopped: Whether the rule was certain of its answer before the budget ended.
    """
    reads_sigma = task == "denoise" and stop != "none"
    if reads_sigma and not has_stopped:
        yield "If it is blurred, raise --iterations; if it is still noisy, raise --sigma."
    elif reads_sigma:
        yield "If it is blurred, lower --sigma; if it is still noisy, raise --sigma."
    else:
        yield "If it is blurred, raise --iterations; if it is grainy, lower --iterations."
    if task == "denoise" and not compared:
        yield "Classical methods are faster and sometimes better: --compare shows their results."


def comparison(
    plan: Plan,
    methods: dict[str, tuple[NDArray[np.float32], float]],
    truth: NDArray[np.float32] | None,
) -> list[dict[str, Any]]:
    """Return the time of each method, and its PSNR if there is a ground truth of its shape."""
    import numpy as np

    rows: list[dict[str, Any]] = []
    unrestored = plan.cropped([plan.problem.picture[0].numpy()])
    for name, (picture, seconds) in {"photograph": (unrestored, None), **methods}.items():
        rows.append({"name": name, "wall_s": seconds})
        if truth is not None:
            mse = float(np.mean((picture.astype(np.float64) - truth) ** 2))
            rows[-1]["psnr_db"] = -10 * math.log10(mse) if mse else math.inf
    return rows


def comparison_table(compared: list[dict[str, Any]]) -> FittedTable:
    """Return the table of times, and of PSNR if there is a ground truth."""
    rows = [
        [
            each["name"],
            _seconds(each["wall_s"]),
            *([f"{each['psnr_db']:.2f}".replace("inf", "∞")] if "psnr_db" in each else []),
        ]
        for each in compared
    ]
    columns = ["", "time (s)"] + (["PSNR (dB)"] if "psnr_db" in compared[0] else [])
    return FittedTable(columns, rows)


def _seconds(wall_s: float | None) -> str:
    if wall_s is None:
        return ""
    return f"{wall_s:.2f}" if wall_s >= 0.01 else "< 0.01"


def _sides(pixels: NDArray[np.float32]) -> str:
    return f"{pixels.shape[1]} × {pixels.shape[0]} pixels"
