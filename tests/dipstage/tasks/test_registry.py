"""Tasks as plain data and in words, masks, and tasks that an installed package adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blur_package import install_blur
from PIL import Image

from dipstage import padding
from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint, MaskedInpaint
from dipstage.tasks.problem import Task
from dipstage.tasks.registry import (
    OWN,
    in_words,
    loaded,
    parse_task,
    plain_task,
    task_files,
    task_of,
    task_text,
    used_elsewhere,
    without_folders,
)
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.training.trainer import fit

PICTURE = load_picture("skimage:chelsea", size=32, multiple=4)
TASKS: dict[str, Task] = {
    "denoise": Denoise(),
    "denoise:sigma_255=50,clip=false": Denoise(sigma_255=50, clip=False),
    "denoise:peak=20": Denoise(peak=20.0),
    "inpaint:missing=0.8,sigma_255=5": Inpaint(missing=0.8, sigma_255=5.0),
    "inpaint:mask=holes.png": Inpaint(mask="holes.png"),
    "super_resolve:factor=2": SuperResolve(factor=2),
}


@pytest.mark.parametrize("text", TASKS)
def test_plain_data_and_text_give_the_same_task(text: str) -> None:
    assert parse_task(text) == TASKS[text]
    assert parse_task(task_text(TASKS[text])) == TASKS[text]
    assert task_of(plain_task(TASKS[text])) == TASKS[text]
    assert None not in plain_task(TASKS[text]).values()


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ('inpaint:mask="a,b.png",sigma_255=5', "a,b.png"),
        ("inpaint:sigma_255=5,mask='it''s a,b=c.png'", "it's a,b=c.png"),
        ('inpaint:mask= "a\\",[b.png" ,sigma_255=5', 'a",[b.png'),
        ("inpaint:mask=it's.png,sigma_255=5", "it's.png"),
    ],
)
def test_a_comma_in_quotes_belongs_to_the_value(text: str, mask: str) -> None:
    task = Inpaint(mask=mask, sigma_255=5.0)
    assert parse_task(text) == task
    assert parse_task(task_text(task)) == task


def test_a_comma_without_quotes_is_refused_with_how_to_write_it() -> None:
    words = "'b.png' must be KEY=VALUE; a value with a comma needs quotes of its own, as in"
    with pytest.raises(InputError, match=words):
        parse_task("inpaint:mask=a,b.png")


def test_without_a_kind_it_is_denoising_and_without_values_the_old_one() -> None:
    assert task_of({}) == task_of({"sigma_255": 25}) == Denoise(sigma_255=25.0)
    assert plain_task(Denoise()) == {"kind": "denoise", "sigma_255": 25.0, "clip": True}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (3, "must be keys and values, got 3"),
        ({"kind": "deblur"}, "kind must be one of denoise, inpaint, super_resolve, got 'deblur'"),
        ({"kind": 3}, "kind must be a text, got 3"),
        ({"kind": "inpaint", "factor": 2}, "unknown key factor: known are missing, mask, sigma"),
        ({"kind": "inpaint", "missing": "0.5"}, "missing must be a number, without quotes"),
    ],
)
def test_what_is_no_task_is_refused(content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        task_of(content)
    with pytest.raises(InputError, match="task 'inpaint:missing=2': missing must be a share"):
        parse_task("inpaint:missing=2")


def test_tasks_in_words_leave_out_what_is_off_and_folders() -> None:
    found = [in_words(plain_task(task)) for task in TASKS.values()]
    assert found == [
        "denoise, sigma 25",
        "denoise, sigma 50, no clip",
        "denoise, peak 20",
        "inpaint, missing 0.8, sigma 5",
        "inpaint, mask holes.png",
        "super_resolve, factor 2",
    ]
    assert in_words({"kind": "of another package", "mask": "/home/me/m.png"}) == (
        "of another package, mask m.png"
    )


def test_another_task_is_said_but_not_another_strength_of_noise() -> None:
    measured = plain_task(Denoise())
    assert used_elsewhere(measured, Denoise(sigma_255=50)) == ""
    assert used_elsewhere(measured, Denoise(peak=20.0)) != ""
    assert used_elsewhere(measured, Inpaint(missing=0.5)) == (
        "measured on another task (denoise, sigma 25) than this one (inpaint, missing 0.5)"
    )
    assert used_elsewhere({"sigma_255": 15}, Denoise()) == ""
    assert used_elsewhere({"kind": "inpaint"}, Inpaint()) == ""
    assert used_elsewhere({"kind": "of another package"}, Denoise()) != ""
    moved = Inpaint(mask="/elsewhere/holes.png")
    assert used_elsewhere(plain_task(Inpaint(mask="holes.png")), moved) == ""
    assert without_folders(moved) == Inpaint(mask="holes.png")
    assert task_files(moved) == {"mask": "/elsewhere/holes.png"}
    assert task_files(Inpaint(mask="skimage:text")) == task_files(Denoise()) == {}


def save_mask(path: Path, height: int, width: int) -> None:
    """Black on the left half, in colour and with the greys of a JPEG."""
    pixels = np.full((height, width, 3), 250, np.uint8)
    pixels[:, : width // 2] = 9
    Image.fromarray(pixels).save(path)


def test_a_mask_is_cropped_and_resized_as_pictures_are(tmp_path: Path) -> None:
    save_mask(tmp_path / "m.png", 50, 80)
    task = loaded(Inpaint(mask=str(tmp_path / "m.png")), 32, 4)
    assert isinstance(task, MaskedInpaint)
    assert task.known.shape == (32, 32)
    assert not task.known[:, :16].any()
    assert task.known[:, 17:].all()
    whole = loaded(Inpaint(mask=str(tmp_path / "m.png")), None, 16)
    assert isinstance(whole, MaskedInpaint)
    assert whole.known.shape == (48, 80)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    problem = task.observe(truth, streams)
    assert torch.equal(problem.observation[..., 17:], truth[..., 17:])
    assert not problem.observation[..., :16].any()
    with pytest.raises(InputError, match="the mask is 80 × 48 and the picture 32 × 32"):
        whole.observe(truth, streams)
    with pytest.raises(InputError, match="smaller than size 64"):
        loaded(Inpaint(mask=str(tmp_path / "m.png")), 64, 4)
    assert loaded(Denoise(), 32, 4) == Denoise()


@pytest.fixture
def blur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the page, installed as pip installs one."""
    install_blur(tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.usefixtures("blur")
def test_an_installed_package_adds_the_task_of_the_page() -> None:
    task = parse_task("blur:kernel=[1, 2, 1],sigma_255=1")
    assert plain_task(task) == {"kind": "blur", "kernel": [1.0, 2.0, 1.0], "sigma_255": 1.0}
    assert in_words(plain_task(task)) == "blur, kernel [1.0, 2.0, 1.0], sigma 1"
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    problem = task.observe(truth, streams)
    blurred = problem.measured(truth)
    taps = truth[0, 0, 4:7, 4:7] * torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1]))
    assert float(blurred[0, 0, 5, 5]) == pytest.approx(float(taps.sum()) / 16, abs=1e-6)
    settings = TrainerSettings(width=8, scales=2, input_depth=8, precision="fp32")
    outcome = fit(problem, truth, Schedule.plain(60), settings, streams)
    assert outcome.trace.psnr_gt_raw_db[-1] > outcome.trace.psnr_gt_raw_db[0] + 3


