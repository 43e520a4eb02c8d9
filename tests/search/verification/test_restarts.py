"""A verification that is begun anew: what is kept of the former one, and what counts."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from played_verification import (
    CLAIMS,
    IMAGES,
    forbid_training,
    gains,
    interrupt,
    planned,
    searched,
    verified,
)

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from search.execution.view import Quiet
from search.experiment.model import Resources
from search.store.paths import verification_path
from search.verification.declared import Request, load_plan
from search.verification.drive import HERE, Hardware, _discard, _Driver, verify
from search.verification.parts import HELD_OUT, TUNING, part
from search.verification.plan import begin, new_plan
from search.verification.result import Verification

pytestmark = pytest.mark.long


class Cut(Exception):
    """As if the process had been killed."""


def cut(*_: object, **__: object) -> None:
    """Be killed."""
    raise Cut


@pytest.mark.ray
def test_a_restart_that_was_cut_off_leaves_a_run_that_can_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(tmp_path)
    verified(run, gains())

    monkeypatch.setattr("search.verification.drive.remove_tree", cut)
    with pytest.raises(Cut):
        verify(run, Request(restart=True, seeds=1), view=Quiet())
    assert Verification.open(run) is None
    assert part(run, HELD_OUT) is None
    assert part(run, TUNING) is not None


def test_a_second_verification_counts_the_claims_of_the_first_and_not_its_pictures(
    tmp_path: Path,
) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    former = load_plan(run)
    again = new_plan(run, Request(restart=True), former).declared
    assert again is not None
    assert (again.earlier, again.family) == (3, 5)
    pictures = new_plan(run, Request(restart=True), former).images
    assert not set(pictures) & set(IMAGES)


@pytest.mark.parametrize("is_discarded", [False, True])
def test_an_interrupted_verification_counts_once_it_has_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_discarded: bool
) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    interrupt(run, HELD_OUT)
    assert Verification.open(run) is None
    if is_discarded:
        following = new_plan(run, Request(restart=True), load_plan(run))
        monkeypatch.setattr("search.verification.drive.remove_tree", cut)
        with pytest.raises(Cut):
            _discard(run, following, "cpu")
        assert part(run, HELD_OUT) is None
    former = load_plan(run)
    again = new_plan(run, Request(restart=True), former).declared
    assert again is not None
    assert (again.earlier, again.family) == (3, 5)
    with pytest.raises(InputError, match="an earlier step has seen pictures skimage:coins"):
        begin(run, Request(images=("skimage:coins",), restart=True))


def test_a_verification_without_scores_does_not_count(tmp_path: Path) -> None:
    """As after a tuning that asks for other learning rates, or for other claims."""
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), yaml_text(to_plain(planned(run, CLAIMS), {})))
    plan, _ = begin(run, Request(images=("skimage:coins",), restart=True))
    assert plan.declared is not None
    assert plan.declared.earlier == 0


@pytest.mark.ray
def test_a_restart_without_a_cluster_keeps_the_verification(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    before = verification_path(run.folder).read_bytes()
    # In a process of its own: where Ray runs already, it is used and no address is looked at.
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "verify", "tiny", "--runs-dir", str(tmp_path),
         "--restart", "--address", "127.0.0.1:1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nobody listens there" in done.stderr
    assert verification_path(run.folder).read_bytes() == before
    assert Verification.open(run) is not None


def test_another_device_is_refused_or_named(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains())
    assert "; trained on cpu" in verification.method
    assert "TUNED ON" not in verification.method
    there = _Driver(HERE, Resources(), "cuda", Quiet())
    words = "tiny/verification on cpu, tiny/learning-rate on cpu has begun, .* train on cuda"
    with pytest.raises(InputError, match=words):
        there.refuse_other_device(run, (HELD_OUT, TUNING))
    replace(there, device="cpu").refuse_other_device(run, (HELD_OUT, TUNING))
    accepting = replace(there, hardware=Hardware(accept_changes=True))
    accepting.refuse_other_device(run, (HELD_OUT, TUNING))
    with sqlite3.connect(run.folder / TUNING / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = "
            """replace(value_json, '"device": "cpu"', '"device": "H100", "precision": "bf16"')"""
        )
    mixed = Verification.open(run)
    assert mixed is not None
    assert "; trained on cpu, PLAIN DIP WAS TUNED ON H100 in bf16" in mixed.method


@pytest.mark.parametrize(("device", "is_kept"), [("cpu", True), ("cuda", False)])
def test_a_restart_keeps_a_tuning_of_the_same_device(
    tmp_path: Path, device: str, is_kept: bool
) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains())
    _discard(run, verification.plan, device)
    assert part(run, HELD_OUT) is None
    assert (part(run, TUNING) is not None) == is_kept


@pytest.mark.parametrize("name", [HELD_OUT, TUNING])
def test_a_restart_refuses_a_link_and_leaves_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = searched(tmp_path / "runs")
    verified(run, gains())
    (run.folder / name).rename(tmp_path / "elsewhere")
    (run.folder / name).symlink_to(tmp_path / "elsewhere")
    forbid_training(monkeypatch)
    with pytest.raises(InputError, match=f"{name} is a link to {tmp_path}/elsewhere, and --restar"):
        verify(run, Request(restart=True, seeds=1), view=Quiet())
    assert (run.folder / name).is_symlink()
    assert not list(run.folder.glob(".*"))
    assert Verification.open(run) is not None
