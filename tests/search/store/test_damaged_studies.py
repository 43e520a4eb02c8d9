"""A study that somebody has written into is named as damaged, and hides no other run."""

from __future__ import annotations

import re
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
    "a number for versions": "update study_user_attributes set value_json='5' where key='code'",
    "no table of trials": "drop table trials",
    "no table of values": "drop table trial_values",
    "a time before time": "update trials set datetime_complete='0001-01-01 00:00:00.000000'",
    "a time without end": "update trials set datetime_start='9999-12-31 23:59:59.000000'",
    "a time that is none": "update trials set datetime_complete='abc'",
    "a text for a score": """update trial_user_attributes set value_json =
        json_set(value_json, '$.raw.max_psnr_gt_db', 'abc') where key like 'replicate:%'""",
    "a text for a speed": """update trial_user_attributes set value_json =
        json_set(value_json, '$.iterations_per_s', 'abc') where key like 'replicate:%'""",
    "a speed of nothing": """update trial_user_attributes set value_json =
        json_set(value_json, '$.iterations_per_s', 0) where key like 'replicate:%'""",
    "a list for a device": """update trial_user_attributes set value_json =
        json_set(value_json, '$.device', json('[1]')) where key like 'replicate:%'""",
    "a number for a version": """update trial_user_attributes set value_json =
        json_set(value_json, '$.versions.torch', 2) where key like 'replicate:%'""",
    "NaN for a score": """update trial_user_attributes set value_json =
        replace(value_json, '"max_psnr_gt_db": 2', '"max_psnr_gt_db": NaN, "x": 2')""",
    "an endless PSNR": "update trial_values set value = 1e308 where objective = 0",
    "steps below none": "update trial_values set value = -1e17 where objective = 1",
    "a text for a value": "update trial_values set value = 'abc'",
    "a text for a parameter": """update trial_params set param_value = 'abc'
        where distribution_json like '%FloatDistribution%'""",
    "a text for hours": "update study_user_attributes set value_json='\"x\"' where key='hours'",
    "texts for everything": "update trial_user_attributes set value_json='\"x\"'",
}


@pytest.mark.long
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
        assert re.search(rf"{folder}(/study.db)? is damaged \(", result.stderr)
        assert "again from where it was made" in result.stderr
        assert result.stderr.count("is damaged (") == len(result.stderr.splitlines()) == 1
    listed = CliRunner().invoke(main, ["list", "--runs-dir", str(tmp_path)])
    assert listed.exit_code == 0, listed.exception
    assert "hurt   unreadable" in listed.stdout
    assert "sound  finished" in listed.stdout


def test_damaged_pages_are_named_with_what_to_do(tmp_path: Path) -> None:
    path = searched(tmp_path, name="hurt").folder / "study.db"
    with sqlite3.connect(path) as database:
        [[size]] = database.execute("pragma page_size")
        found = "select rootpage from sqlite_master where name = 'trials'"
        [[page]] = database.execute(found)
    database.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["pareto", "hurt", "--runs-dir", str(tmp_path)])
    assert result.exit_code == 2, (result.output, result.exception)
    assert f"{path} is damaged (database disk image is malformed): copy it again" in result.stderr


def test_objectives_that_are_no_finite_numbers_are_said(tmp_path: Path) -> None:
    path = searched(tmp_path, name="hurt").folder / "study.db"
    with sqlite3.connect(path) as database:
        database.execute("update trial_values set value = null, value_type = 'INF_POS'")
    database.close()
    result = CliRunner().invoke(main, ["pareto", "hurt", "--runs-dir", str(tmp_path)])
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr == (
        "main: run 'hurt' has no complete trial whose objectives are finite numbers: is its study "
        "damaged?\n"
    )
