"""Schedules by their names: presets, and the paths of schedule files."""

from __future__ import annotations

from dipstage.documents.whole_files import file_path
from dipstage.errors import InputError
from dipstage.schedules.presets import PRESETS, is_preset, parse_preset
from dipstage.schedules.published import ENDPOINTS
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import ScheduleFile, read_schedule_file
from dipstage.schedules.settings import TrainerSettings


def file_of(name: str, *others: str) -> ScheduleFile | None:
    """Return the schedule file of a name; None for a preset.

    Args:
        name: A preset or a path.
        others: Further names that the caller takes, for the message.

    Raises:
        InputError: There is no such schedule, or the file cannot be read.
    """
    if is_preset(name):
        return None
    path = file_path(name, f"schedule {name!r}")
    if not name or (not path.suffix and not path.exists()):
        known = ", ".join((*others, *ENDPOINTS, *PRESETS))
        raise InputError(f"unknown schedule {name!r}: choose {known}, or a schedule file")
    return read_schedule_file(path)


def schedule_of(
    name: str, file: ScheduleFile | None, iterations: int | None, sigma_255: float | None
) -> Schedule:
    """Return the schedule of a file for the budget and noise, or else that of the preset `name`.

    Args:
        name: The preset, unless there is a file.
        file: What a schedule file holds.
        iterations: The budget; None for the file's, and 2000 for a preset.
        sigma_255: Noise of the observation; None for the file's.

    Raises:
        InputError: The budget is too small for the schedule.
    """
    if file is not None:
        return file.rescaled(iterations, sigma_255)
    budget = TrainerSettings().iterations if iterations is None else iterations
    return parse_preset(name).schedule(budget)
