"""The programs dipsearch and dipstage, started only if Python finds the packages beside this file.

A user's `search.py`, or another package of that name, can hide one of them. This module has a name
that is less common, so that it can say so. `python -m dipsearch` is dipsearch.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

_HERE = Path(__file__).resolve().parent


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
    """Exit with one sentence if Python would import other modules than the packages."""
    for name in ("search", "dipstage"):
        ours, spec = _HERE / name / "__init__.py", find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found != ours:
            what = f"{found} hides" if found else "there is no more"
            _end(
                f"{program}: {what} the package {name} of {_HERE}: rename or move that file, or "
                "take its folder out of PYTHONPATH"
            )
        # Packages of one name that are installed beside each other share a folder.
        if "attach_stub" not in ours.read_text():
            _end(
                f"{program}: another package that is installed has replaced {ours}: install "
                "dipsearch in an environment of its own"
            )


def _end(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
