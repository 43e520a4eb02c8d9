"""The task of an experiment: files beside it, what is checked at launch, changes at a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blur_package import install_blur
from fake_runs import CONTENT, experiment, new_run, play
from PIL import Image

from dipstage.documents.plain_yaml import yaml_text
from dipstage.errors import InputError
from dipstage.randomness import Streams
from dipstage.schedules.schedule_file import read_schedule_file
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint, MaskedInpaint
from dipstage.tasks.super_resolve import SuperResolve
from search import Run
from search.analysis.comparison import reference_point
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures, loaded_task
from search.experiment.reading import load_experiment
from search.presentation.provenance import provenance
from search.remote.upload import pack_search
from search.store.changes import adopt_changes, record_changes, refuse_changed_files, without_effect
from search.verification.export import Choice, export

HALF = {"kind": "inpaint", "missing": 0.5}


def save_mask(path: Path, side: int = 16, hidden: int = 5) -> Path:
    """Some rows are missing."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.full((side, side), 255, np.uint8)
    pixels[:hidden] = 0
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment with a mask beside it."""
    save_mask(tmp_path / "masks/m.png")
    task = {"kind": "inpaint", "mask": "masks/m.png"}
    (tmp_path / "e.yaml").write_text(yaml_text({**CONTENT, "task": task}))
    return tmp_path / "e.yaml"


def test_an_experiment_without_a_task_is_what_it_was() -> None:
    assert experiment().task == Denoise(sigma_255=25)
    assert experiment(task={"kind": "denoise", "sigma_255": 30}).task == Denoise(sigma_255=30.0)


def test_masks_lie_beside_the_experiment_and_in_set_where_one_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_experiment(file)
    assert found.task == Inpaint(mask=str(file.parent / "masks/m.png"))
    task = loaded_task(found)
    assert isinstance(task, MaskedInpaint)
    assert task.known.shape == (16, 16)
    assert float(task.known.mean()) == 11 / 16
    monkeypatch.chdir(file.parent / "masks")
    assert load_experiment(file, ("task.mask=m.png",)) == found
    again = file.with_name("again.yaml")
    again.write_text(found.yaml())
    assert load_experiment(again) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {"kind": "inpaint", "mask": "skimage:camera"}}, "task: mask .* is no mask"),
        ({"task": {"kind": "inpaint", "mask": "/nowhere/m.png"}}, "task: .*nowhere.*does not"),
        ({"task": {"kind": "super_resolve", "factor": 4}, "size": 50}, "factor 4 does not divide"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load_pictures(experiment(**changes))


def test_candidates_say_on_which_task_they_were_measured() -> None:
    [plain, log10] = load_candidates(experiment(task=HALF))
    assert plain.origin is None
    assert log10.origin == (
        "measured on another task (denoise, sigma 25) than this one (inpaint, missing 0.5)"
    )
    assert [each.origin for each in load_candidates(experiment())] == [None, None]


def test_the_reference_point_of_other_tasks_is_0_db() -> None:
    assert reference_point(experiment(task={**HALF, "sigma_255": 25.0})).max_psnr_gt_db == 0
    assert reference_point(experiment(task={"peak": 30.0})).max_psnr_gt_db > 15


def test_an_export_says_its_task_and_shows_no_folder(file: Path, tmp_path: Path) -> None:
    run = play(new_run(tmp_path / "runs", load_experiment(file)), lambda number: (25.0 + number, 9))
    trial = run.records()[2]
    path = export(run, Choice(trial, None, ""), tmp_path / "s.yaml")
    measured = read_schedule_file(path).measured
    assert measured is not None
    assert measured.task == {"kind": "inpaint", "mask": "m.png", "sigma_255": 0.0}
    assert str(tmp_path) not in path.read_text()
    assert str(tmp_path) not in provenance(run, run.records(), None).experiment
    saved = tmp_path / "other.yaml"
    saved.write_text(yaml_text({**CONTENT, "candidates": [str(path)]}))
    [candidate] = load_candidates(load_experiment(saved))
    assert candidate.origin is not None
    assert "measured on another task (inpaint, mask m.png) than this one" in candidate.origin


def reopened(run: Run) -> Run:
    return Run.open(run.name, run.folder.parent)


def test_another_task_or_another_mask_cannot_be_resumed(file: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs", load_experiment(file))
    refuse_changed_files(run, run.experiment)
    mask = save_mask(file.parent / "masks/m.png", hidden=6)
    with pytest.raises(InputError, match=r"task\.mask .*m\.png' is not what it was when run"):
        refuse_changed_files(run, run.experiment)
    mask.unlink()
    with pytest.raises(InputError, match=r"task\.mask .*m\.png' cannot be read"):
        refuse_changed_files(run, run.experiment)
    path = run.folder / "experiment.yaml"
    path.write_text(experiment(task=HALF).yaml())
    with pytest.raises(InputError, match=r"task\.missing none → 0\.5"):
        adopt_changes(reopened(run), None, accept=True)


def masked(folder: Path, mask: str) -> Experiment:
    """An experiment with a mask of scikit-image, or with a page of a file that has two."""
    if mask.startswith("skimage:"):
        return experiment(task={"kind": "inpaint", "mask": mask})
    pages = [Image.fromarray(np.eye(16, dtype=np.uint8)[:, ::way] * 255) for way in (1, -1)]
    pages[0].save(folder / "m.tif", save_all=True, append_images=pages[1:])
    return experiment(task={"kind": "inpaint", "mask": f"{folder}/{mask}"})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("m.tif#page=1", "m.tif#page=2"),
        ("m.tif#page=1", "skimage:horse"),
        ("skimage:horse", "m.tif#page=1"),
    ],
)
def test_another_page_and_a_mask_of_scikit_image_are_other_masks(
    tmp_path: Path, before: str, now: str
) -> None:
    run, edited = new_run(tmp_path / "runs", masked(tmp_path, before)), masked(tmp_path, now)
    (run.folder / "experiment.yaml").write_text(edited.yaml())
    with pytest.raises(InputError, match=rf"task\.mask .*{before} → .*{now}: restore it"):
        adopt_changes(reopened(run), None, accept=True)


def test_a_mask_of_scikit_image_is_not_taken_from_what_is_given(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs", masked(tmp_path, "m.tif#page=1"))
    now, changes = adopt_changes(run, given := masked(tmp_path, "skimage:horse"), accept=False)
    assert (now, changes) == (run.experiment, [])
    assert without_effect(given, now) == ["task.mask"]


def test_a_file_of_which_a_run_recorded_nothing_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs", masked(tmp_path, "skimage:horse"))
    with pytest.raises(InputError, match=r"began \(SHA-256 none… → "):
        refuse_changed_files(run, masked(tmp_path, "m.tif#page=1"))


@pytest.mark.parametrize("name", ["m.png", "m#v=2.png"])
def test_a_mask_may_lie_elsewhere_as_its_content_is_compared(
    file: Path, name: str, tmp_path: Path
) -> None:
    (tmp_path / "masks/m.png").rename(tmp_path / "masks" / name)
    run = new_run(
        tmp_path / "runs", load_experiment(file, (f"task.mask='{tmp_path}/masks/{name}'",))
    )
    (tmp_path / "masks").rename(tmp_path / "moved")
    given = load_experiment(file, (f"task.mask='{tmp_path}/moved/{name}'",))
    now, changes = adopt_changes(run, given, accept=False)
    assert changes == []
    refuse_changed_files(run, now)
    record_changes(run, now, changes)
    assert reopened(run).experiment.task == Inpaint(mask=str(tmp_path / "moved" / name))


def test_a_mask_travels_to_a_cluster(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = loaded_task(load_experiment(file))
    (tmp_path / "sent").mkdir()
    pack_search(load_experiment(file), tmp_path / "sent")
    (tmp_path / "masks/m.png").unlink()
    monkeypatch.chdir(tmp_path / "sent")
    there = loaded_task(load_experiment(Path("experiment.yaml")))
    assert isinstance(here, MaskedInpaint)
    assert isinstance(there, MaskedInpaint)
    assert np.array_equal(here.known, there.known)
    assert str(tmp_path) not in Path("experiment.yaml").read_text()


def test_super_resolution_is_read() -> None:
    assert experiment(task={"kind": "super_resolve"}).task == SuperResolve(factor=4)


def test_an_experiment_takes_the_task_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays plain data, which is read again without the package's code in it."""
    install_blur(tmp_path, monkeypatch)
    task = {"kind": "blur", "kernel": [1.0, 2.0, 1.0], "sigma_255": 5.0}
    found = experiment(task=task)
    (tmp_path / "e.yaml").write_text(found.yaml())
    assert load_experiment(tmp_path / "e.yaml") == found
    assert found.model_dump(mode="json")["task"] == task
    picture, _ = load_pictures(found).values()
    problem = found.task.observe(picture.tensor(), Streams(picture.digest, 0))
    assert problem.observation.shape == (1, 3, 16, 16)
    with pytest.raises(InputError, match="task: unknown key taps: known are kernel, sigma_255"):
        experiment(task={"kind": "blur", "taps": 3})
