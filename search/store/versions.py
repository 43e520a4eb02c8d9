"""Versions of everything that a result depends on, without importing any of it."""

from __future__ import annotations

import functools
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from search.store.code import digest_of

NUMBERS_DEPEND_ON = ("dipsearch", "dipstage", "torch", "numpy", "scikit-image")
"""Packages that decide what a training run gives; `dipstage` stands for its code."""
_PACKAGES = ("dipsearch", "torch", "ray", "optuna", "numpy", "scikit-image")


def versions() -> dict[str, str]:
    """By package name, Python among them."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        # A worker may run the code without having it installed as a package.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@functools.cache
def code_digest() -> str:
    """Hexadecimal digest of the code that computes numbers (see `search.store.code`)."""
    import dipstage

    return digest_of(Path(dipstage.__file__).parent)
