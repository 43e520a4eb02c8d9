"""Names that have changed or gone. The old ones are still read, with a notice of one line."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any


class FormerName(FutureWarning):
    """A former name was given; the command lines print it as a notice."""


def warn_former_name(former: str, current: str) -> None:
    """Say that what was given as `former` is now called `current`."""
    warnings.warn(f"{former} is now called {current}", FormerName, stacklevel=3)


def warn_no_effect(former: str, reason: str) -> None:
    """Say that `former`, which older versions knew, is ignored."""
    warnings.warn(f"{former} has no effect: {reason}", FormerName, stacklevel=3)


def former_names(kind: Any) -> dict[str, str]:
    """Current names of the fields of a dataclass by their former ones."""
    return {
        each.metadata["formerly"]: each.name for each in fields(kind) if "formerly" in each.metadata
    }
