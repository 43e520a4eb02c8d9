"""A run as it comes from a cluster: whole or not at all, and nothing but a run's files."""

import io
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from dipstage.errors import InputError
from dipstage.pictures.images import Picture
from search import Run
from search.cli import main
from search.remote import archive as packing
from search.remote.fetching import (
    DamagedError,
    Origin,
    check_overwrite,
    install,
    receive,
    unpack,
)
from search.remote.jobs import Cluster, State
from search.store.paths import curve_path, picture_path
from search.store.run import PNG

ORIGIN = Origin("tiny-00000001", "tiny", "dipsearch-runs")


def archive(run: Run, path: Path) -> Path:
    """A run as it arrives."""
    with path.open("xb") as file:
        receive((f"{line}\n" for line in packing.lines(run.folder)), file)
    return path


def test_a_run_comes_back_as_it_was_without_its_locks(played: Run, tmp_path: Path) -> None:
    curve = played.folder / "curves" / "trial00000-it's x-seed0.npz"
    curve.write_bytes(bytes(range(256)) * 5000)
    picture = played.folder / "pictures" / "trial00000-it's x-seed0.png"
    picture.parent.mkdir()
    picture.write_bytes(PNG)
    events = played.folder / "tensorboard" / "trial00000" / "events.out.tfevents.1764000000.head"
    events.parent.mkdir(parents=True)
    events.write_bytes(b"events")
    for stray in (
        "driver.lock",
        ".hidden.yaml",
        "curves/.x.npz.tmp",
        "pictures/.x.png.tmp",
        "a.pkl",
        "tensorboard/trial00000/params.pkl",
    ):
        (played.folder / stray).write_text("stray")
    folder = install(archive(played, tmp_path / "a.tar"), ORIGIN, tmp_path / "b", replace=False)
    assert (folder / "curves" / curve.name).read_bytes() == curve.read_bytes()
    assert (folder / "pictures" / picture.name).read_bytes() == PNG
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    files = {f"curves/{curve.name}", f"pictures/{picture.name}"}
    files.add(events.relative_to(played.folder).as_posix())
    assert (folder / "tensorboard" / "trial00000" / events.name).read_bytes() == b"events"
    assert found == {"experiment.yaml", "study.db", "fetched.yaml", *files}
    assert Run.open("tiny", tmp_path / "b").records() == played.records()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["tiny"]


def test_a_fetch_removes_what_earlier_ones_have_printed(played: Run, tmp_path: Path) -> None:
    logs = {
        name: tmp_path / f"job-driver-{name}.log"
        for name in ("fetch-tiny-1-a", "fetch-tiny-1-b", "fetch-tiny-1-now", "fetch-2", "tiny-1")
    }
    for name, path in logs.items():
        printed = "a search" if name == "fetch-2" else f"{packing.MARK} begin …"
        ray = f"Running entrypoint for job {name}: exec python -m search.remote.archive a tiny"
        path.write_text(f"{ray}\n{printed}\n")
        if name != "fetch-tiny-1-b":  # Which is still being read.
            os.utime(path, (0, 0))
    program = [sys.executable, "-m", "search.remote.archive", str(played.folder.parent), "tiny"]
    with logs["fetch-tiny-1-now"].open("w") as output:
        subprocess.run(program, stdout=output, check=True, cwd=Path(__file__).parents[3])
    assert not logs.pop("fetch-tiny-1-a").exists()
    assert all(path.exists() for path in logs.values())
    assert f"{packing.MARK} end" in logs["fetch-tiny-1-now"].read_text()


def test_a_study_that_is_written_to_is_copied_consistently(played: Run, tmp_path: Path) -> None:
    with sqlite3.connect(played.folder / "study.db") as writer:
        writer.execute("update studies set study_name = 'half written'")
        # Not committed: the copy must not see it, nor wait for it.
        folder = install(archive(played, tmp_path / "a.tar"), ORIGIN, tmp_path / "b", replace=False)
        assert Run.open("tiny", tmp_path / "b").records() == played.records()
        writer.rollback()
    writer.close()
    assert folder.is_dir()


def pieces(run: Run) -> list[str]:
    """The lines of an archive."""
    return list(packing.lines(run.folder))


