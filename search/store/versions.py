"""Versions of everything that a result depends on, without importing any of it."""

from __future__ import annotations

import functools
import hashlib
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NUMBERS_DEPEND_ON = ("dipsearch", "dipstage", "torch", "numpy", "scikit-image")
"""Packages that decide what a training run gives; `dipstage` stands for its code, by content."""
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
    """Hexadecimal digest of the code that trains: each module of `dipstage`, name and content."""
    import dipstage

    digest = hashlib.sha256()
    for path in sorted(Path(dipstage.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
