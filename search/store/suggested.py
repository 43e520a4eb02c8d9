"""Words of suggested commands: how these name a run, its folder, and other files."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from search.store.folders import is_remote
from search.store.paths import runs_path


def run_words(folder: Path, *, private: bool = False) -> str:
    """Return how a suggested command names the run of a folder; see `runs_dir_flag`."""
    return shlex.quote(folder.name) + runs_dir_flag(folder.parent, private=private)


def runs_dir_flag(runs_dir: Path, *, private: bool = False) -> str:
    """Return ` --runs-dir …` for a suggested command, or nothing for the default.

    Args:
        runs_dir: The folder of runs.
        private: Whether the command is passed on, as in a report. Its readers have another
            environment, so the default is `runs` alone, and private folders are not shown.
    """
    if private and not is_remote(runs_dir):
        is_default = runs_dir.absolute() == Path("runs").absolute()
        return "" if is_default else f" --runs-dir {shown_path(runs_dir) or 'DIR'}"
    is_default = not private and runs_dir == runs_path()
    return "" if is_default else f" --runs-dir {shlex.quote(str(runs_dir))}"


def shown_path(path: Path) -> str | None:
    """Return a path for a command line, from the current folder or from `~`.

    Returns:
        The path, quoted for a shell, or None if it would show private folders.
    """
    path = path.absolute()
    relative = os.path.relpath(path)
    if not relative.startswith(os.path.join("..", "..")) and relative != os.path.join("..", ".."):
        return shlex.quote(relative)
    home = Path.home()
    if path.is_relative_to(home) and home != Path(home.anchor):
        return "~/" + shlex.quote(str(path.relative_to(home)))
    return None
