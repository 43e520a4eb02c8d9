"""A module of the user, or another package, that has the name of one of ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(folder: Path, *arguments: str, paths: tuple[Path, ...]) -> tuple[int, str, str]:
    """Exit code, output and errors of Python in a folder, with these paths before all others."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", ["main", "dipstage"])
@pytest.mark.parametrize("name", ["search", "dipstage"])
def test_a_hidden_package_is_one_sentence_of_the_commands(
    tmp_path: Path, program: str, name: str
) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text("print('run')\n")
    call = f"import dipsearch; dipsearch.{program}()"
    code, output, errors = python(tmp_path, "-c", call, paths=(tmp_path, ROOT))
    assert (code, output) == (2, "")
    assert errors.endswith(
        f": {file} hides the package {name} of {ROOT}: rename or move that file, or take its "
        "folder out of PYTHONPATH\n"
    )
    assert errors.count("\n") == 1


def test_a_hidden_package_is_one_sentence_of_an_import(tmp_path: Path) -> None:
    file = tmp_path / "dipstage.py"
    file.write_text("")
    _, _, errors = python(tmp_path, "-c", "from search import Run", paths=(tmp_path, ROOT))
    *_, last = errors.splitlines()
    assert last == f"ImportError: {file} hides the package dipstage: rename or move that file"


def test_a_package_that_another_one_replaced_is_one_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dipsearch.py", tmp_path)
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "__init__.py").write_text("# Another package.\n")
    code, output, errors = python(tmp_path, "-m", "dipsearch", paths=(tmp_path,))
    assert (code, output) == (2, "")
    assert "another package that is installed has replaced" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("module", ["dipsearch", "search", "dipstage"])
def test_the_programs_run_as_modules(tmp_path: Path, module: str) -> None:
    code, output, _ = python(tmp_path, "-m", module, "--version", paths=(ROOT,))
    assert code == 0
    assert output.startswith("dipstage, " if module == "dipstage" else "dipsearch, ")
