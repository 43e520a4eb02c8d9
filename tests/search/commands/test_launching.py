"""What `dipsearch launch` refuses before it starts Ray, and what it takes an experiment for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_runs import CONTENT

from dipstage.documents.plain_yaml import yaml_text
from search import Run
from search.cli import main
from search.commands.searching import _nothing_left
from search.store.attributes import write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person stands, with an experiment; the cluster of an address is never reached."""
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(yaml_text(CONTENT))
    return tmp_path


def launch(*arguments: str) -> Result:
    """Launch on an address where nobody listens: what is refused before is refused in time."""
    return CliRunner().invoke(main, ["launch", *arguments, "--address", "127.0.0.1:1"])


def refused(result: Result) -> str:
    assert result.exit_code == 2, (result.output, result.exception)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "starting" not in result.stdout
    return result.stderr


@pytest.mark.ray
def test_an_experiment_that_is_right_reaches_the_cluster_and_leaves_nothing(folder: Path) -> None:
    assert "nobody listens there" in refused(launch("e.yaml", "--runs-dir", "new/deep"))
    assert "nobody listens there" in refused(launch("e.yaml", "--storage", "sqlite:///s.db"))
    assert [path.name for path in folder.iterdir()] == ["e.yaml"]


@pytest.mark.parametrize(
    ("runs_dir", "words"),
    [
        ("file", "is not a folder"),
        ("file/deep", "is not a folder"),
        ("/dev/null", "is not a folder"),
        ("/dev/null/x", "is not a folder"),
        ("dangling", "is not a folder"),
        ("/proc/none", "cannot be written"),
        ("x" * 300, "cannot be written"),
        ("loop/x", "cannot be written"),
    ],
)
def test_a_folder_of_runs_that_takes_none_is_refused_before_anything_starts(
    folder: Path, runs_dir: str, words: str
) -> None:
    if runs_dir.startswith("/") and not os.path.exists(runs_dir.split("/none")[0].split("/x")[0]):
        pytest.skip("there is no such file on this system")
    Path("file").write_text("mine")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    before = sorted(folder.iterdir())
    said = refused(launch("e.yaml", "--runs-dir", runs_dir))
    assert f"--runs-dir {runs_dir} {words}" in said
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("nonsense", "no database address"),
        ("foo://x", "no database address"),
        ("postgresql://u@h:port/x", "--storage is no database address: write one such as"),
        ("sqlite://", "--storage is a database in memory"),
        ("sqlite:///", "--storage is a database in memory"),
        ("sqlite:///:memory:", "--storage is a database in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "--storage is a database in memory"),
        ("sqlite:////none/s.db", "cannot be opened as a study's database"),
        ("postgresql://127.0.0.1:1/x", "--storage"),
    ],
)
def test_a_database_that_does_not_answer_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, storage: str, words: str
) -> None:
    said = refused(launch("e.yaml", "--storage", storage))
    assert words in said
    assert "listens" not in said
    monkeypatch.setenv("DIPSEARCH_STORAGE", storage)
    assert words.replace("--storage", "DIPSEARCH_STORAGE") in refused(launch("e.yaml"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://h/d", "mysql, whose driver is not installed: use PostgreSQL"),
        ("oracle://h/d", "oracle, whose driver is not installed: use PostgreSQL"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2, whose driver is not installed: begin"),
    ],
)
def test_a_database_without_a_driver_is_named_as_it_was_asked_for(address: str, words: str) -> None:
    assert f"--storage asks for {words}" in refused(launch("e.yaml", "--storage", address))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "4", "--set", "search.trials=3"], "--trials and --set search.trials give"),
        (["--name", "qs", "--set", "name=a=b"], "--name and --set name give the same key"),
        (["--seed", "1", "--set", "search.seed=1"], "--seed and --set search.seed give"),
        (["--set", "size=8", "--set", "size=16"], "--set size is given twice: leave one out"),
        (["--set", "name=a=b"], "name: must be letters, digits"),
        (["--set", "seeds=0-3"], "got '0-3': write a list, as in [0, 1, 2, 3]"),
        (["--set", "seeds=5-90"], "got '5-90': write a list, as in [5, 6, …, 90]"),
        (["--set", "trainer={width: 4, learning_rate: 0,5}"], "write a point instead"),
    ],
)
def test_options_that_contradict_each_other_or_cannot_be_meant_are_refused(
    arguments: list[str], words: str
) -> None:
    assert words in refused(launch("e.yaml", *arguments))