@pytest.mark.usefixtures("blur")
def test_the_task_of_the_page_pads_with_a_gradient_that_repeats_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    problem = parse_task("blur").observe(truth, streams)
    on_a_cpu = problem.measured(truth)
    monkeypatch.setattr(padding, "is_on_gpu", lambda x: True)
    monkeypatch.delattr("torch.nn.functional.pad")
    assert torch.equal(problem.measured(truth), on_a_cpu)


@pytest.mark.usefixtures("blur")
def test_a_kind_of_a_package_is_named_with_the_others() -> None:
    with pytest.raises(InputError, match="one of denoise, inpaint, super_resolve, blur, got 'x'"):
        parse_task("x")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("other = no_such_module:Other", "other cannot be loaded .*: ModuleNotFoundError"),
        ("other = math:pi", "other of math:pi must be a dataclass with the method observe"),
        ("denoise = math:pi", ""),
    ],
)
def test_a_broken_package_is_named_and_cannot_replace_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, words: str
) -> None:
    made = tmp_path / "broken-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(f"[dipstage.tasks]\n{entry}\n")
    monkeypatch.syspath_prepend(tmp_path)
    if not words:
        assert parse_task("denoise") == Denoise()
        return
    with pytest.raises(InputError, match=words):
        parse_task("other")


def test_a_class_has_the_kind_by_which_it_is_known() -> None:
    assert {name: kind.kind for name, kind in OWN.items()} == {name: name for name in OWN}
