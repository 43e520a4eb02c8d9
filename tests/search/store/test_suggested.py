"""How suggested commands name runs and files."""

from pathlib import Path

import pytest

from search.store.suggested import run_words, shown_path


def test_a_command_that_is_passed_on_relies_on_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIPSEARCH_RUNS_DIR", raising=False)
    assert run_words(Path("runs/tiny")) == run_words(Path("runs/tiny"), private=True) == "tiny"
    monkeypatch.setenv("DIPSEARCH_RUNS_DIR", "others")
    assert run_words(Path("others/tiny")) == "tiny"
    assert run_words(Path("others/tiny"), private=True) == "tiny --runs-dir others"
    assert run_words(Path("runs/tiny")) == "tiny --runs-dir runs"
    assert run_words(Path("runs/tiny"), private=True) == "tiny"


def test_only_a_command_that_is_passed_on_hides_private_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    run = tmp_path / "secret" / "my run"
    assert run_words(run) == f"'my run' --runs-dir {run.parent}"
    assert run_words(run, private=True) == "'my run' --runs-dir DIR"


def test_paths_show_no_folder_that_is_nobody_s_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    here = home / "work" / "search"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    assert shown_path(here / "runs") == "runs"
    assert shown_path(home / "work" / "my data" / "a.png") == "'../my data/a.png'"
    assert shown_path(home / "far" / "b c" / "a.png") == "~/'far/b c/a.png'"
    assert shown_path(tmp_path / "secret" / "a.png") is None
