"""What an interrupted search has not written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_runs import experiment, new_run, play

from search.presentation.unwritten import unwritten


def test_each_missing_or_old_result_has_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(tmp_path / "runs", experiment())
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
