"""Versions of everything that a result depends on, without importing any of it."""

from __future__ import annotations

import platform
from importlib.metadata import version

_PACKAGES = ("dipsearch", "torch", "ray", "optuna", "numpy", "scikit-image")


def versions() -> dict[str, str]:
    """By package name, Python among them."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