def test_two_entries_of_images_that_name_one_file_are_both_named(folder: Path) -> None:
    Path("a.png").touch()
    Path("e.yaml").write_text(yaml_text({**CONTENT, "images": ["a.png", "[a]*.png"]}))
    said = refused(launch("e.yaml"))
    assert f"images: {folder}/a.png and {folder}/[a]*.png both name {folder}/a.png: keep" in said


def test_a_database_that_a_search_would_make_is_not_made_before(folder: Path) -> None:
    from search.store.storage import check_storage

    check_storage(folder / "tiny", f"sqlite:///{folder}/s.db")
    assert [path.name for path in folder.iterdir()] == ["e.yaml"]


@pytest.mark.parametrize("target", ["../nowhere", "tiny"])
def test_a_broken_link_in_place_of_the_run_is_refused_before_anything_starts(
    folder: Path, target: str
) -> None:
    Path("runs").mkdir()
    Path("runs/tiny").symlink_to(target)
    assert "runs/tiny exists but is not a run: remove it" in refused(launch("e.yaml"))
    assert os.readlink("runs/tiny") == target


def test_a_folder_of_runs_is_called_by_what_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPSEARCH_RUNS_DIR", "e.yaml")
    assert "DIPSEARCH_RUNS_DIR e.yaml is not a folder" in refused(launch("e.yaml"))
    said = refused(launch("e.yaml", "--runs-dir", "./e.yaml/x"))
    assert "--runs-dir e.yaml/x is not a folder" in said
    monkeypatch.setenv("DIPSEARCH_RUNS_DIR", " ")
    assert "DIPSEARCH_RUNS_DIR is blank: name a folder" in refused(launch("e.yaml"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (".", ". is a folder: name an experiment file in it"),
        ("..", ".. is a folder: name an experiment file in it"),
        ("sub", "sub is a folder: name an experiment file in it"),
        ("sub/", "sub is a folder: name an experiment file in it"),
        ("", "the argument after 'launch' is empty"),
        (" ", "the argument after 'launch' is empty"),
        ("none.yaml", "none.yaml does not exist"),
        ("quikstart", "quikstart is neither a file nor an experiment that comes with the package"),
        ("/dev/null", "/dev/null cannot be read: it is not a regular file"),
        ("picture.png", "picture.png is not text in UTF-8"),
    ],
)
def test_what_is_no_experiment_is_named(given: str, words: str) -> None:
    Path("sub").mkdir()
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    assert words in refused(launch(given))


def test_a_folder_does_not_hide_an_included_experiment_nor_a_file_its_own_name() -> None:
    from search.experiment.packaged import experiment_file, packaged_experiments

    Path("quickstart").mkdir()
    assert experiment_file(Path("quickstart")) == packaged_experiments()["quickstart"]
    Path("poisson-64").write_text("name: mine\n")
    assert experiment_file(Path("poisson-64")) == Path("poisson-64")


def test_a_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from search.store.paths import runs_path

    monkeypatch.setenv("HOME", str(folder))
    assert runs_path("~/runs") == folder / "runs"
    monkeypatch.setenv("DIPSEARCH_RUNS_DIR", "~/others")
    assert runs_path() == folder / "others"
    said = refused(launch("~/e.yaml", "--set", "name=a/b"))
    assert f"{folder}/e.yaml with name=a/b: name: must be letters" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trials", "-1"], "e.yaml with search.trials=-1: search.trials: must be at least 0"),
        (["--set", "name=null"], "e.yaml with name=null: name: has no value: write one"),
        (["--set", "size="], "--set size= has no value: give one, or null"),
        (["--set", "images=['']"], "images holds an empty name: remove it"),
        (["--set", "size=32.0"], "size: must be a whole number, got 32.0: write 32"),
    ],
)
def test_a_wrong_override_is_told_from_the_file(options: list[str], words: Any) -> None:
    assert words in refused(launch("e.yaml", *options))


def test_a_run_that_has_ended_says_that_nothing_is_left(played: Run) -> None:
    words = "nothing is left to train: all 6 trials of tiny have ended; --trials 8 continues it"
    assert _nothing_left(played, None, None) == _nothing_left(played, 4, None) == words
    assert _nothing_left(played, 5, None) is _nothing_left(played, 3, None) is None
    write(played.study, ended="--finish was asked for", hours=0.5)
    ended = _nothing_left(Run.open(str(played.folder)), None, None)
    assert ended is not None
    assert ended.endswith("have ended; --trials 4 --hours 0.5 continues it")
    assert _nothing_left(Run.open(str(played.folder)), 4, None) is None