def test_logs_arrive_in_pieces_and_among_other_lines(played: Run, tmp_path: Path) -> None:
    text = "Running entrypoint\n" + "\nnotice: x\n".join(pieces(played)) + "\n"
    with (tmp_path / "a.tar").open("wb") as file:
        receive((text[i : i + 1000] for i in range(0, len(text), 1000)), file)
    (tmp_path / "b").mkdir()
    unpack(tmp_path / "a.tar", tmp_path / "b")


def damaged(run: Run) -> Iterator[tuple[str, list[str]]]:
    """What may go wrong on the way."""
    begin, part, end = pieces(run)
    yield "did not arrive completely", [begin, part]
    yield "did not arrive completely", [part, end]
    yield "SHA-256 of the archive is not", [begin, end]
    yield "is not base64", [begin, part[:-1] + "*", end]
    yield "longer than announced", [begin, part, part, end]
    flipped = part[:100] + ("A" if part[100] != "A" else "B") + part[101:]
    yield "SHA-256 of the archive is not", [begin, flipped, end]
    yield "more than the 1,000,000 allowed", [begin.replace("begin ", "begin 9999"), part, end]
    yield "has no size", [f"{packing.MARK} begin x y", end]


def test_what_was_damaged_on_the_way_is_refused(played: Run, tmp_path: Path) -> None:
    for words, text in damaged(played):
        with (tmp_path / "a.tar").open("wb") as file, pytest.raises(DamagedError, match=words):
            receive((f"{line}\n" for line in text), file, max_bytes=1_000_000)


def test_a_job_that_finds_no_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert packing.main(str(tmp_path), "none") == 1
    with (tmp_path / "a.tar").open("wb") as file, pytest.raises(InputError, match="no run 'none'"):
        receive([capsys.readouterr().out], file)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member of an archive."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


