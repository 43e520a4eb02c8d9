"""The schedule, the task and the network that options ask for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from dipstage.errors import InputError

if TYPE_CHECKING:
    from dipstage.schedules.published import Published
    from dipstage.schedules.schedule_file import Measured, ScheduleFile
    from dipstage.schedules.settings import TrainerSettings
    from dipstage.tasks.problem import Task


def published_for(name: str, image: str, size: int | None, sigma: float | None) -> Published | None:
    """Return the published schedule for a picture; None for a preset or a file."""
    from dipstage.schedules.published import is_published, published

    if not is_published(name):
        return None
    if size is None:
        from dipstage.pictures.images import load_picture

        size = round(math.sqrt(math.prod(load_picture(image, multiple=1).pixels.shape[1:])))
    return published(name, size, sigma)


def task_asked(text: str | None, sigma: float | None, measured: Measured | None) -> Task:
    """Return the task of `--task` and `--sigma`.

    Args:
        text: Value of `--task`; None for the task that the schedule file was measured on, or else
            Gaussian denoising.
        sigma: Value of `--sigma`; None for the task's own noise.
        measured: What the schedule file says.

    Raises:
        InputError: A value is wrong, or the file's task reads files that only its run had.
    """
    from dipstage.tasks.registry import parse_task, task_files, task_of

    if text is not None or measured is None:
        task = parse_task(text or "denoise")
    else:
        task = task_of(measured.of_task)
        for key, name in task_files(task).items():
            raise InputError(
                f"the schedule was measured with {key} {name}: give --task {task.kind}:{key}=FILE"
            )
    if sigma is None:
        return task
    if text is not None and "sigma_255=" in text:
        raise InputError(f"--sigma {sigma:g} and sigma_255 in --task are both given: keep one")
    if not hasattr(task, "sigma_255"):
        raise InputError(f"--sigma: the task {task.kind} has no sigma_255")
    changed: Task = replace(task, sigma_255=sigma)  # type: ignore[type-var]
    return changed


def settings_asked(example: str | None, measured: Measured | None) -> TrainerSettings:
    """Return the trainer's settings before those of the schedule's recipe.

    Args:
        example: Value of `--example`, which gives the network, its learning rate and input noise.
        measured: What the schedule file says.

    Raises:
        InputError: There is no such example.
    """
    from dipstage.schedules.examples import NETWORK
    from dipstage.schedules.examples import example as official
    from dipstage.schedules.settings import TrainerSettings

    settings = measured.trainer if measured else TrainerSettings()
    if example is None:
        return settings
    taken = official(example)
    names = (*NETWORK, "learning_rate", "input_noise_std")
    return replace(settings, **{name: getattr(taken, name) for name in names})


def notice_of_task(name: str, file: ScheduleFile | None, task: Task) -> str:
    """Return a notice if a schedule was measured on another task; empty otherwise."""
    from dipstage.schedules.presets import measured_on
    from dipstage.tasks.registry import used_elsewhere

    words = used_elsewhere(measured_on(name) if file is None else file.of_task, task)
    return words and f"{name} was {words}"
