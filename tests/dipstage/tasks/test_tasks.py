"""Tasks: what they measure, against the official code's definitions, and that they are trained."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.noise import NoiseLevels
from dipstage.schedules.schedule import Family
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.splits import PowerSplit
from dipstage.tasks import inpaint
from dipstage.tasks.denoise import Denoise, observe, with_gaussian_noise
from dipstage.tasks.inpaint import Inpaint, Inpainting
from dipstage.tasks.problem import Task
from dipstage.tasks.super_resolve import SuperResolve, downsampled
from dipstage.training import trainer
from dipstage.training.metrics import mse
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit

PICTURE = load_picture("skimage:chelsea", size=64, multiple=4)
TRUTH, STREAMS = PICTURE.tensor(), Streams(PICTURE.digest, 0)
TASKS: list[Task] = [
    Denoise(),
    Denoise(peak=20.0),
    Inpaint(missing=0.5, sigma_255=5.0),
    SuperResolve(factor=2),
    SuperResolve(factor=4, sigma_255=3.0),
]


def name_of(task: object) -> str:
    return str(task)


def trained(task: Task, schedule: str = "plain") -> Outcome:
    settings = TrainerSettings(width=8, scales=2, input_depth=8, precision="fp32")
    family = Family(1)
    if schedule == "staged":
        family = Family(4, PowerSplit(), 20, NoiseLevels("linear", 0.5))
    return fit(task.observe(TRUTH, STREAMS), TRUTH, family.schedule(120), settings, STREAMS)


def test_gaussian_denoising_is_the_observation_of_version_0_1() -> None:
    assert torch.equal(Denoise(sigma_255=25).observe(TRUTH, STREAMS).observation,
                       observe(TRUTH, 25, STREAMS))  # fmt: skip
    noisy = Denoise(sigma_255=100, clip=False).observe(TRUTH, STREAMS).observation
    assert noisy.min() < 0
    assert noisy.max() > 1


def test_poisson_noise_has_the_variance_of_counts() -> None:
    grey = torch.full((1, 1, 300, 300), 0.5)
    noisy = Denoise(peak=40.0, clip=False).observe(grey, STREAMS).observation
    assert float(noisy.mean()) == pytest.approx(0.5, rel=0.01)
    assert float(noisy.var()) == pytest.approx(0.5 / 40, rel=0.03)
    std_255 = 255 * float(noisy.std())
    assert Denoise(peak=40.0).noise_255 == pytest.approx(std_255, rel=0.02)
    counts = 40 * noisy
    assert torch.allclose(counts, counts.round(), atol=1e-4)


def test_inpainting_hides_whole_pixels_and_compares_the_others() -> None:
    problem = Inpaint(missing=0.3).observe(TRUTH, STREAMS)
    known = problem.mask[0, 0] > 0
    assert float(known.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert torch.equal(problem.observation[0][:, known], TRUTH[0][:, known])
    assert not problem.observation[0][:, ~known].any()
    changed = TRUTH + (~known).float()
    assert torch.equal(problem.measured(changed), problem.measured(TRUTH))
    other = Inpaint(missing=0.3).observe(TRUTH, Streams(PICTURE.digest, 1))
    assert not torch.equal(other.mask, problem.mask)


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_has_the_official_filter(factor: int) -> None:
    """The official kernel is written out: Lanczos of support 2 with phase 1/2, edges repeated."""
    taps = 4 * factor
    distance = np.abs(np.arange(1, taps + 1) + 0.5 - (taps + 2) / 2) / factor
    weights = 2 * np.sin(np.pi * distance) * np.sin(np.pi * distance / 2) / (np.pi * distance) ** 2
    kernel = np.outer(weights, weights) / np.outer(weights, weights).sum()
    pad = (taps - factor) // 2
    padded = np.pad(TRUTH[0].numpy(), ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    for y, x in ((0, 0), (3, 5), (64 // factor - 1, 2)):
        part = padded[:, y * factor : y * factor + taps, x * factor : x * factor + taps]
        expected = (part * kernel).sum(axis=(1, 2))
        assert downsampled(TRUTH, factor)[0, :, y, x].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_task_is_plain_data_and_its_observations_repeat(task: Task) -> None:
    one, two = (task.observe(TRUTH, STREAMS) for _ in range(2))
    assert torch.equal(one.observation, two.observation)
    assert one.picture.shape == TRUTH.shape
    assert one.measured(TRUTH).shape == one.observation.shape
    assert 0 <= task.noise_255 < 255
    # A number format stands in for a device, which tensors move to by the same method.
    moved = one.to(torch.float64)  # type: ignore[arg-type]
    held = [getattr(moved, each.name) for each in fields(moved)]  # type: ignore[arg-type]
    assert {each.dtype for each in held if isinstance(each, torch.Tensor)} == {torch.float64}


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_training_explains_the_measurement_and_restores_the_picture(task: Task) -> None:
    outcome = trained(task)
    trace = outcome.trace
    assert trace.psnr_raw_db[-1] > trace.psnr_raw_db[0] + 3
    assert trace.psnr_gt_raw_db[-1] > trace.psnr_gt_raw_db[0] + 3
    assert outcome.best_raw.shape == TRUTH.shape[1:]
    picture = task.observe(TRUTH, STREAMS).picture
    own = -10 * math.log10(float((picture - TRUTH).square().mean()))
    assert outcome.observation_psnr_gt_db == pytest.approx(own, abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS[2:], ids=name_of)
def test_stages_are_noised_where_the_measurement_lies(task: Task) -> None:
    staged, plain = trained(task, "staged").trace, trained(task).trace
    assert staged.loss[1] != plain.loss[1]
    assert np.isfinite(staged.loss).all()
    # The loss of a stage of heavy noise cannot fall to that of the observation.
    assert staged.loss[5:20].min() > plain.loss[5:20].min()


def test_missing_pixels_have_no_part_in_the_loss() -> None:
    problem = Inpaint(missing=0.5).observe(TRUTH, STREAMS)
    settings = TrainerSettings(width=4, scales=2, input_depth=4, precision="fp32")
    schedule = Family(4, PowerSplit(), 6, NoiseLevels("linear", 0.5)).schedule(12)
    filled = Inpainting(problem.observation + (1 - problem.mask), problem.mask)
    losses = [
        fit(each, TRUTH, schedule, settings, STREAMS).trace.loss for each in (problem, filled)
    ]
    assert np.array_equal(losses[0], losses[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Denoise(sigma_255=-1), "sigma_255 must be from 0 to 1000, got -1"),
        (lambda: Denoise(sigma_255=float("nan")), "sigma_255 must be from 0 to 1000, got nan"),
        (lambda: Denoise(sigma_255=5, peak=5), "Gaussian noise and peak Poisson noise: give one"),
        (lambda: Denoise(peak=0), "peak must be from 1e-6 to 1e18, got 0"),
        (lambda: Denoise(peak=1e20), "peak must be from 1e-6 to 1e18, got 1e.20"),
        (lambda: Denoise(peak=float("nan")), "peak must be from 1e-6 to 1e18, got nan"),
        (lambda: Inpaint(missing=1.0), r"missing must be a share in \(0, 1\), got 1.0"),
        (lambda: Inpaint(missing=0.5, mask="m.png"), "missing and mask exclude each other"),
        (lambda: Inpaint(sigma_255=2000), "sigma_255 must be from 0 to 1000, got 2000"),
        (lambda: SuperResolve(factor=3), "factor must be 2 or 4, got 3"),
        (
            lambda: SuperResolve(factor=4).observe(TRUTH[..., :62, :], STREAMS),
            "64 × 62, whose sides factor 4 does not divide",
        ),
        (
            lambda: Inpainting(TRUTH, torch.ones((1, 1, 32, 64))),
            "the mask is 64 × 32 and the picture 64 × 64",
        ),
        (lambda: Inpainting(TRUTH, torch.ones((1, 1, 64, 64))), "the mask hides nothing"),
        (lambda: Inpainting(TRUTH, torch.zeros((1, 1, 64, 64))), "the mask hides everything"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]


def test_an_observation_may_be_smaller_than_the_window_of_ssim() -> None:
    truth = TRUTH[..., :32, :32]
    problem = SuperResolve(4).observe(truth, STREAMS)
    assert problem.observation.shape[2:] == (8, 8)
    settings = TrainerSettings(width=4, scales=2)
    outcome = fit(problem, truth, Family(1).schedule(2), settings, STREAMS)
    assert outcome.iterations == 2
    assert 0 < outcome.scores("raw").max_ssim_gt < 1


class Elsewhere(Tensor):
    """Pixels that stand for those of a GPU, which `cpu` and `to` copy to the CPU."""

    def cpu(self, *args: Any, **options: Any) -> Tensor:
        return self.as_subclass(Tensor)

    def to(self, *args: Any, **options: Any) -> Tensor:
        return self.as_subclass(Tensor)


def test_noise_and_masks_are_where_the_truth_is(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, mask = TRUTH.to("meta"), torch.ones((1, 1, *TRUTH.shape[2:]))
    assert with_gaussian_noise(truth, 25, STREAMS).is_meta
    monkeypatch.setattr(inpaint, "Inpainting", lambda *tensors: tensors)
    found: Any = inpaint._masked(truth, mask, 25, STREAMS)
    assert all(tensor.is_meta for tensor in found)


def test_poisson_noise_is_drawn_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    own, draw = Denoise(peak=20.0).observe(TRUTH, STREAMS).observation, torch.poisson

    def poisson(rates: Tensor, generator: torch.Generator) -> Tensor:
        assert type(rates) is Tensor
        return draw(rates, generator=generator)

    monkeypatch.setattr(torch, "poisson", poisson)
    other = Denoise(peak=20.0).observe(TRUTH.as_subclass(Elsewhere), STREAMS).observation
    assert torch.equal(other, own)


def test_an_observation_is_scored_against_a_truth_on_another_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def same_device(pictures: Tensor, reference: Tensor) -> Tensor:
        assert type(reference) is Tensor
        return mse(pictures, reference)

    monkeypatch.setattr(trainer, "mse", same_device)
    settings = TrainerSettings(width=4, scales=1, skip_channels=1, input_depth=2)
    truth = TRUTH.as_subclass(Elsewhere)
    outcome = fit(observe(TRUTH, 25, STREAMS), truth, Family(1).schedule(2), settings, STREAMS)
    assert math.isfinite(outcome.observation_psnr_gt_db)
