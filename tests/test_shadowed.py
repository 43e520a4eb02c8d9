"""A module of the user, or another package, that has the name of one of ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dipsearch
import search

ROOT = Path(__file__).parents[1]


def python(folder: Path, *arguments: str, paths: tuple[Path, ...]) -> tuple[int, str, str]:
    """Exit code, output and errors of Python in a folder, with these paths before all others."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("name", ["search", "dipstage"])
def test_the_programs_and_names_of_dipsearch_find_a_hidden_package(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('run')\n")
    for program in ("dipsearch", "dipstage"):
        function = "main" if program == "dipsearch" else "dipstage"
        call = f"import sys, dipsearch; sys.argv[1:] = ['--version']; dipsearch.{function}()"
        code, output, errors = python(tmp_path, "-c", call, paths=(tmp_path, ROOT))
        assert (code, errors) == (0, "")
        assert output.startswith(f"{program}, ")
    call = "import dipsearch; dipsearch.Run; import search; print(search.__file__)"
    code, output, errors = python(tmp_path, "-c", call, paths=(tmp_path, ROOT))
    assert (code, output, errors) == (0, f"{ROOT / 'search' / '__init__.py'}\n", "")


def test_a_script_called_search_imports_from_dipsearch(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text("from dipsearch import Run\nprint(Run.__module__)\n")
    code, output, errors = python(tmp_path, "search.py", paths=(ROOT,))
    assert (code, output, errors) == (0, "search.api\n", "")


def test_a_module_that_was_imported_before_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "search.py"
    file.write_text("")
    words = (
        f"{file} was imported before and hides the package search of {ROOT}: rename that file, or "
        "import from dipsearch first\n"
    )
    paths = (tmp_path, ROOT)
    call = "import search, dipsearch; dipsearch.main()"
    assert python(tmp_path, "-c", call, paths=paths) == (2, "", f"dipsearch: {words}")
    call = "import search; from dipsearch import Run"
    _, _, errors = python(tmp_path, "-c", call, paths=paths)
    assert errors.endswith(f"ImportError: {words}")


def test_dipsearch_has_every_public_name() -> None:
    names = vars(search)["__all__"]
    assert "Run" in names
    for name in names:
        assert getattr(dipsearch, name) is getattr(search, name)
    assert set(names) <= set(dir(dipsearch))
    with pytest.raises(AttributeError, match="No search attribute Rum"):
        _ = dipsearch.Rum


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
