"""A run folder under another name: its study lies in it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import experiment, new_run
from played_verification import searched, verified
from verified_runs import copy

from dipstage.errors import InputError
from search import Run, resume
from search.cli import main
from search.store.lease import leased
from search.verification.result import Verification


def link(old: Path, new: Path) -> None:
    """Make the folder reachable by a second name."""
    new.symlink_to(old)


@pytest.fixture(scope="module")
def verified_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A played run with its verification, to copy."""
    run = searched(tmp_path_factory.mktemp("runs"))
    verified(run, lambda name, key: (25.0 + len(name) / 10, 20))
    run.storage.engine.dispose()
    return run


@pytest.mark.ray
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree, link])
def test_every_command_opens_it_by_the_name_of_its_folder(
    verified_run: Run, tmp_path: Path, move: Callable[[Path, Path], object]
) -> None:
    run = copy(verified_run, tmp_path / "runs")
    before = run.records()
    (tmp_path / "elsewhere").mkdir()
    move(run.folder, tmp_path / "elsewhere" / "new")
    there = Run.open("new", tmp_path / "elsewhere")
    assert there.name == "new"
    assert there.records() == before
    verification = Verification.open(there)
    assert verification is not None
    assert verification.run.name == "new"
    for command in ("status", "trials", "pareto", "export", "report", "resume", "verify"):
        arguments = [command, "new", "--runs-dir", str(tmp_path / "elsewhere")]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "dipsearch export tiny" not in result.output
        assert "dipsearch verify tiny" not in result.output
    assert resume("new", runs_dir=tmp_path / "elsewhere").name == "new"


def test_a_folder_that_is_renamed_or_linked_while_it_is_driven_has_one_driver(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path, experiment())
    link(run.folder, tmp_path / "other")
    with leased(run.storage, run.study.study_name, "run"):
        for name in ("tiny", "other"):
            assert Run.open(name, tmp_path).driver() is not None
            with pytest.raises(InputError, match="has a driver that is alive"):
                resume(name, runs_dir=tmp_path)
