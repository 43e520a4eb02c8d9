"""What `dipsearch status` says of a verification that is not finished."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from played_verification import gains, interrupt, searched, verified

from dipstage.documents.whole_files import write_whole
from search.cli import main
from search.store.lease import leased, verifying
from search.store.paths import verification_path
from search.verification.parts import HELD_OUT

pytestmark = pytest.mark.long


def test_status_says_how_to_go_on_with_a_verification(tmp_path: Path) -> None:
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), "images: []\n")
    shown = CliRunner().invoke(main, ["status", "tiny", "--runs-dir", str(tmp_path)]).output
    assert f"not finished; continue with: dipsearch verify tiny --runs-dir {tmp_path}" in shown


def test_status_names_the_driver_of_a_verification_between_its_parts(tmp_path: Path) -> None:
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), "images: []\n")
    status = ["status", "tiny", "--runs-dir", str(tmp_path)]
    with leased(run.storage, verifying("tiny"), "the verification"):
        shown = CliRunner().invoke(main, status).output
        content = json.loads(CliRunner().invoke(main, [*status, "--json"]).stdout)
    assert f"\ndriver: {os.uname().nodename}, process {os.getpid()}, since " in shown
    assert "continue with" not in shown
    assert content["driver"]["process"] == os.getpid()


def test_an_interrupted_verification_says_how_it_stands_and_not_how_the_search_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = searched(tmp_path)
    verified(run, gains())
    interrupt(run, HELD_OUT)
    monkeypatch.setattr("search.verification.drive.verify", interrupted)
    result = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert result.exit_code == 130
    assert result.stderr == (
        f"interrupted; continue with: dipsearch verify tiny --runs-dir {tmp_path}\n"
    )
    tuning, held_out = result.stdout.splitlines()
    assert tuning.startswith("tiny/learning-rate: 3/3 trials, 0 running")
    assert held_out.startswith("tiny/verification: ")
