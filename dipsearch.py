"""The programs dipsearch and dipstage, and the public names of `search` under a safe name.

A user's `search.py`, or another package of that name, can hide one of the packages beside this
file. This module has a name that is less common, and imports them from where they are: `from
dipsearch import Run` is `from search import Run`. `python -m dipsearch` is dipsearch.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # Python asks for some, such as `__path__`, before it imports.
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _import_packages()
    return getattr(sys.modules["search"], name)


def __dir__() -> list[str]:
    _import_packages()
    return [*globals(), *dir(sys.modules["search"])]


def main() -> None:
    """Run dipsearch."""
    _check_packages("dipsearch")
    from search.cli import main as run

    run(prog_name="dipsearch")


def dipstage() -> None:
    """Run dipstage."""
    _check_packages("dipstage")
    from dipstage.terminal.cli import main as run

    run(prog_name="dipstage")


def _check_packages(program: str) -> None:
    """Import the packages, or exit with one sentence."""
    try:
        _import_packages()
    except ImportError as error:
        print(f"{program}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _import_packages() -> None:
    """Import both packages from beside this file, whatever Python would find first.

    Raises:
        ImportError: If another module of that name was imported before, or has replaced a package.
    """
    for name in ("dipstage", "search"):
        ours = _HERE / name / "__init__.py"
        if (loaded := sys.modules.get(name)) is not None:
            found = getattr(loaded, "__file__", None)
            if found is None or Path(found).resolve() != ours:
                raise ImportError(
                    f"{found or 'another module'} was imported before and hides the package {name} "
                    f"of {_HERE}: rename that file, or import from dipsearch first"
                )
            continue
        # Packages of one name that are installed beside each other share a folder.
        if not ours.exists() or "attach_stub" not in ours.read_text():
            raise ImportError(
                f"another package that is installed has replaced {ours}: install dipsearch in an "
                "environment of its own"
            )
        spec = spec_from_file_location(name, ours, submodule_search_locations=[str(ours.parent)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


if __name__ == "__main__":
    main()
