"""Rows of trials as files, of which later ones replace earlier ones."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import trial

from dipstage.errors import InputError
from search.analysis.trial_rows import row
from search.experiment.objectives import Objective
from search.presentation.rows import write_rows


@pytest.mark.parametrize("name", ["trials.csv", "trials.csv.gz"])
def test_a_table_that_was_written_before_any_score_is_replaced(tmp_path: Path, name: str) -> None:
    path, objective = tmp_path / name, Objective()
    running = replace(trial(0, 25.0, 10, state="running"), replicates={})
    finished = replace(trial(1, 26.0, 9), params={f"weight_{i}": 0.1 for i in range(20)})
    before, later = row(running, objective), row(finished, objective)
    assert len(later) > 2 * len(before)
    write_rows([before], path)
    write_rows([before, later], path)
    few = {key: before[key] for key in ("trial", "name", "state")}
    for foreign in (few, {**before, "note": "mine"}, dict(reversed(before.items()))):
        path.unlink()
        write_rows([foreign], path)
        with pytest.raises(InputError, match="that this command has not written"):
            write_rows([later], path)


def test_a_name_in_capitals_is_compressed_too(tmp_path: Path) -> None:
    path = tmp_path / "TRIALS.CSV.GZ"
    write_rows([{"trial": 0}], path)
    assert gzip.decompress(path.read_bytes()) == b"trial\n0\n"
