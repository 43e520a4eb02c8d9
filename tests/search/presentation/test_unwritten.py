"""What an interrupted search has not written."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import experiment, new_run, play

from search import Run
from search.cli import main
from search.presentation.unwritten import unwritten


def test_each_missing_or_old_result_has_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(Path("runs"), experiment())
    assert list(unwritten(run)) == [], "without a complete trial there is nothing to write"
    play(run, lambda number: (25.0, 10))
    assert list(unwritten(run)) == [
        "not written yet: best.yaml; write it with: dipsearch export tiny",
        "not written yet: pareto.csv; write it with: dipsearch pareto tiny --csv "
        "runs/tiny/pareto.csv",
        "not written yet: front.png; write it with: dipsearch pareto tiny --plot "
        "runs/tiny/front.png",
        "not written yet: report.html; write it with: dipsearch report tiny",
    ]
    for name in ("best.yaml", "pareto.csv", "front.png", "report.html"):
        (run.folder / name).touch()
    os.utime(run.folder / "report.html", (0, 0))
    assert list(unwritten(run)) == [
        "report.html is older than the last trial; write it again with: dipsearch report tiny"
    ]


@pytest.mark.long
def test_the_commands_can_be_run_from_a_folder_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command writes its file, for a folder whose name has a space."""
    run = play(new_run(tmp_path / "my runs", experiment()), lambda number: (25.0, 10))
    far = tmp_path / "a" / "b" / "c" / "d"
    far.mkdir(parents=True)
    monkeypatch.chdir(far)
    monkeypatch.setenv("HOME", str(far))
    missing = list(unwritten(Run.open("tiny", tmp_path / "my runs")))
    assert len(missing) == 4
    for line in missing:
        program, *arguments = shlex.split(line.partition("write it with: ")[2])
        assert program == "dipsearch"
        assert CliRunner().invoke(main, arguments).exit_code == 0
    assert list(unwritten(run)) == []


def test_a_table_of_a_run_on_object_storage_is_written_here(tmp_path: Path) -> None:
    """No option writes a file there."""
    upath = pytest.importorskip("upath")
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    lines = list(unwritten(replace(run, folder=upath.UPath("memory://bucket/runs/tiny"))))
    pareto = "dipsearch pareto tiny --runs-dir memory://bucket/runs"
    assert lines[1].endswith(f"write it with: {pareto} --csv pareto.csv")
    assert lines[2].endswith(f"write it with: {pareto} --plot front.png")
