"""Schedules that a verification trains: references, candidates and controls."""

from pathlib import Path

import pytest
from fake_runs import experiment
from played_verification import gains, searched, verified

from dipstage.errors import InputError
from dipstage.schedules.schedule import Schedule
from search.experiment.candidate import Candidate
from search.experiment.prepare import load_candidates
from search.verification.schedules import controls_of, lacking

pytestmark = pytest.mark.long


def test_references_are_tuned_plain_dip_the_usual_rate_and_the_schedule_s_own(
    tmp_path: Path,
) -> None:
    run = searched(
        tmp_path,
        candidates=["uniform", "log10"],
        trainer={**experiment().model_dump()["trainer"], "learning_rate": 0.1},
    )
    verification = verified(run, gains(), claims={2: "time"})
    rates = [t.learning_rate for t in verification.held_out.records() if t.is_plain]
    assert rates == [0.01, 0.1, 0.1]
    assert verification.references("trial 2") == {t.name for t in verification.plains}


def test_a_plain_dip_that_is_there_already_is_not_trained_twice(tmp_path: Path) -> None:
    verification = verified(searched(tmp_path), gains(), claims={3: "time", 2: "time"})
    names = [trial.name for trial in verification.held_out.records()]
    tuned = "plain DIP, highest PSNR and fastest (rate 0.01, input noise 0.0333, ema 0.99)"
    assert [name for name in names if "averaged from" not in name] == [
        tuned, "trial 3", "trial 2", "log10",
    ]  # fmt: skip
    assert len(names) == 6


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("trial 5 reversed", "the order of the stages"),
        ("trial 5 shuffled", "the order of the stages"),
        ("trial 5 contrast alone", "the added noise"),
        ("plain DIP, rate 0.01", "the stages"),
        ("plain DIP as trial 5", "the stages"),
    ],
)
def test_each_control_lacks_something_else(name: str, what: str) -> None:
    assert lacking(name, "trial 5") == what


def test_controls_that_are_the_schedule_itself_are_left_out() -> None:
    def names(*levels: float) -> list[str]:
        schedule = Schedule.from_pairs([*([level, 3] for level in levels), [1.0, 20]])
        found = controls_of(Candidate("it", schedule, role="found", trial=7))
        return [control.name for control in found]

    assert names(0.2) == ["it contrast alone"]
    assert names(0.2, 0.4) == ["it reversed", "it contrast alone"]
    assert names(0.2, 0.4, 0.6) == ["it reversed", "it shuffled", "it contrast alone"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trial 7", "is reserved for trials"),
        ("plain DIP", "is reserved for trials"),
        ("64", "would mean the trial of that number"),
    ],
)
def test_candidates_may_not_have_names_of_trials(tmp_path: Path, name: str, words: str) -> None:
    run = searched(tmp_path)
    path = run.export("2", tmp_path / f"{name}.yaml")
    with pytest.raises(InputError, match=f"candidates: the name '{name}' {words}: rename the"):
        load_candidates(experiment(candidates=[str(path)]))
