"""dipsearch list and remove, on runs in folders, in a database, and half removed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_runs import KEYS, experiment, new_run, outcome
from played_verification import searched, verified

from dipstage.errors import InputError
from search import Run
from search.cli import main
from search.execution.driver import create
from search.execution.ledger import Ledger
from search.execution.view import Quiet
from search.experiment.prepare import load_candidates
from search.store.lease import leased, verifying
from search.store.paths import run_folder
from search.store.storage import open_storage
from search.verification.drive import Hardware, _Driver, confirm
from search.verification.parts import HELD_OUT, part


def dipsearch(*arguments: str, answer: str | None = None, **environment: str) -> Result:
    """In this process, with an answer to the question."""
    return CliRunner(env=environment).invoke(main, list(arguments), input=answer)


def listed(runs_dir: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """The rows of --json by name."""
    result = dipsearch("list", "--runs-dir", str(runs_dir), "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The address of a database outside the runs' folders."""
    return f"sqlite:///{tmp_path}/studies.db"


def shared(name: str, runs_dir: Path, database: str) -> Run:
    """A run with one complete trial whose study is in a database."""
    tiny = experiment(name=name)
    create(tiny, run_folder(name, runs_dir), database, {}, load_candidates(tiny))
    run = Run.open(name, runs_dir, database)
    ledger = Ledger(run.study, run.experiment, KEYS)
    work = ledger.next()
    assert work is not None
    for key in KEYS:
        ledger.record(work.number, key, outcome(25.0, 10))
    ledger.finish(work.number, None)
    return run


def studies(database: str) -> list[str]:
    """The names of the studies in a database."""
    return sorted(s.study_name for s in open_storage(Path(), database).get_all_studies())


def test_list_shows_each_run_in_a_row(played: Run, tmp_path: Path) -> None:
    new_run(tmp_path, experiment(name="waiting"))
    (tmp_path / "stray").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.yaml").write_text("name: broken\n")
    rows = listed(tmp_path)
    assert list(rows) == ["broken", "tiny", "waiting"]
    tiny = rows["tiny"]
    assert (tiny["state"], tiny["trials"], tiny["wanted"]) == ("finished", 6, 6)
    assert (tiny["best"], tiny["best_max_psnr_gt_db"], tiny["best_steps_to_max"]) == (
        "trial 2", 27.0, 18.0,
    )  # fmt: skip
    assert (tiny["front"], tiny["verdict"], tiny["folder"]) == (3, None, str(tmp_path / "tiny"))
    size = sum(path.stat().st_size for path in played.folder.rglob("*") if path.is_file())
    assert tiny["bytes"] == size
    assert tiny["began"] <= tiny["changed"]
    waiting = rows["waiting"]
    assert (waiting["state"], waiting["trials"], waiting["front"]) == ("unfinished", 0, 0)
    assert (rows["broken"]["state"], rows["broken"]["trials"]) == ("unreadable", None)
    assert "has no study.db" in rows["broken"]["problem"]
    shown = dipsearch("list", "--runs-dir", str(tmp_path)).stdout
    assert re.search(r"^tiny +finished +6/6 +27\.00 dB at 18 +3 ", shown, re.MULTILINE)
    assert "broken: run folder" in shown


