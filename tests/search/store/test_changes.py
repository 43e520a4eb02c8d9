"""What a resume goes on with, and what it refuses: experiment, code, files in the run's folder."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import experiment, new_run

from dipstage.errors import InputError
from dipstage.schedules.stopping import OUTPUTS
from search import Run
from search.experiment.model import Experiment
from search.store.changes import adopt_changes, record_changes, without_effect


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return new_run(tmp_path, experiment())


def adopt(run: Run, given: Experiment | None, *, accept: bool) -> Run:
    """As a resume does."""
    record_changes(run, *adopt_changes(run, given, accept=accept))
    return run.reread()


def edit(run: Run, **changes: Any) -> Experiment:
    """Write another experiment into the run's folder."""
    edited = experiment(**changes)
    (run.folder / "experiment.yaml").write_text(edited.yaml())
    return edited


def test_an_unchanged_run_goes_on_and_writes_nothing(run: Run) -> None:
    before = (run.folder / "experiment.yaml").stat().st_mtime_ns
    assert adopt(run, None, accept=False).experiment == experiment()
    assert (run.folder / "experiment.yaml").stat().st_mtime_ns == before


def test_a_renamed_key_is_no_change(run: Run) -> None:
    """As an earlier version froze it: `heaviest` in the folder and in the study."""
    path = run.folder / "experiment.yaml"
    path.write_text(path.read_text().replace("max_level", "heaviest"))
    recorded = run.study.user_attrs["experiment"]
    noise = recorded["space"]["noise"]
    noise["heaviest"] = noise.pop("max_level")
    run.study.set_user_attr("experiment", recorded)
    before = path.read_bytes()
    assert adopt(run, None, accept=False).experiment == experiment()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [0, 1, 2]}, r"seeds \[0, 1\] → \[0, 1, 2\]"),
        ({"size": 32}, "size 16 → 32"),
        ({"task": {"sigma_255": 10.0}}, r"task\.sigma_255 25\.0 → 10\.0"),
        ({"candidates": ["baseline"]}, r"candidates \['baseline', 'log10'\] → \['baseline'\]"),
        ({"objective": {"output": "smoothed"}}, r"objective\.output raw → smoothed"),
        (
            {"trainer": {**experiment().model_dump()["trainer"], "width": 8}},
            r"trainer\.width 4 → 8",
        ),
    ],
)
def test_what_gives_numbers_their_meaning_cannot_change(
    run: Run, changes: dict[str, Any], words: str
) -> None:
    edit(run, **changes)
    for accept in (False, True):
        with pytest.raises(InputError, match=words):
            adopt(run, None, accept=accept)
    # Whoever reads the run meanwhile sees what it is, not what the file says.
    assert Run.open("tiny", run.folder.parent).experiment == experiment()


def test_how_a_search_goes_on_can_change_and_is_noted(run: Run) -> None:
    edited = edit(run, racing={"enabled": False}, resources={"concurrent": 1})
    with pytest.raises(InputError, match=r"racing\.enabled True → False; .*--accept-changes"):
        adopt(run, None, accept=False)
    assert adopt(run, None, accept=True).experiment == edited
    again = Run.open("tiny", run.folder.parent)
    assert adopt(again, None, accept=False).experiment == edited
    [noted] = again.study.user_attrs["accepted"]
    assert noted["changes"] == ["racing.enabled True → False", "resources.concurrent auto → 1"]


def test_more_trials_are_asked_for_on_the_command_line(run: Run) -> None:
    edit(run, search={"trials": 9})
    with pytest.raises(
        InputError,
        match=r"trials 4 → 9: restore .*/experiment\.yaml, and ask for more by --trials$",
    ):
        adopt(run, None, accept=True)
    edit(run, search={"trials": 9}, seeds=[7])
    with pytest.raises(InputError, match=r"another experiment: seeds .* → \[7\]; search\.trials"):
        adopt(run, None, accept=True)


def test_other_code_is_refused_until_it_is_accepted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.store.changes.code_digest", lambda: "another")
    monkeypatch.setattr("search.store.changes.versions", lambda: {"torch": "9.9.9"})
    with pytest.raises(InputError, match=r"code dipstage .* → another; code torch .* → 9\.9\.9"):
        adopt(run, None, accept=False)
    adopt(run, None, accept=True)
    adopt(run, None, accept=False)


