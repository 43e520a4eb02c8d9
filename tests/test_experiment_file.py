"""The page of the experiment file: every key, told by the model alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from experiment_file import groups, page
from fake_runs import CONTENT, experiment
from pydantic import BaseModel

from dipstage.errors import InputError
from dipstage.schedules.settings import TrainerSettings
from search.experiment.model import Experiment
from search.experiment.reading import validate

PAGE = Path(__file__).parents[1] / "docs" / "experiment-file.md"


def keys_of(value: Any, prefix: str = "") -> Iterator[str]:
    """Every key that a written experiment has, groups of keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield prefix + key
            if set(value[key] if isinstance(inner, dict) else ()) != {"log", "low", "high"}:
                yield from keys_of(inner, f"{prefix}{key}.")


def test_the_page_is_what_the_model_gives() -> None:
    assert PAGE.read_text() == page(), "python docs/experiment_file.py docs/experiment-file.md"


def test_every_key_that_an_experiment_is_frozen_with_is_on_the_page() -> None:
    told = {key.name for group in groups() for key in group.keys}
    level = {"low": 30.0, "high": 40.0}
    total = {"total": {"max_sigma_255": {"low": 50.0, "high": 99.0}, "min_sigma_255": level}}
    tasks = [
        {"kind": "denoise", "peak": 20.0},
        {"kind": "inpaint", "missing": 0.3},
        {"kind": "inpaint", "mask": "m.png"},
        {"kind": "super_resolve"},
    ]
    until = {**CONTENT["search"], "until": {"no_gain": 9}}
    by_total = experiment(space={**CONTENT["space"], "noise": total}, search=until)
    frozen = (experiment(), by_total, *(experiment(task=task) for task in tasks))
    assert {key for each in frozen for key in keys_of(each.model_dump(mode="json"))} == told


def test_every_key_has_a_meaning_values_and_a_default() -> None:
    for group in groups():
        for key in group.keys:
            assert len(key.meaning) > 3, key.name
            assert key.values, key.name
            assert key.default or "group" in key.values, key.name


def test_a_key_without_a_meaning_is_refused() -> None:
    class Bare(BaseModel):
        gain: float = 1.0

    class Silent(BaseModel):
        """An experiment."""

        task: Bare = Bare()

    with pytest.raises(ValueError, match=r"the group task of an experiment has no description"):
        list(groups(Silent))
    Bare.__doc__ = "What is restored."
    with pytest.raises(ValueError, match=r"the key task\.gain of an experiment has no description"):
        list(groups(Silent))


def test_the_trainer_s_fields_all_carry_their_help() -> None:
    for field in dataclasses.fields(TrainerSettings):
        assert field.metadata["help"].endswith("."), field.name


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("search.trials", 0, 1_000_000),
        ("racing.min_replicates", 1, None),
        ("resources.cpus_per_trial", 1, 10_000),
        ("task.sigma_255", 0, 1000),
        ("trainer.width", 1, 4096),
    ],
)
def test_limits_on_the_page_are_those_that_are_kept(key: str, least: int, most: int | None) -> None:
    values = {k.name: k.values for group in groups() for k in group.keys}[key]
    group, name = key.split(".")
    refused = [least - 1]
    if most is not None:
        assert f"{least} to {most:,}" in values
        refused.append(most + 1)
    else:
        assert f"at least {least}" in values
    for value in refused:
        with pytest.raises(InputError, match=name):
            validate({**CONTENT, group: {**CONTENT.get(group, {}), name: value}}, "file.yaml")


def test_defaults_on_the_page_are_the_model_s() -> None:
    told = {key.name: key.default for group in groups() for key in group.keys}
    assert told["search.trials"] == f"`{Experiment.model_fields['search'].default.trials}`"
    assert told["trainer.learning_rate"] == f"`{TrainerSettings().learning_rate}`"
    assert told["size"] == "`null`"
    assert told["name"] == told["space.stages"] == "required"