def test_list_shows_other_runs_beside_folders_that_cannot_be_looked_at(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of another user; the tests may run as root, who may look at everything."""
    closed = [tmp_path / name for name in ("theirs", "lost+found")]
    for folder in closed:
        folder.mkdir()
    stat = Path.stat

    def refusing(path: Path, **options: bool) -> os.stat_result:
        if path.parent in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    walk = os.walk

    def refused(top: Path, onerror: Callable[[OSError], None]) -> Iterator[Any]:
        if top in closed:
            onerror(PermissionError(errno.EACCES, "Permission denied", str(top)))
        return walk(top, onerror=onerror)

    monkeypatch.setattr(Path, "stat", refusing)
    monkeypatch.setattr(os, "walk", refused)
    rows = listed(tmp_path)
    assert rows["theirs"]["bytes"] is None
    assert {name: row["state"] for name, row in rows.items()} == {
        "theirs": "unreadable", "tiny": "finished",
    }  # fmt: skip
    assert "cannot be read (PermissionError: Permission denied)" in rows["theirs"]["problem"]


def test_list_shows_other_runs_beside_one_whose_size_cannot_be_read(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(tmp_path, experiment(name="waiting"))

    def size_bytes(folder: Path) -> int:
        if folder.name == "tiny":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return 5

    monkeypatch.setattr("search.presentation.runs.size_bytes", size_bytes)
    rows = listed(tmp_path)
    assert (rows["tiny"]["state"], rows["tiny"]["bytes"]) == ("unreadable", None)
    assert (rows["waiting"]["state"], rows["waiting"]["bytes"]) == ("unfinished", 5)
    shown = dipsearch("list", "--runs-dir", str(tmp_path)).stdout
    assert "not here" not in shown
    assert re.search(r"^waiting .* 5 bytes *$", shown, re.MULTILINE)
    assert "tiny: run 'tiny' cannot be read (PermissionError: Permission denied)" in shown


@pytest.mark.long
def test_list_says_what_a_driver_does_and_what_a_verification_found(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, lambda name, key: (25.0, 20))
    rows = listed(tmp_path)
    assert (rows["tiny"]["state"], rows["tiny"]["verdict"]) == ("finished", "not worse")
    with leased(run.storage, run.study.study_name, "run"):
        assert listed(tmp_path)["tiny"]["state"] == "searching"
    held_out = part(run, HELD_OUT)
    assert held_out is not None
    with leased(held_out.storage, held_out.study.study_name, "run"):
        assert listed(tmp_path)["tiny"]["state"] == "verifying"
    shutil.rmtree(held_out.folder)
    with leased(run.storage, verifying("tiny"), "the verification"):
        assert listed(tmp_path)["tiny"]["state"] == "verifying", "although no part is driven"
    assert listed(tmp_path)["tiny"]["verdict"] == "unfinished"


def test_list_reads_studies_in_folders_and_in_a_database(
    played: Run, tmp_path: Path, database: str
) -> None:
    shared("there", tmp_path, database)
    run = shared("elsewhere", tmp_path, database)
    shutil.rmtree(run.folder)
    rows = listed(tmp_path, "--storage", database)
    assert {name: row["trials"] for name, row in rows.items()} == {
        "tiny": 6, "there": 1, "elsewhere": 1,
    }  # fmt: skip
    assert (rows["elsewhere"]["folder"], rows["elsewhere"]["bytes"]) == (None, None)
    assert rows["there"]["state"] == "unfinished"
    assert listed(tmp_path)["there"]["state"] == "unreadable"


def test_a_folder_with_its_own_study_is_no_run_of_a_database_that_has_one_of_its_name(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared("tiny", tmp_path / "colleague", database)
    own = experiment(search={"trials": 4, "seed": 7})
    new_run(tmp_path, own)
    new_run(tmp_path, experiment(name="only-here"))
    monkeypatch.setenv("DIPSEARCH_STORAGE", database)
    assert Run.open("tiny", tmp_path).experiment.search.seed == 7
    assert Run.open("tiny", tmp_path, database).experiment.search.seed == 7
    assert {name: row["trials"] for name, row in listed(tmp_path).items()} == {
        "only-here": 0, "tiny": 0,
    }  # fmt: skip
    for name in ("tiny", "only-here"):
        shown = dipsearch("status", name, "--runs-dir", str(tmp_path)).stdout
        assert shown.startswith(f"{name}: 0/6 trials")


def test_the_parts_of_a_run_with_its_own_study_have_theirs_beside_it(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment names a database as well, they were made there and not found."""
    run = new_run(tmp_path, experiment())
    monkeypatch.setenv("DIPSEARCH_STORAGE", database)
    driver = _Driver(Hardware(), run.experiment.resources, "cpu", Quiet())
    made = driver.make(run, HELD_OUT, run.experiment, {}, load_candidates(run.experiment))
    assert made.records() == []
    assert (run.folder / HELD_OUT / "study.db").is_file()


def test_list_of_nothing_says_how_to_begin(tmp_path: Path) -> None:
    result = dipsearch("list", "--runs-dir", str(tmp_path / "none"))
    assert (result.exit_code, "dipsearch launch quickstart" in result.stdout) == (0, True)
    assert listed(tmp_path / "none") == {}


def test_list_refuses_what_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    file.touch()
    result = dipsearch("list", "--runs-dir", str(file))
    assert result.exit_code == 2
    assert f"--runs-dir {file} is not a folder" in result.stderr


def test_remove_asks_and_removes_only_what_was_named(played: Run, tmp_path: Path) -> None:
    new_run(tmp_path, experiment(name="other"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (played.folder / "link").symlink_to(outside)
    kept = dipsearch("remove", "tiny", "--runs-dir", str(tmp_path), answer="n\n")
    assert (kept.exit_code, kept.stdout) == (0, "kept: tiny\n")
    assert f"remove {played.folder} (" in kept.stderr
    assert played.folder.is_dir()
    done = dipsearch("remove", str(played.folder), "--runs-dir", "none", answer="y\n")
    assert (done.exit_code, done.stdout) == (0, "removed: tiny\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "outside"]
    assert (outside / "kept").read_text() == "kept"
    gone = dipsearch("remove", "tiny", "--yes", "--runs-dir", str(tmp_path))
    assert (gone.exit_code, "does not exist" in gone.stderr) == (2, True)


def test_remove_takes_no_answer_for_no(played: Run, tmp_path: Path) -> None:
    result = dipsearch("remove", "tiny", "--runs-dir", str(tmp_path), answer="")
    assert result.exit_code == 2
    assert "nobody answers whether to remove tiny: confirm it by --yes" in result.stderr
    assert played.folder.is_dir()


@pytest.mark.parametrize("size", [None, 0, 5_000, 60_000])
def test_remove_says_how_a_run_without_a_readable_study_is_removed(
    played: Run, tmp_path: Path, size: int | None
) -> None:
    database = played.folder / "study.db"
    content = database.read_bytes()
    database.unlink()
    if size is not None:
        database.write_bytes(content[:size])
    refused = dipsearch("remove", "tiny", "--yes", "--runs-dir", str(tmp_path))
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    advice = f"; to remove the run without its study, delete the folder {played.folder}\n"
    assert refused.stderr.endswith(advice)
    assert played.folder.is_dir()


def test_a_run_that_is_named_twice_is_removed_once(played: Run, tmp_path: Path) -> None:
    named = ("tiny", str(played.folder), "tiny", "--runs-dir", str(tmp_path), "--yes")
    result = dipsearch("remove", *named)
    assert (result.exit_code, result.stdout) == (0, "removed: tiny\n")
    assert not played.folder.exists()


@pytest.mark.long
def test_remove_refuses_a_link_and_what_is_alive(tmp_path: Path) -> None:
    run = searched(tmp_path / "runs")
    verified(run, lambda name, key: (25.0, 20))
    (tmp_path / "link").symlink_to(run.folder)
    refused = dipsearch("remove", str(tmp_path / "link"), "--yes")
    assert (refused.exit_code, "is a link to" in refused.stderr) == (2, True)
    held_out = part(run, HELD_OUT)
    assert held_out is not None
    for each in (run, held_out):
        with leased(each.storage, each.study.study_name, "run"):
            refused = dipsearch("remove", str(run.folder), "--yes")
        assert refused.exit_code == 2
        assert "has a driver that is alive" in refused.stderr
    part_of = dipsearch("remove", str(held_out.folder), "--yes")
    assert (part_of.exit_code, "is a part of the run" in part_of.stderr) == (2, True)
    assert Run.open("tiny", tmp_path / "runs").records() == run.records()
    assert dipsearch("remove", str(run.folder), "--yes").exit_code == 0
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("in_database", [False, True])
def test_remove_is_refused_while_a_confirmation_has_only_begun(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, in_database: bool
) -> None:
    address = database if in_database else None
    run = shared("first", tmp_path, database) if in_database else searched(tmp_path)
    arguments = ("remove", run.name, "--yes", "--runs-dir", str(tmp_path))
    storage = ("--storage", database) if in_database else ()
    refused: list[Result] = []

    def load_pictures(_: object) -> None:
        refused.append(dipsearch(*arguments, *storage))
        raise InputError("the pictures were being loaded")

    monkeypatch.setattr("search.verification.drive.load_pictures", load_pictures)
    pictures = tuple(f"skimage:{name}" for name in ("coins", "moon", "grass", "page", "brick"))
    with pytest.raises(InputError, match="being loaded"):
        confirm(run, (*pictures, "skimage:gravel"), view=Quiet())
    assert [result.exit_code for result in refused] == [2]
    assert f"the verification of '{run.name}' has a driver that is alive" in refused[0].stderr
    assert Run.open(run.name, tmp_path, address).records() == run.records()
    assert dipsearch(*arguments, *storage).exit_code == 0


@pytest.mark.long
def test_remove_takes_the_studies_out_of_a_database_and_no_others(
    tmp_path: Path, database: str
) -> None:
    for name in ("first", "first-2"):
        shared(name, tmp_path, database)
    alone = dipsearch("remove", "first", "--yes", "--runs-dir", str(tmp_path))
    assert (alone.exit_code, "name it with" in alone.stderr) == (2, True)
    arguments = ("--runs-dir", str(tmp_path), "--storage", database)
    done = dipsearch("remove", "first", *arguments, answer="y\n")
    assert "and its study in the database?" in done.stderr
    assert studies(database) == ["first-2"]
    assert not (tmp_path / "first").exists()
    # A study in a folder is not taken for one of that name in the database.
    new_run(tmp_path / "mine", experiment(name="first-2"))
    assert (
        dipsearch("remove", str(tmp_path / "mine" / "first-2"), *arguments, "--yes").exit_code == 0
    )
    assert studies(database) == ["first-2"]
    # Without a folder, it may be somebody else's.
    shutil.rmtree(tmp_path / "first-2")
    refused = dipsearch("remove", "first-2", *arguments, "--yes")
    assert (refused.exit_code, "remove it without --yes" in refused.stderr) == (2, True)
    assert dipsearch("remove", "first-2", *arguments, answer="y\n").exit_code == 0
    assert studies(database) == []


def test_a_removal_that_was_cut_off_is_completed_by_the_next(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared("first", tmp_path, database)
    arguments = ("remove", "first", "--yes", "--runs-dir", str(tmp_path), "--storage", database)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("_renamed", "shutil.rmtree"):
        with monkeypatch.context() as patch:
            patch.setattr(f"search.store.removal.{name}", cut_off)
            assert dipsearch(*arguments).exit_code == 130
        assert studies(database) == []
    assert [path.name[:15] for path in tmp_path.glob(".first*")] == [".first.removed-"]
    assert dipsearch(*arguments).stdout == "removed: first\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "studies.db"]
