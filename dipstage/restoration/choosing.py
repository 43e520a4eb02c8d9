"""Checks and choices of `restore`: task, noise, schedule, input noise and stopping rule."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from dipstage.arguments import check_number
from dipstage.errors import InputError
from dipstage.schedules.named import file_of, schedule_of
from dipstage.schedules.presets import is_preset, measured_on
from dipstage.schedules.published import Published, is_published, nearest_published, published
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import ScheduleFile, read_schedule_file
from dipstage.schedules.stopping import MAX_ITERATIONS, FullBudget, StoppingRule, VarianceMinimum
from dipstage.tasks.denoise import Denoising
from dipstage.tasks.problem import Problem
from dipstage.tasks.super_resolve import FACTORS

TaskName: TypeAlias = Literal["denoise", "inpaint", "super_resolve"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
StopName: TypeAlias = Literal["emv", "wmv", "none"]
STOPS: tuple[StopName, ...] = get_args(StopName)


def check_task(task: TaskName, sigma_255: float | None, mask: object, factor: int | None) -> None:
    """Raise InputError for what a task lacks or does not take."""
    if sigma_255 is not None:
        check_number("sigma", sigma_255)
        if not 0.001 <= sigma_255 <= 1000:
            raise InputError(f"sigma must be from 0.001 to 1000, got {sigma_255}")
    if task == "inpaint" and mask is None:
        raise InputError("task inpaint needs a mask: white marks known pixels, black missing ones")
    if task == "super_resolve" and factor is None:
        raise InputError("task super_resolve needs a factor: 2 or 4")
    if task != "inpaint" and mask is not None:
        raise InputError(f"task {task} takes no mask: choose task inpaint")
    if task != "super_resolve" and factor is not None:
        raise InputError(f"task {task} takes no factor: choose task super_resolve")
    if factor is not None and factor not in FACTORS:
        raise InputError(f"factor must be 2 or 4, got {factor}")
    if task == "super_resolve" and sigma_255 is not None:
        raise InputError("task super_resolve takes no sigma: restore the noise first")


def estimated_sigma_255(pixels: NDArray[np.float32]) -> float:
    """Return the standard deviation of Gaussian noise on the 0 to 255 scale.

    By `skimage.restoration.estimate_sigma`: the median of the finest diagonal details of a wavelet
    transform (Donoho and Johnstone 1994).

    Args:
        pixels: (H, W, C) in [0, 1].

    Returns:
        The mean over the channels that have such details: not those that are flat, such as the
        blue one of a picture in shades of yellow. 0 if there are none.
    """
    from skimage.restoration import estimate_sigma

    flat = np.ptp(pixels, axis=(0, 1)) == 0
    with warnings.catch_warnings(action="ignore"):  # Of the mean of no details, which is NaN.
        found = np.array(estimate_sigma(pixels, channel_axis=-1))[~flat]
    found = found[np.isfinite(found)]
    return float(255 * found.mean()) if found.size else 0.0


def noise_to_fit_255(problem: Problem) -> float | None:
    """Return the estimated noise of an observation; None for other tasks than denoising."""
    if not isinstance(problem, Denoising):
        return None
    return estimated_sigma_255(problem.picture[0].movedim(0, -1).numpy()) or None


def input_noise_std(sigma_255: float) -> float:
    """Return the noise of the network's input that suits a noise: 1/30 at 25 and 1/20 at 50.

    These are the values of the official denoising example; a power of sigma joins them.
    """
    return float((sigma_255 / 25) ** math.log2(1.5) / 30)


FITTED_MARGIN_DB = 0.3
"""The picture counts as fitted once the mean squared error is within 7 % of the noise's."""


def stopping_rule(name: StopName, iterations: int, sigma_255: float | None = None) -> StoppingRule:
    """Return the rule of a name for a budget.

    The patience is a tenth of the budget, at least 150 iterations. If the noise is known, minima
    count from the iteration of the last stage at which the raw output is as far from the
    observation as the noise (see `FITTED_MARGIN_DB`), from 50 iterations on, and at the latest from
    half of the budget on. If it is not, a quarter of the budget is ignored, at most 200 iterations.

    Args:
        name: `emv`, `wmv` or `none`.
        iterations: The budget.
        sigma_255: Noise of the observation, if the task is `denoise`.
    """
    patience = max(iterations // 10, 150)
    if name == "none":
        return FullBudget(patience)
    if sigma_255 is None:
        return VarianceMinimum(name, patience, min(iterations // 4, 200))
    fitted_db = 20 * math.log10(255 / sigma_255) - FITTED_MARGIN_DB
    return VarianceMinimum(name, patience, min(iterations // 4, 50), fitted_db, iterations // 2)


def lengthened(file: ScheduleFile, sigma_255: float | None) -> int:
    """Return the budget of a schedule file for a picture with less noise than it was measured on.

    The less noise there is, the later the maximum of PSNR_GT comes: the budget grows with the root
    of the ratio of the two noises (see docs/restore.md). It stays if the noise is not known.
    """
    measured, own = file.measured, file.schedule.iterations
    if measured is None or not sigma_255:
        return own
    ratio = max(measured.sigma_255 / sigma_255, 1)
    return min(round(own * math.sqrt(ratio)), MAX_ITERATIONS)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A schedule, what it was chosen by, its file, and what was published about it."""

    schedule: Schedule
    name: str
    file: ScheduleFile | None = None
    published: Published | None = None

    @property
    def measured_on(self) -> dict[str, Any] | None:
        """The task on which it was measured, as plain data; None if that is unknown."""
        if self.file is not None:
            return self.file.of_task
        return measured_on(self.name) if is_preset(self.name) else None


def chosen_schedule(
    asked: str | Path | Schedule, task: TaskName, sides: tuple[int, int], sigma_255: float | None,
    iterations: int | None,
) -> Chosen:  # fmt: skip
    """Return the schedule that is asked for; this is the one place that decides what `auto` is.

    For denoising, `auto` is the published schedule for the nearest size and noise, `best` rather
    than `fast` where both are as near. It is plain DIP, `baseline`, if nothing is published and
    for other tasks.

    Args:
        asked: `auto`, a preset, `fast`, `best`, the path of a schedule file, or a schedule.
        task: The task.
        sides: Height and width of the restored picture.
        sigma_255: Noise of the picture, if it is known.
        iterations: The budget; None for that of the schedule's file (see `lengthened`), else 2000.

    Raises:
        InputError: There is no such schedule, or the budget is too small for it.
    """
    if isinstance(asked, Schedule):
        given = asked if iterations is None else asked.rescaled(iterations)
        return Chosen(given, "the given schedule")
    if not isinstance(asked, str | Path):
        raise InputError(
            f"schedule must be a name, the path of a file or a Schedule, got a "
            f"{type(asked).__name__}"
        )
    size = max(round(math.sqrt(sides[0] * sides[1])), 1)
    name = str(asked)
    file: ScheduleFile | None = None
    found: Published | None = None
    if isinstance(asked, Path):
        file = read_schedule_file(asked)
    elif asked == "auto":
        name = "baseline"
        found = nearest_published(size, sigma_255) if task == "denoise" else None
    elif is_published(asked):
        found = published(asked, size, sigma_255)
    else:
        file = file_of(asked, "auto")
    if found is not None:
        name, file = found.name, found.file
    if iterations is None and file is not None:
        iterations = lengthened(file, sigma_255)
    return Chosen(schedule_of(name, file, iterations, sigma_255), name, file, found)
