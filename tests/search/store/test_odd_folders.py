"""Folders of runs with any name, and folders that hold no run or a damaged one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import experiment, new_run, play

from dipstage.errors import InputError
from search import Run
from search.cli import main
from search.store.paths import find_run, find_runs

NAMES = [
    "my run",
    "größe",
    "a'b",
    "[x]",
    "-dash",
    "x#y",
    "a$HOME",
    "~t",
    "x..",
    "q?",
    "100%",
    "x" * 200,
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A played run."""
    run = new_run(tmp_path_factory.mktemp("runs"), experiment())
    return play(run, lambda number: (25.0 + number, 20 + number))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_folder_of_any_name_is_opened_and_listed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.folder, Path("runs") / name)
    assert find_runs(Path("runs")) == [Path("runs") / name]
    for named in (name, f"runs/{name}", f"{tmp_path}/runs/{name}/"):
        assert Run.open(named).name == name
    shutil.copytree(run.folder, name)  # In the current folder, too.
    assert find_run(name) == Path("runs") / name
    shutil.rmtree("runs")
    assert find_run(name) == Path(name)


def test_suggested_commands_quote_the_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.folder, Path("runs") / "my run")
    Run.open("my run").study.set_user_attr("trials", 99)
    result = CliRunner().invoke(main, ["status", "my run"])
    assert "dipsearch resume 'my run'" in result.stdout
    result = CliRunner().invoke(main, ["remove", "--yes", "my run"])
    assert result.exit_code == 0, result.output
    assert not any(Path("runs").iterdir())


def _database(content: bytes | None) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "study.db"
        old = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(old[: int(content)] if content.isdigit() else content)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: (folder / "experiment.yaml").unlink(),
            "x has no experiment.yaml, so",
        ),
        (_database(None), "x has no study.db"),
        (_database(b""), "study.db is empty: copy the run's folder again"),
        (_database(b"5000"), "study.db cannot be opened as a study's database: .*copy its folder"),
        (_database(b"60000"), "study.db cannot be opened as a study's database: .*copy its folder"),
        (_database(b"no database" * 99), "study.db cannot be opened as a study's database: "),
        (
            lambda folder: (folder.rename("gone"), folder.write_text("")),
            "x is a file, so",
        ),
    ],
)
def test_what_is_no_run_is_said(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.folder, tmp_path / "x")
    change(tmp_path / "x")
    with pytest.raises(InputError, match=words):
        Run.open("x", tmp_path)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("", "the run has no name"),
        ("x" * 300, "does not exist"),
        ("https://example.com/run", "an address of the web, where no runs are"),
        (".", "has no experiment.yaml"),
        ("a/b", "neither a run's name nor a path"),
    ],
)
def test_what_names_no_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        find_run(named)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--runs-dir", "gs://x"], "--runs-dir gs://x needs a package .* gcsfs"),
        (["status", "gs://x/run"], ": gs://x/run needs a package .* gcsfs"),
        (["status", "foo://x/run"], ": foo://x/run "),
    ],
)
def test_object_storage_is_called_as_it_was_asked_for(arguments: list[str], words: str) -> None:
    pytest.importorskip("upath")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert re.search(words, result.stderr), result.stderr
    assert "None" not in result.stderr
