"""Attributes of studies and trials: what is written is read back, and their names on disk stay."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import optuna
import pytest
from fake_runs import KEYS, outcome

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from search.experiment.candidate import Candidate
from search.experiment.objectives import Objective, Score
from search.store.attributes import (
    Accepted,
    Learned,
    Raced,
    StudyAttributes,
    TrialAttributes,
    is_candidate,
    replicate_attribute,
    replicates,
    without_attributes,
    write,
)

SCHEDULE = Schedule((Stage(0.5, 10), Stage(1.0, 20)))


def test_a_study_s_attributes_are_read_back_and_keep_their_names_on_disk() -> None:
    study = optuna.create_study()
    known = StudyAttributes(
        made=False, experiment={"seeds": [0]}, code={"torch": "2"}, pictures={"a": "0f"}, trials=3,
        objective=Objective("smoothed", 0.1), candidates=[Candidate("x", SCHEDULE)],
        accepted=[Accepted("2026-01-01", ["a 1 → 2"])], cores=1, concurrent=2,
        driven_since="2026-01-01T00:00:00.000+00:00", logged_as="abc", hours=0.5, driven_s=9.5,
        ended="its 0.5 h were used", gain_from=3,
        learned=[Learned("x", ["a.png"], ["0f"], [0], [[{"ramp": 5}, [0.5, -3.0]]])],
    )  # fmt: skip
    names = [
        "made", "experiment", "code", "pictures", "trials", "objective", "candidates", "accepted",
        "cores", "concurrent", "driven_since", "logged_as", "hours", "driven_s", "ended",
        "gain_from", "learned",
    ]  # fmt: skip
    write(study, **{name: getattr(known, name) for name in names})
    assert StudyAttributes.of(study) == known
    assert list(study.user_attrs) == names
    assert study.user_attrs["objective"] == {
        "output": "smoothed", "tolerance_db": 0.1, "window": 1, "stop": "oracle",
        "metric": "psnr", "against": "steps",
    }  # fmt: skip
    assert study.user_attrs["candidates"] == [
        {"name": "x", "stages": [[0.5, 10], [1.0, 20]], "recipe": None,
         "role": "candidate", "trial": None, "origin": None}
    ]  # fmt: skip
    assert study.user_attrs["accepted"] == [{"date": "2026-01-01", "changes": ["a 1 → 2"]}]


@pytest.mark.parametrize("kind", [StudyAttributes, TrialAttributes])
def test_every_attribute_is_documented(kind: type[StudyAttributes | TrialAttributes]) -> None:
    page = Path(__file__).parents[3] / "docs" / "files.md"
    rows = re.findall(r"^\|(.*?)\|", page.read_text(), re.MULTILINE)
    documented = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert {each.name for each in fields(kind)} <= documented


def test_a_study_that_lacks_attributes_and_has_others_is_read() -> None:
    study = optuna.create_study()
    study.set_user_attr("note", "somebody's")
    assert StudyAttributes.of(study) == StudyAttributes(candidates=[], accepted=[], learned=[])


def test_an_unknown_attribute_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="no attribute 'trails': known are made, experiment"):
        write(optuna.create_study(), trails=3)


def test_a_trial_s_attributes_are_read_back_and_keep_their_names_on_disk() -> None:
    schedule = replace(SCHEDULE, recipe=Recipe(learning_rate=0.01, draw="fresh", average_from=7))
    known = replace(
        TrialAttributes.of_schedule(schedule), candidate="x", deaths=1, death="",
        raced=Raced(Score(25.0, 10.0), 2, 0.01), wall_s=0.0,
    )  # fmt: skip
    plain = known.to_plain()
    assert plain["raced"] == {"estimate": [25.0, 10.0], "replicates": 2, "chance": 0.01}
    assert set(plain) == {
        "candidate", "learning_rate", "stages", "recipe", "deaths", "death", "raced", "wall_s",
    }  # fmt: skip
    key = KEYS[0]
    attribute = replicate_attribute(key, outcome(25.0, 10))
    assert list(attribute) == [f"replicate:{key}"]
    trial = optuna.create_trial(value=1.0, user_attrs={**plain, **attribute})
    assert TrialAttributes.of(trial) == known
    assert known.schedule == schedule
    assert plain["recipe"] == {"draw": "fresh", "average_from": 7}
    assert replicates(trial) == {key: outcome(25.0, 10)}
    assert is_candidate(trial)
    assert not is_candidate(without_attributes(trial))
    assert trial.user_attrs