def test_pictures_may_lie_elsewhere_as_their_content_is_compared(run: Run) -> None:
    # Of what is given, the rest is not looked at: the run may have been launched with options.
    moved = experiment(
        images=["skimage:chelsea", "/elsewhere/camera.png"], name="other", search={"trials": 1}
    )
    assert adopt(run, moved, accept=False).experiment.images == moved.images
    assert Run.open("tiny", run.folder.parent).experiment.search.trials == 4
    assert "/elsewhere/camera.png" in (run.folder / "experiment.yaml").read_text()


@pytest.mark.parametrize("keep", [0, 40, 200, 600])
def test_an_experiment_that_was_cut_off_is_refused(run: Run, keep: int) -> None:
    path = run.folder / "experiment.yaml"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="experiment"):
        adopt(run, None, accept=True)
    assert Run.open("tiny", run.folder.parent).experiment == experiment()


def test_foreign_files_in_a_run_s_folder_are_passed_over(played: Run) -> None:
    for name in ("notes.txt", "curves/trial00000-chelsea-seed9.npz", "curves/x", "study.db-x"):
        (played.folder / name).write_bytes(b"foreign")
    again = Run.open("tiny", played.folder.parent)
    assert [t.replicates for t in again.records()] == [t.replicates for t in played.records()]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut off", b"\x80\x04pickled"])
def test_curves_that_are_cut_off_are_named_and_never_read(played: Run, content: bytes) -> None:
    trial = played.records()[0]
    path = played.folder / "curves" / "trial00000-chelsea-seed0.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"trial00000-chelsea-seed0\.npz cannot be read"):
        played.curves(trial, "chelsea-seed0")


def test_curves_with_a_damaged_byte_are_named_or_read_as_they_were(played: Run) -> None:
    trial = played.records()[0]
    path = played.folder / "curves" / "trial00000-chelsea-seed0.npz"
    kept = {f"psnr_gt_{output}_db": np.linspace(5, 20, 30, dtype=np.float32) for output in OUTPUTS}
    np.savez_compressed(path, allow_pickle=False, **kept)
    whole, refused = path.read_bytes(), 0
    for at in range(0, len(whole), 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            curves = played.curves(trial, "chelsea-seed0")
        except InputError:
            refused += 1
            continue
        for name, curve in curves.items():
            assert np.array_equal(curve, kept[name])
    assert refused > len(whole) / 4


def test_an_array_and_an_archive_of_something_else_are_no_curves(played: Run) -> None:
    trial = played.records()[0]
    path = played.folder / "curves" / "trial00000-chelsea-seed0.npz"
    array = io.BytesIO()
    np.save(array, np.zeros(30))
    archive = io.BytesIO()
    np.savez(archive, stage=np.zeros(30))
    for content in (array.getvalue(), archive.getvalue()):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"seed0\.npz cannot be read: it holds no curves"):
            played.curves(trial, "chelsea-seed0")


def test_a_picture_that_is_none_is_named_and_one_that_is_missing_is_none(played: Run) -> None:
    trial = played.records()[0]
    assert played.picture(trial, "chelsea-seed0") is None
    path = played.folder / "pictures" / "trial00000-chelsea-seed0.png"
    path.parent.mkdir()
    path.write_bytes(b"<svg onload=alert(1)>")
    with pytest.raises(InputError, match=r"trial00000-chelsea-seed0\.png cannot.* no PNG"):
        played.picture(trial, "chelsea-seed0")


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_study_that_was_cut_off_is_refused(played: Run, keep: int) -> None:
    path = played.folder / "study.db"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"study\.db"):
        Run.open("tiny", played.folder.parent).records()


def test_the_hardware_of_a_resume_is_a_change_like_any_other(run: Run) -> None:
    other = experiment(resources={"device": "cuda", "concurrent": 4}).resources
    with pytest.raises(InputError, match=r"resources\.device auto → cuda: .*--accept-changes"):
        adopt_changes(run, None, accept=False, resources=other)
    now, changes = adopt_changes(run, None, accept=True, resources=other)
    assert now.resources == other
    assert [change.key for change in changes] == ["resources.concurrent", "resources.device"]


def test_what_a_resume_does_not_take_from_the_experiment_is_named(tmp_path: Path) -> None:
    now = new_run(tmp_path, experiment()).experiment
    resources = {**now.resources.model_dump(), "concurrent": 8}
    search = {**now.search.model_dump(), "learn_from": ["earlier"]}
    same = now.model_copy(update={"name": "other", "images": ["moved/chelsea.png"]})
    assert without_effect(same, now) == []
    other = experiment(size=48, resources=resources, search=search)
    assert without_effect(other, now) == ["size", "resources.concurrent"]
