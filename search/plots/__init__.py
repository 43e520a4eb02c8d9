"""The figures of a run, each a function that returns a matplotlib figure.

They use no pyplot and leave matplotlib's settings as they were; `search.plots.style` has the two
styles. Imported when first used, as matplotlib takes its time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.plots.attainment import plot_attainment as plot_attainment
    from search.plots.curves import plot_curves as plot_curves
    from search.plots.front import plot_front as plot_front
    from search.plots.importance import plot_importance as plot_importance
    from search.plots.schedules import plot_schedules as plot_schedules
    from search.plots.style import Plot as Plot

_HOMES = {
    "plot_attainment": "attainment",
    "plot_curves": "curves",
    "plot_front": "front",
    "plot_importance": "importance",
    "plot_schedules": "schedules",
    "Plot": "style",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"search.plots.{_HOMES[name]}"), name)
