"""Distributed search for better training schedules of staged Deep Image Prior."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.driver import launch as launch
    from search.driver import resume as resume
    from search.experiment import Experiment as Experiment
    from search.experiment import load_experiment as load_experiment
    from search.run import Run as Run

# In a notebook tqdm, which Optuna and Ray import, asks for widgets that nothing here shows.
warnings.filterwarnings("ignore", message="IProgress not found")

# As in dipstage: `import search` must not wait for ray.
_HOMES = {
    "Experiment": "experiment",
    "load_experiment": "experiment",
    "launch": "driver",
    "resume": "driver",
    "Run": "run",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"search.{_HOMES[name]}"), name)
