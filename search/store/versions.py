"""Versions of the packages that results depend on, found without importing the packages."""

from __future__ import annotations

import functools
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from search.store.code import digest_of

NUMBERS_DEPEND_ON = ("dipsearch", "dipstage", "torch", "numpy", "scikit-image")
"""Packages that affect the numbers of a training run; `dipstage` stands for its code digest."""
_PACKAGES = ("dipsearch", "torch", "ray", "optuna", "numpy", "scikit-image")


def versions() -> dict[str, str]:
    """Return the version of Python and of each installed package, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        # A worker may run the code although it is not installed as a package.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@functools.cache
def code_digest() -> str:
    """Hexadecimal digest of the code that computes numbers (see `search.store.code`)."""
    import dipstage

    return digest_of(Path(dipstage.__file__).parent)
