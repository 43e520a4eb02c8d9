"""What the head is asked before an upload, and what is made of its answer."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fake_runs import experiment, new_run

from dipstage.errors import InputError
from search.remote.head import Head, check, question
from search.remote.upload import Submission


def answered(submission: Submission, home: Path) -> Head:
    """What this machine answers as the head of a user whose home this is."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["sh", "-c", question(submission)], capture_output=True, text=True, check=True,
        env={**os.environ, "HOME": str(home), "PATH": path},
    )  # fmt: skip
    return Head.read(["Running entrypoint\n", *done.stdout])


def test_the_head_answers_what_it_has(tmp_path: Path) -> None:
    tiny = experiment(logging={"tensorboard": True})
    submission = Submission(tiny)
    found = answered(submission, tmp_path)
    assert found.python == sys.version_info[:3]
    assert found.packages["torch"] == version("torch")
    assert (found.missing, found.exists) == ([], False)
    assert check(found, submission) == []
    new_run(tmp_path / "dipsearch-runs", tiny)
    found = answered(submission, tmp_path)
    with pytest.raises(InputError, match=r"run 'tiny' exists in dipsearch-runs .*--resume"):
        check(found, submission)
    resumed = Submission(tiny, resume=True)
    assert check(found, resumed) == []
    elsewhere = Submission(tiny, runs_dir="elsewhere", resume=True)
    found = answered(elsewhere, tmp_path)
    with pytest.raises(InputError, match=r"no run 'tiny' in elsewhere on the cluster's head"):
        check(found, elsewhere)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"python": (3, 10, 12)}, "lacks Python 3.11.4 or newer"),
        ({"missing": ["tensorboardX"]}, "lacks tensorboardX"),
        ({"packages": {"optuna": None}}, "lacks optuna"),
        ({"packages": {"optuna": "4.2.0"}}, r"lacks optuna.* \(it has 4.2.0\)"),
    ],
)
def test_what_the_head_lacks_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    submission = Submission(experiment())
    found = answered(submission, tmp_path)
    if "packages" in change:
        change = {"packages": found.packages | change["packages"]}
    with pytest.raises(InputError, match=words):
        check(replace(found, **change), submission)


def test_other_versions_are_noticed(tmp_path: Path) -> None:
    submission = Submission(experiment())
    found = answered(submission, tmp_path)
    other = replace(found, packages=found.packages | {"torch": "2.99.0"})
    [notice] = check(other, submission)
    assert notice.startswith("the cluster's head has torch 2.99.0 and this machine ")


def test_a_head_without_python_is_one_sentence() -> None:
    with pytest.raises(InputError, match="the cluster's head cannot run python"):
        Head.read(["sh: 1: exec: python: not found\n"])
