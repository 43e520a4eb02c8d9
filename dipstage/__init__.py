"""Staged Deep Image Prior: train one picture through a schedule of noised targets, and score it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dipstage.errors import InputError as InputError
    from dipstage.files import ScheduleFile as ScheduleFile
    from dipstage.files import load_schedule as load_schedule
    from dipstage.files import save_schedule as save_schedule
    from dipstage.images import Picture as Picture
    from dipstage.images import load_picture as load_picture
    from dipstage.noise import NoiseLevels as NoiseLevels
    from dipstage.outcome import Outcome as Outcome
    from dipstage.outcome import Stop as Stop
    from dipstage.presets import parse_preset as parse_preset
    from dipstage.randomness import Streams as Streams
    from dipstage.schedules import Family as Family
    from dipstage.schedules import FreeSplit as FreeSplit
    from dipstage.schedules import LogSplit as LogSplit
    from dipstage.schedules import PowerSplit as PowerSplit
    from dipstage.schedules import Schedule as Schedule
    from dipstage.schedules import Stage as Stage
    from dipstage.settings import TrainerSettings as TrainerSettings
    from dipstage.stopping import FullBudget as FullBudget
    from dipstage.stopping import OraclePeak as OraclePeak
    from dipstage.trainer import fit as fit
    from dipstage.trainer import observe as observe

# Names are fetched when asked for: torch takes seconds to import, and `--help` needs none of it.
_HOMES = {
    "InputError": "errors",
    "ScheduleFile": "files",
    "load_schedule": "files",
    "save_schedule": "files",
    "Picture": "images",
    "load_picture": "images",
    "NoiseLevels": "noise",
    "Outcome": "outcome",
    "Stop": "outcome",
    "parse_preset": "presets",
    "Streams": "randomness",
    "Family": "schedules",
    "FreeSplit": "schedules",
    "LogSplit": "schedules",
    "PowerSplit": "schedules",
    "Schedule": "schedules",
    "Stage": "schedules",
    "TrainerSettings": "settings",
    "FullBudget": "stopping",
    "OraclePeak": "stopping",
    "fit": "trainer",
    "observe": "trainer",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"dipstage.{_HOMES[name]}"), name)
