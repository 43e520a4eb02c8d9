"""A study that somebody has written into is named as damaged, and hides no other run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from played_verification import searched

from search.cli import main

DAMAGE = {
    "a number that is none": "update study_user_attributes set value_json='{}' where key='trials'",
    "no JSON": "update study_user_attributes set value_json='nonsense'",
    "no values": "delete from trial_values",
    "numbers for everything": "update trial_user_attributes set value_json='3'",
    "texts for everything": "update trial_user_attributes set value_json='\"x\"'",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_study_is_one_sentence_and_the_others_are_listed(
    tmp_path: Path, kind: str
) -> None:
    searched(tmp_path, name="sound")
    folder = searched(tmp_path, name="hurt").folder
    with sqlite3.connect(folder / "study.db") as database:
        database.execute(DAMAGE[kind])
    database.close()
    for command in (["status"], ["trials"], ["pareto"], ["export"]):
        result = CliRunner().invoke(main, [*command, "hurt", "--runs-dir", str(tmp_path)])
        assert result.exit_code == 2, (result.output, result.exception)
        assert f"the study of {folder} is damaged (" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    listed = CliRunner().invoke(main, ["list", "--runs-dir", str(tmp_path)])
    assert listed.exit_code == 0, listed.exception
    assert "hurt   unreadable" in listed.stdout
    assert "sound  finished" in listed.stdout
