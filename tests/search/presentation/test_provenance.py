"""Where a run's numbers come from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fake_runs import experiment, new_run, outcome, trial
from played_verification import planned, searched

from search.presentation.provenance import _commands, busy_s, provenance
from search.store.attributes import write
from search.store.records import Trial

MORNING = datetime(2026, 1, 1, 8)


def test_time_by_the_clock_leaves_out_what_lay_between_drivers() -> None:
    def at(number: int, start_min: float, end_min: float, training_min: float) -> Trial:
        one = replace(outcome(25.0, 10), wall_s=60 * training_min)
        return replace(
            trial(number, 25.0, 10),
            replicates={"a-seed0": one},
            started=MORNING + timedelta(minutes=start_min),
            ended=MORNING + timedelta(minutes=end_min),
        )

    side_by_side = [at(0, 0, 10, 10), at(1, 5, 15, 9), at(2, 16, 20, 4)]
    assert busy_s(side_by_side) == 20 * 60
    # Trial 3 was under way when the driver died, and a driver of the next day finished it.
    next_day = [*side_by_side, at(3, 18, 24 * 60, 6), at(4, 24 * 60, 24 * 60 + 5, 5)]
    assert busy_s(next_day) == (20 + 6 + 5) * 60
    assert busy_s([trial(0, 25.0, 10)]) == 0


def test_an_experiment_that_is_passed_on_names_runs_without_their_folders(tmp_path: Path) -> None:
    earlier = [str(tmp_path / "lab" / "first"), "s3://bucket/private/second", "third"]
    run = new_run(tmp_path, experiment(search={"trials": 2, "learn_from": earlier}))
    shared = provenance(run, run.records(), None).experiment
    assert "learn_from: [first, second, third]" in shared
    assert str(tmp_path) not in shared


def test_commands_have_the_hours_that_a_resume_asked_for(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 2, "hours": 1.5}))
    assert "--hours" not in _commands(run, None)[0]
    write(run.study, hours=10.0)
    assert _commands(run.reread(), None)[0].endswith("--name tiny-again --hours 10")


def test_commands_have_the_effects_that_a_verification_declared(tmp_path: Path) -> None:
    run = searched(tmp_path)
    plan = planned(run, {3: "time"})
    assert plan.declared is not None
    declared = replace(plan.declared, smallest_db=0.5, smallest_ratio=0.9)
    verification: Any = SimpleNamespace(plan=replace(plan, declared=declared))
    assert "--smallest-db 0.5 --smallest-ratio 0.9" in _commands(run, verification)[1]