MALICE = {
    "above": entry("../tiny.yaml"),
    "absolute": entry("/tmp/tiny.yaml"),
    "in between": entry("curves/../../x.npz"),
    "a link": entry("experiment.yaml", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": entry("experiment.yaml", tarfile.LNKTYPE, "/etc/passwd"),
    "a device": entry("experiment.yaml", tarfile.CHRTYPE),
    "a folder": entry("curves", tarfile.DIRTYPE),
    "a pickle": entry("study.pkl"),
    "hidden": entry(".bashrc"),
    "a program": entry("curves/run.sh"),
    "a page": entry("pictures/x.html"),
    "a lock": entry("driver.lock"),
    "deeper": entry("curves/curves/x.npz"),
    "a backslash": entry("curves/..\\x.npz"),
    "a control character": entry("curves/\x1b[2Jx.npz"),
}


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
@example("Screenshot 9.41.00\u202fAM")
@example("a\u3000b\u00a0c")
@example("a\u200db\u2028c")
def test_whatever_a_picture_is_called_its_files_are_fetched(name: str) -> None:
    label = Picture(f"{name}.png", np.zeros((1, 1, 1), np.float32)).label
    for path in (
        curve_path(Path(), 0, f"{label}-seed0"),
        picture_path(Path(), 0, f"{label}-seed0"),
    ):
        assert packing.is_run_file(path.as_posix())


@pytest.mark.parametrize("case", sorted(MALICE))
def test_nothing_but_a_run_s_own_files_is_unpacked(tmp_path: Path, case: str) -> None:
    path, folder = tmp_path / "a.tar", tmp_path / "in" / "here"
    with tarfile.open(path, "w:") as tar:
        tar.addfile(MALICE[case], io.BytesIO())
    folder.mkdir(parents=True)
    with pytest.raises(DamagedError, match="is not a file of a run"):
        unpack(path, folder)
    assert list((tmp_path / "in").rglob("*")) == [folder]


def test_a_file_twice_and_what_is_no_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w:") as tar:
        for _ in range(2):
            tar.addfile(entry("experiment.yaml"), io.BytesIO())
    with pytest.raises(DamagedError, match="twice"):
        unpack(path, tmp_path)
    path.write_bytes(b"words" * 1000)
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        unpack(path, tmp_path)


def test_another_run_is_not_taken_for_this_one(played: Run, tmp_path: Path) -> None:
    other = Origin("other-00000001", "other", "dipsearch-runs")
    with pytest.raises(DamagedError, match="called 'tiny', not 'other'"):
        install(archive(played, tmp_path / "a.tar"), other, tmp_path / "b", replace=False)
    assert not list((tmp_path / "b").iterdir())


def test_only_a_copy_on_which_nobody_went_on_is_replaced(played: Run, tmp_path: Path) -> None:
    here, arrived = tmp_path / "b", archive(played, tmp_path / "a.tar")
    with pytest.raises(InputError, match="was made here, not fetched"):
        check_overwrite(ORIGIN, played.folder.parent, replace=True)
    install(arrived, ORIGIN, here, replace=False)
    later = Origin("tiny-00000002", "tiny", "dipsearch-runs")
    with pytest.raises(InputError, match="was fetched from job tiny-00000001: replace it"):
        install(arrived, later, here, replace=False)
    install(arrived, later, here, replace=True)
    Run.open("tiny", here).study.set_user_attr("trials", 99)
    with pytest.raises(InputError, match="has changed since it was fetched"):
        install(arrived, later, here, replace=True)
    assert Run.open("tiny", here).trials_wanted == 99
    assert [path.name for path in here.iterdir()] == ["tiny"]


def test_what_was_made_in_a_copy_outlives_its_refresh(played: Run, tmp_path: Path) -> None:
    arrived = archive(played, tmp_path / "a.tar")
    folder = install(arrived, ORIGIN, tmp_path / "b", replace=False)
    made_here = ("report.html", "notes.txt", "front/baseline.yaml", "best.yaml")
    gone_there = (
        "pictures/x.png", "verification/best.yaml", "verification.csv", "study.db-journal",
    )  # fmt: skip
    for name in (*made_here, *gone_there, "experiment.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    (folder / "latest").symlink_to("front")
    for replace, kept in ((False, made_here), (True, made_here[:-1])):
        install(arrived, ORIGIN, tmp_path / "b", replace=replace)
        assert [name for name in made_here if (folder / name).is_file()] == list(kept)
        assert (folder / "latest").readlink() == Path("front")
    assert not [name for name in gone_there if (folder / name).exists()]
    assert (folder / "experiment.yaml").read_bytes() == (
        played.folder / "experiment.yaml"
    ).read_bytes()


def test_a_refresh_through_a_link_replaces_the_folder_that_it_leads_to(
    played: Run, tmp_path: Path
) -> None:
    arrived, here, disk = archive(played, tmp_path / "a.tar"), tmp_path / "b", tmp_path / "disk"
    folder = install(arrived, ORIGIN, here, replace=False)
    disk.mkdir()
    folder.rename(disk / "moved")
    folder.symlink_to(disk / "moved")
    (folder / "notes.txt").write_text("mine")
    (folder / "experiment.yaml").write_text("old")
    assert install(arrived, ORIGIN, here, replace=False) == folder
    assert folder.readlink() == disk / "moved"
    assert [path.name for path in (*here.iterdir(), *disk.iterdir())] == ["tiny", "moved"]
    assert (disk / "moved" / "notes.txt").read_text() == "mine"
    assert (disk / "moved" / "experiment.yaml").read_text() != "old"


def test_a_verification_made_here_is_not_lost(played: Run, tmp_path: Path) -> None:
    arrived = archive(played, tmp_path / "a.tar")
    folder = install(arrived, ORIGIN, tmp_path / "b", replace=False)
    (folder / "verification.yaml").write_text("plan: here")
    with pytest.raises(InputError, match="has changed since it was fetched"):
        install(arrived, ORIGIN, tmp_path / "b", replace=True)


def test_a_run_on_object_storage_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = State(Origin("tiny-00000001", "tiny", "s3://bucket/my runs"), "running", "")
    monkeypatch.setattr(Cluster, "state", lambda self, job: there)
    words = "dipsearch pareto tiny --runs-dir 's3://bucket/my runs'"
    with pytest.raises(InputError, match=words):
        Cluster("http://head:8265").fetch("tiny-00000001", tmp_path)


def test_a_run_whose_study_is_in_a_database_comes_without_one(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (played.folder / "study.db").unlink()
    arrived = archive(played, tmp_path / "a.tar")
    here = tmp_path / "b"
    monkeypatch.setattr(
        Cluster,
        "fetch",
        lambda self, job, runs_dir, replace: install(arrived, ORIGIN, runs_dir, replace=replace),
    )
    for _ in range(2):
        result = CliRunner().invoke(
            main, ["fetch", "x", "--address", "http://head:8265", "--runs-dir", str(here)]
        )
        assert result.exit_code == 0, result.output
        assert "its study is in a database: set DIPSEARCH_STORAGE" in result.stdout
