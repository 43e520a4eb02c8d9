"""What is wrong with an experiment is said in our words: key, rule, value, remedy."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fake_runs import CONTENT
from pydantic import BaseModel

from dipstage.errors import InputError
from search.experiment.model import Experiment
from search.experiment.reading import validate

TOTAL = {
    "min_sigma_255": {"low": 30.0, "high": 40.0}, "max_sigma_255": {"low": 50.0, "high": 60.0},
}  # fmt: skip
FULL: dict[str, Any] = {**CONTENT, "search": {"trials": 4, "until": {"no_gain": 5}}}


def keys(group: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a group and of the groups in it."""
    for name, field in group.model_fields.items():
        yield f"{prefix}{name}"
        for member in get_args(field.annotation) or (field.annotation,):
            if isinstance(member, type) and issubclass(member, BaseModel):
                yield from keys(member, f"{prefix}{name}.")


KEYS = list(keys(Experiment))
WRONG: list[Any] = [
    None, True, 0, -1, 3, 2.0, 2.5, 1e300, float("nan"), float("inf"), 2**63, "", "x", "3", "yes",
    "0,5", [], [1], ["x"], [None], [[]], {}, {"x": 1}, {1: 2}, "x" * 2000, list(range(20_000)),
]  # fmt: skip
FOREIGN = re.compile(r"nput should|valid |dictionary|instance|validation|[Ii]tems|integer|boolean")
"""Words of pydantic that mean nothing to somebody who writes a file."""


def with_value(key: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(FULL)
    if key.startswith("space.noise.total"):
        content["space"]["noise"] = {"total": copy.deepcopy(TOTAL)}
    inner: Any = content
    *parents, last = key.split(".")
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return content


@pytest.mark.parametrize("key", KEYS)
def test_every_wrong_value_of_every_key_is_named_in_our_words(key: str) -> None:
    refused = 0
    for value in WRONG:
        try:
            validate(with_value(key, value), "e.yaml")
        except InputError as error:
            refused += 1
            said = str(error)
            assert said.startswith("e.yaml: ")
            assert key.partition(".")[0] in said
            assert not FOREIGN.search(said.replace(repr(value), "")), said
            assert said.isprintable()
    assert refused >= 10


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("images", [], "images: must have at least 1 entry, got none"),
        ("images", ["x"] * 1001, "images: must have at most 1,000 entries, got 1,001"),
        ("images", "a.png", "images: must be a list, got 'a.png': write a list, as in [a.png]"),
        ("images", [None], "images.0: has no value: write one, or remove the entry"),
        ("name", None, "name: has no value: write one"),
        ("name", 2024, 'name: must be a text, got 2024: write "2024", in quotes'),
        ("candidates", None, "candidates: has no value: write one, or leave the key out"),
        ("size", 32.0, "size: must be a whole number, got 32.0: write 32"),
        ("size", "32", "size: must be a whole number, got '32': write a number without quotes"),
        ("size", "no", "size: must be a whole number, got 'no'$"),
        ("size", "16,5", "size: must be a whole number, got '16,5'$"),
        ("racing.enabled", "no", "racing.enabled: must be true or false, got 'no'"
         ": write true or false, without quotes"),
        ("size", 0, "size: must be at least 1, got 0"),
        ("search.hours", 0, "search.hours: must be above 0, got 0"),
        ("search.hours", "0,5", "search.hours: must be a number, got '0,5': write 0.5"),
        ("search.hours", "soon", "search.hours: must be a number, got 'soon'"),
        ("search.sampler", "x", "search.sampler: must be tpe, gp, nsga2, qmc or random, got 'x'"),
        ("racing.confidence", 1, "racing.confidence: must be below 1, got 1"),
        ("racing.enabled", 1, "racing.enabled: must be true or false, got 1"
         ": write true or false, without quotes"),
        ("resources.concurrent", 0, "resources.concurrent: must be auto or at least 1, got 0"),
        ("resources.concurrent", "2", "resources.concurrent: must be auto or a whole number, "
         "got '2': write a number without quotes"),
        ("resources.gpus_per_trial", float("nan"),
         "resources.gpus_per_trial: must be auto or a finite number, got nan"),
        ("space.stages", 5, "space.stages: must be a range such as {low: 1, high: 2}, got 5"),
        ("space.stages", {"min": 2, "max": 3}, "space.stages.min: unknown key: known are log, low, "
         "high (and 3 more)$"),
        ("search.until", {"nogain": 5}, "search.until.nogain: unknown key: known are no_gain "
         "(and 1 more)$"),
        ("space.stages", {"low": 2}, "space.stages.high: is missing"),
        ("logging.mlflow", "", "logging.mlflow: must not be empty, got ''"),
        ("search", None, "search: has no value: write one, or leave the key out"),
        ("trainer", None, "trainer: has no value: write one, or leave the key out"),
        ("trainer", 3, "trainer: must be keys and values, got 3"),
        ("trainer", {1: 2}, "trainer: unknown key 1: known are iterations, width"),
        ("trainer.iterations", 6e1, "trainer: iterations must be a whole number, got 60.0: "
         "write 60"),
        ("trainer.iterations", None, "trainer: iterations has no value: write one, or leave"),
        ("task", None, "task: has no value: write one, or leave the key out"),
    ],
)  # fmt: skip
def test_the_sentence(key: str, value: Any, said: str) -> None:
    with pytest.raises(InputError) as refused:
        validate(with_value(key, value), "e.yaml")
    assert f"{refused.value}$".startswith(f"e.yaml: {said}"), "$ is the end of the sentence"


def test_a_key_that_is_no_text_is_unknown() -> None:
    with pytest.raises(InputError, match="1: unknown key: known are name, images"):
        validate({**CONTENT, 1: 2}, "e.yaml")  # type: ignore[dict-item]
