"""Versions of everything that a result depends on, without importing any of it."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("dipsearch", "torch", "ray", "optuna", "numpy", "scikit-image")


def versions() -> dict[str, str]:
    """By package name, Python among them."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        # A worker may run the code without having it installed as a package.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
