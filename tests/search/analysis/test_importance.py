"""Importance of parameters, held to objectives that one parameter alone decides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import KEYS, experiment, new_run, outcome

from search import Run
from search.analysis.importance import MIN_TRIALS, importance_of
from search.execution.ledger import Ledger

pytestmark = pytest.mark.long

SPACE: dict[str, Any] = {
    "stages": {"low": 3, "high": 9},
    "exponent": {"low": 0.2, "high": 5.0},
    "ramp": {"low": 5, "high": 25},
    "split": ["power"],
    "noise": {"beta": ["linear", "cosine"], "max_level": {"low": 0.1, "high": 1.0}},
}


def planted(
    runs_dir: Path,
    score: Callable[[dict[str, Any]], tuple[float, int]],
    trials: int = 40,
    **space: Any,
) -> Run:
    """A played search whose objectives are a function of the parameters; candidates win."""
    tiny = experiment(
        space=SPACE | space,
        search={"trials": trials, "sampler": "random"},
        racing={"enabled": False},
    )
    run = new_run(runs_dir, tiny)
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        params = next(t.params for t in run.records() if t.number == work.number)
        for key in KEYS:
            ledger.record(work.number, key, outcome(*(score(params) if params else (99.0, 1))))
        ledger.finish(work.number, None)
    return run.reread()


def test_the_parameter_that_alone_decides_has_the_highest_importance(tmp_path: Path) -> None:
    run = planted(tmp_path, lambda p: (20 + 5 * p["max_level"], p["ramp"]))
    first = importance_of(run)
    found = first.values
    assert list(found) == ["max_psnr_gt_db", "steps_to_max"]
    for key, decisive in (("max_psnr_gt_db", "max_level"), ("steps_to_max", "ramp")):
        assert next(iter(found[key])) == decisive
        assert found[key][decisive] > 0.8
        assert sum(found[key].values()) == pytest.approx(1)
        assert set(found[key]) == {"stages", "ramp", "beta", "max_level", "exponent"}
        assert list(found[key].values()) == sorted(found[key].values(), reverse=True)
        assert all(type(share) is float for share in found[key].values())
    assert importance_of(run.reread()).values == found
    assert first.note == "fANOVA over 40 sampled trials"


def test_parameters_of_a_branch_are_named_and_do_not_empty_the_rest(tmp_path: Path) -> None:
    run = planted(
        tmp_path,
        lambda p: (20 + 5 * p.get("max_level", 0), 10 + p["stages"]),
        stages={"low": 1, "high": 9},
        split=["power", "free"],
    )
    found = importance_of(run)
    records = [trial for trial in run.records() if not trial.candidate]
    assert any("split" not in trial.params for trial in records)
    assert set(found.values["max_psnr_gt_db"]) == {"stages", "ramp", "beta", "max_level", "split"}
    assert next(iter(found.values["max_psnr_gt_db"])) == "max_level"
    assert next(iter(found.values["steps_to_max"])) == "stages"
    assert found.trials == sum("split" in trial.params for trial in records)
    assert list(found.left_out) == ["exponent", "weights"]
    assert found.left_out["exponent"] == sum("exponent" in trial.params for trial in records)
    assert found.note.endswith("; in too few trials to be ranked: exponent, weights")


def test_too_few_trials_give_none_and_a_reason(tmp_path: Path) -> None:
    few = importance_of(planted(tmp_path, lambda p: (20.0, p["ramp"]), trials=MIN_TRIALS - 1))
    assert few.values == {}
    assert few.note == "importance needs 8 complete sampled trials, tiny has 7"


def test_a_parameter_that_is_left_alone_is_no_answer(tmp_path: Path) -> None:
    run = planted(
        tmp_path, lambda p: (20.0, 10 + p["stages"]), trials=9, stages={"low": 1, "high": 3}
    )
    have = sum("ramp" in trial.params for trial in run.records())
    assert have < MIN_TRIALS
    found = importance_of(run)
    assert found.values == {}
    assert found.note == (
        "importance needs two parameters that at least 8 of the 9 sampled trials have: tiny has "
        f"only stages, and the next is in {have} trials"
    )


def test_a_branch_that_most_trials_lack_is_said_to_be_too_rare(tmp_path: Path) -> None:
    """More trials would not help: the share that is needed grows with them."""
    run = planted(
        tmp_path, lambda p: (20.0, 10 + p["stages"]), trials=16, stages={"low": 1, "high": 2}
    )
    have = sum("ramp" in trial.params for trial in run.records())
    assert MIN_TRIALS <= have < 12
    words = f"tiny has only stages, and the next is in {have} trials"
    assert importance_of(run).note.endswith(f"at least 12 of the 16 sampled trials have: {words}")


def test_an_objective_that_never_varies_has_no_important_parameter(tmp_path: Path) -> None:
    found = importance_of(planted(tmp_path, lambda p: (20.0, p["ramp"]), trials=MIN_TRIALS)).values
    assert found["max_psnr_gt_db"] == {}
    assert next(iter(found["steps_to_max"])) == "ramp"


def test_raced_trials_count_with_their_predicted_score(tmp_path: Path) -> None:
    tiny = experiment(space=SPACE, search={"trials": 12, "sampler": "random"}, candidates=[])
    run = new_run(tmp_path, tiny)
    ledger = Ledger(run.study, run.experiment, KEYS)
    for number in range(12):
        work = ledger.next()
        assert work is not None
        good = number < 9
        for key in KEYS if good else KEYS[:2]:
            ledger.record(number, key, outcome(*(26 + 0.01 * number, 15) if good else (20, 25)))
        assert good or ledger.race(number)
        ledger.finish(number, None)
    run = run.reread()
    assert [trial.state for trial in run.records()] == ["complete"] * 9 + ["raced"] * 3
    assert importance_of(run).trials == 12
