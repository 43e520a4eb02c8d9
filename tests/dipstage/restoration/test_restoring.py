"""Restoring without a ground truth: what is chosen, padded, kept and averaged."""

import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from published_schedules import publish

import dipstage
from dipstage.errors import InputError, WorkError
from dipstage.pictures.images import load_picture
from dipstage.restoration.arrays import padded
from dipstage.restoration.choosing import (
    FITTED_MARGIN_DB,
    chosen_schedule,
    estimated_sigma_255,
    input_noise_std,
    lengthened,
    stopping_rule,
)
from dipstage.restoration.restoring import planned, restore
from dipstage.schedules.published import published
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import FullBudget, LastStage, VarianceMinimum
from dipstage.training.network import SkipNetwork
from dipstage.training.outcome import Stop

# Runs are trained one after the other, on whatever machine.
pytestmark = pytest.mark.usefixtures("one_thread")

CLEAN = np.moveaxis(load_picture("skimage:chelsea", size=64, multiple=1).pixels, 0, -1)[:30, :41]
RNG = np.random.default_rng(0)
NOISY = np.clip(CLEAN + RNG.normal(0, 25 / 255, CLEAN.shape), 0, 1).astype(np.float32)
SMALL: dict[str, Any] = {
    "settings": TrainerSettings(width=8, scales=2, input_depth=8, learning_rate=0.02),
    "iterations": 30,
    "schedule": "baseline",
}
MASK = np.arange(41)[None, :] % 3 != np.zeros((30, 1))


def psnr_db(picture: np.ndarray[Any, Any]) -> float:
    return float(-10 * np.log10(np.mean((picture - CLEAN) ** 2)))


@pytest.mark.long
def test_noise_falls_although_the_sides_are_no_multiples_and_nothing_is_cropped() -> None:
    restored = restore(NOISY, **{**SMALL, "iterations": 600})
    assert restored.picture.shape == restored.raw.shape == NOISY.shape
    assert restored.picture.dtype == np.float32
    assert psnr_db(restored.picture) > psnr_db(NOISY) + 2
    assert restored.sigma_255 == pytest.approx(25, abs=4)
    assert restored.schedule_name == "baseline"
    assert restored.schedule == Schedule.plain(600)
    assert restored.stop in (Stop.MINIMUM, Stop.BUDGET)
    assert len(restored.variance) == restored.iterations <= 600
    assert np.isnan(restored.outcomes[0].trace.psnr_gt_raw_db).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_a_grey_array_of_any_type_gives_the_same_shape(dtype: type) -> None:
    grey = NOISY[..., 0].astype(np.float64)
    if dtype is not np.float64:
        grey = np.rint(grey * np.iinfo(dtype).max)
    restored = restore(grey.astype(dtype), **SMALL)
    assert restored.picture.shape == (30, 41)
    assert 0 <= restored.picture.min() <= restored.picture.max() <= 1


def test_known_pixels_stay_unless_they_are_noisy() -> None:
    exact = restore(NOISY, task="inpaint", mask=MASK, **SMALL)
    assert np.array_equal(exact.picture[MASK], NOISY[MASK])
    assert not np.array_equal(exact.picture[~MASK], NOISY[~MASK])
    noisy = restore(NOISY, task="inpaint", mask=MASK, sigma_255=25, **SMALL)
    assert not np.any(noisy.picture[MASK] == NOISY[MASK])
    hidden = np.where(MASK[..., None], NOISY, RNG.random(NOISY.shape)).astype(np.float32)
    assert np.array_equal(
        restore(hidden, task="inpaint", mask=MASK, **SMALL).picture, exact.picture
    ), "what a missing pixel holds is never read"


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_multiplies_the_sides(factor: int) -> None:
    small = NOISY[:13, :11]
    restored = restore(small, task="super_resolve", factor=factor, **SMALL)
    assert restored.picture.shape == (13 * factor, 11 * factor, 3)


@pytest.mark.long
def test_runs_are_averaged_and_the_first_is_the_one_run() -> None:
    one, two, other = (restore(NOISY, **SMALL, runs=n, seed=s) for n, s in ((1, 0), (2, 0), (1, 1)))
    mean = (one.picture.astype(np.float64) + other.picture) / 2
    assert two.picture == pytest.approx(mean, abs=1e-6)
    assert two.iterations == one.iterations + other.iterations
    assert len(two.outcomes) == 2
    assert two.why.endswith("(first of 2 averaged runs)")


def test_an_interrupted_run_gives_what_there_is_and_later_runs_do_not_begin() -> None:
    restored = restore(NOISY, **SMALL, runs=3, each=lambda iteration, _: iteration == 12)
    assert restored.stop is Stop.INTERRUPTED
    assert restored.iterations == 12
    # No minimum counts before the picture is fitted, or half of 30 iterations are over.
    words = "interrupted after 12 iterations; of its outputs, the last is used (the one run that "
    assert restored.why == words + "was used; 2 interrupted, diverged or not begun, left out)"


@dataclass(frozen=True, slots=True)
class _After:
    """A rule of one's own, as CONTRIBUTING.md describes it."""

    iterations: int
    patience: ClassVar[int] = 5
    windowed: ClassVar[bool] = False
    reads_ground_truth: ClassVar[bool] = False

    def stops(self, seen: LastStage) -> bool:
        return len(seen.variance["emv"]) >= self.iterations


def test_a_rule_that_selects_no_minimum_gives_the_last_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dipstage.restoration.restoring.stopping_rule", lambda *_: _After(20))
    restored = restore(NOISY, **SMALL)
    assert restored.stop is Stop.MINIMUM
    assert restored.why == (
        "the stopping rule ended the run after 20 iterations; of its outputs, the last is used"
    )


def test_an_interrupted_run_is_not_averaged_with_a_completed_one() -> None:
    calls: list[int] = []

    def second(iteration: int, _: torch.Tensor) -> bool:
        calls.append(iteration)
        return len(calls) == 35

    both, one = restore(NOISY, **SMALL, runs=2, each=second), restore(NOISY, **SMALL)
    assert np.array_equal(both.picture, one.picture)
    assert both.iterations == 35


class BrokenSecondNetwork(SkipNetwork):
    """Returns NaN from forward pass 29 on, if another network was made before."""

    made = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.breaks, self.passes = type(self).made > 0, 0
        type(self).made += 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return super().forward(x) * (torch.nan if self.breaks and self.passes > 28 else 1)


def test_a_run_that_diverges_late_is_not_averaged_with_a_completed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = restore(NOISY, **SMALL)
    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", BrokenSecondNetwork)
    both = restore(NOISY, **SMALL, runs=2)
    assert np.array_equal(both.picture, one.picture)
    assert both.iterations == 30 + 28
    assert both.why.endswith(
        "(the one run that was used; 1 interrupted, diverged or not begun, left out)"
    )


def test_a_run_that_diverges_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.functional.mse_loss", lambda a, b: (a - b).sum() * torch.nan)
    with pytest.raises(WorkError, match="no longer finite after 0 iterations"):
        restore(NOISY, **SMALL)


@pytest.mark.long
def test_the_reason_says_when_the_rule_found_nothing() -> None:
    words = restore(NOISY, **{**SMALL, "iterations": 110}).why
    assert words.startswith("the budget of 110 iterations ended before it was certain where the")
    assert "more iterations may give a better one" in words
    none = restore(NOISY, **SMALL, stop="none")
    assert none.why == "the budget of 30 iterations ended; of its outputs, the last is used"


@pytest.mark.parametrize(
    ("waited", "words"),
    [
        (5, "the outputs changed least at iteration 170 "),
        (-1, "the budget of 320 iterations ended"),
    ],
)
def test_a_minimum_that_is_certain_with_the_budget_s_last_iterations_is_no_guess(
    waited: int, words: str
) -> None:
    plan = planned(NOISY, **{**SMALL, "iterations": 400})
    assert isinstance(plan.rule, VarianceMinimum)
    end = 170 + 1 + plan.rule.patience + waited
    curves = {"variance_emv": np.full(end, 2.0), "psnr_raw_db": np.full(end, 99.0)}
    curves["variance_emv"][170] = 1
    ended: Any = SimpleNamespace(
        stop=Stop.BUDGET, iterations=end, selected=SimpleNamespace(iteration=170),
        trace=SimpleNamespace(arrays=lambda: curves),
    )  # fmt: skip
    assert plan._why(ended).startswith(words)
    assert plan.found_minimum(ended) == (waited >= 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "deblur"}, "task must be one of denoise, inpaint, super_resolve, got 'deblur'"),
        ({"stop": "oracle"}, "stop must be one of emv, wmv, none, got 'oracle'"),
        ({"sigma_255": 0}, "sigma must be from 0.001 to 1000, got 0"),
        ({"sigma_255": 1e-320}, "sigma must be from 0.001 to 1000, got"),
        ({"sigma_255": 1e-300}, "sigma must be from 0.001 to 1000, got 1e-300"),
        ({"sigma_255": -3.0}, "sigma must be from 0.001 to 1000, got -3"),
        ({"sigma_255": float("nan")}, "sigma must be from 0.001 to 1000"),
        ({"task": "inpaint"}, "task inpaint needs a mask"),
        ({"mask": MASK}, "task denoise takes no mask"),
        ({"task": "super_resolve"}, "task super_resolve needs a factor: 2 or 4"),
        ({"task": "super_resolve", "factor": 3}, "factor must be 2 or 4, got 3"),
        ({"factor": 2}, "task denoise takes no factor"),
        ({"task": "super_resolve", "factor": 2, "sigma_255": 5}, "takes no sigma"),
        ({"task": "inpaint", "mask": MASK[:-1]}, "mask is 41 × 29 and the picture 41 × 30"),
        ({"task": "inpaint", "mask": MASK | True}, "the mask hides nothing"),
        ({"task": "inpaint", "mask": MASK & False}, "the mask hides everything"),
        ({"task": "inpaint", "mask": NOISY}, r"the mask must have the shape \(H, W\)"),
        ({"runs": 0}, "runs must be at least 1, got 0"),
        ({"schedule": "log11"}, "unknown schedule 'log11': choose auto, fast, best, baseline"),
        ({"schedule": "no.yaml"}, "no.yaml"),
        ({"array": NOISY * 2}, r"floats must lie in \[0, 1\]"),
        ({"array": NOISY * np.float32(np.nan)}, r"floats must lie in \[0, 1\]"),
        ({"array": NOISY.astype(int)}, "must be of floats, uint8 or uint16, got int64"),
        ({"array": NOISY[..., :2]}, r"must be \(H, W\), \(H, W, 1\) or \(H, W, 3\)"),
        ({"array": np.full((20, 20), 0.5)}, "no noise is found in the picture"),
    ],
)
def test_bad_requests_get_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        restore(**{"array": NOISY, **SMALL, **changes})


@pytest.mark.parametrize("sigma_255", [5.0, 25.0, 50.0])
def test_the_noise_of_a_flat_picture_is_estimated_to_a_few_percent(sigma_255: float) -> None:
    flat = (0.5 + RNG.normal(0, sigma_255 / 255, (201, 150, 3))).astype(np.float32)
    assert estimated_sigma_255(flat) == pytest.approx(sigma_255, rel=0.03)
    assert estimated_sigma_255(np.full((20, 20, 1), 0.5, np.float32)) == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_channel_has_no_part_in_the_estimate_of_the_noise(value: float) -> None:
    picture = (0.5 + RNG.normal(0, 25 / 255, (120, 100, 3))).astype(np.float32)
    expected = estimated_sigma_255(picture[..., :2])
    picture[..., 2] = value
    assert estimated_sigma_255(picture) == expected == pytest.approx(25, rel=0.05)
    assert planned(np.clip(picture, 0, 1)).sigma_255 == pytest.approx(25, rel=0.05)


def test_pixels_without_diagonal_details_have_no_noise() -> None:
    stripes = np.zeros((40, 40, 3), np.float32)
    stripes[::2] = 1
    assert estimated_sigma_255(stripes) == pytest.approx(0, abs=1e-3)
    with pytest.raises(InputError, match="no noise is found in the picture"):
        restore(stripes, **SMALL)


def test_the_noise_of_the_input_is_the_official_one_at_both_noises_that_have_one() -> None:
    assert input_noise_std(25) == pytest.approx(1 / 30)
    assert input_noise_std(50) == pytest.approx(1 / 20)
    assert planned(
        NOISY, sigma_255=50, schedule="baseline"
    ).settings.input_noise_std == pytest.approx(1 / 20)
    own = planned(NOISY, sigma_255=50, settings=TrainerSettings(), schedule="baseline")
    assert own.settings == TrainerSettings()


def test_padding_reflects_and_leaves_room_for_ssim() -> None:
    assert padded(NOISY, 4).shape == (32, 44, 3)
    assert padded(NOISY[:1, :1], 4).shape == (12, 12, 3)
    wide = padded(NOISY, 32)
    assert np.array_equal(wide[:30, :41], NOISY)
    assert np.array_equal(wide[30:, :41], NOISY[:-3:-1])


def test_auto_is_the_nearest_published_schedule_and_else_plain_dip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path)

    def auto(side: int) -> str:
        return chosen_schedule("auto", "denoise", (side, side), 25.0, 100).name

    assert chosen_schedule("auto", "denoise", (64, 64), 25.0, 100).schedule == Schedule.plain(100)
    assert auto(64) == "baseline"
    publish(tmp_path)
    assert {auto(64), auto(128)} == {"denoise-sigma25-64-best"}
    assert auto(33) == "denoise-sigma25-64-best"
    assert auto(31) == "denoise-sigma25-16-fast"


def test_a_published_schedule_brings_its_trainer_and_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path)
    found = published("best", 64)
    plan = planned(NOISY, sigma_255=25)
    assert plan.schedule_name == found.name
    assert plan.schedule == found.schedule()
    trainer = plan.schedule.recipe.applied_to(found.measured.trainer)
    assert plan.settings == replace(trainer, oracle_stop=False)
    assert plan.evidence == (
        "higher PSNR than plain DIP on 3 other pictures of 64 × 64 pixels, sigma 25; not tested "
        "for 41 × 30 pixels"
    )
    assert planned(NOISY, task="inpaint", mask=MASK).schedule_name == "baseline"
    assert planned(NOISY, schedule="fast", sigma_255=25).schedule_name.endswith("-fast")


def test_a_schedule_of_one_s_own_is_rescaled_to_the_budget() -> None:
    own = Schedule((Stage(0.5, 10), Stage(1.0, 20)))
    assert chosen_schedule(own, "denoise", (64, 64), 25.0, 50).schedule.pairs == [
        [0.5, 10],
        [1, 40],
    ]
    assert chosen_schedule(own, "inpaint", (64, 64), None, None).schedule == own


def test_a_schedule_that_was_measured_on_another_task_is_said_to_be_so(tmp_path: Path) -> None:
    file, path = published("best", 64).file, tmp_path / "own.yaml"

    def evidence(measured: dict[str, Any], **asked: Any) -> str:
        assert file.measured is not None
        save_schedule(path, replace(file, measured=replace(file.measured, task=measured)))
        return planned(NOISY, schedule=path, **asked).evidence

    words = evidence({"kind": "denoise", "peak": 20.0}, sigma_255=25)
    assert words == f"{path}; measured on another task (denoise, peak 20)"
    assert evidence({"kind": "denoise", "sigma_255": 50.0}, sigma_255=25) == ""
    small = {"kind": "super_resolve", "factor": 4}
    assert "another task (super_resolve, factor 4)" in evidence(small, sigma_255=25)
    words = evidence(small, task="super_resolve", factor=2)
    assert words == f"{path}; measured on another task (super_resolve, factor 4)"
    assert evidence(small, task="super_resolve", factor=4) == ""
    assert evidence({"kind": "inpaint", "missing": 0.5}, task="inpaint", mask=MASK) == ""


def test_patience_grows_with_the_budget() -> None:
    assert [stopping_rule("emv", n).patience for n in (100, 2000, 5000)] == [150, 200, 500]
    assert stopping_rule("wmv", 100) == VarianceMinimum("wmv", 150, 25)
    assert stopping_rule("emv", 2000) == VarianceMinimum("emv", 200, 200)
    assert stopping_rule("none", 100, 25.0) == FullBudget(150)
    known = stopping_rule("emv", 2000, 25.5)
    assert known == VarianceMinimum("emv", 200, 50, 20 - FITTED_MARGIN_DB, 1000)


@pytest.mark.parametrize(
    ("sigma_255", "budget"), [(25, 800), (50, 800), (10, 1265), (4, 2000), (0.001, 126_491)]
)
def test_less_noise_than_was_measured_lengthens_the_budget(sigma_255: float, budget: int) -> None:
    auto = planned(NOISY, sigma_255=sigma_255)
    assert auto.schedule_name == "denoise-sigma25-64-best"
    assert auto.schedule.iterations == budget
    assert auto.schedule.ramp == published("best", 64).schedule().ramp
    assert planned(NOISY, sigma_255=sigma_255, iterations=700).schedule.iterations == 700
    assert planned(NOISY, sigma_255=sigma_255, schedule="log10").schedule.iterations == 2000


def test_a_lengthened_budget_is_at_most_that_of_the_settings() -> None:
    assert lengthened(published("best", 64).file, 1e-5) == 1_000_000


def test_the_timing_leaves_the_result_alone() -> None:
    plan = planned(NOISY, **SMALL)
    before = plan.run().picture
    assert plan.estimated_s(1, 1, "cpu") > 0
    assert np.array_equal(plan.run().picture, before)


@pytest.mark.long
def test_the_package_offers_it_without_importing_torch() -> None:
    program = "import sys, dipstage; dipstage.__all__; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    assert dipstage.restore is restore
    assert replace(restore(NOISY, **SMALL), why="x").why == "x"


@pytest.mark.long
def test_the_example_of_the_docstring_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a tenth of the iterations."""
    assert restore.__doc__
    example = restore.__doc__.split("laptop::\n")[1].split("Args:")[0]
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(example).replace("iterations=600", "iterations=60"), {})
    assert "the budget of 60 iterations ended" in capsys.readouterr().out
    assert load_picture("restored.png", multiple=1).pixels.shape == (3, 64, 64)


def test_a_plan_has_the_network_of_the_schedule(tmp_path: Path) -> None:
    """The padding fits it, and so must all that is printed, estimated and measured."""
    schedule = replace(Schedule.plain(20), recipe=Recipe(width=4, scales=2))
    save_schedule(tmp_path / "s.yaml", ScheduleFile(schedule))
    plan = planned(NOISY, sigma_255=25, schedule=tmp_path / "s.yaml")
    assert (plan.settings.width, plan.settings.scales) == (4, 2)
    assert plan.problem.picture.shape[2:] == (32, 44)
    assert plan.estimated_s(1, 1, "cpu") > 0
    named = planned(NOISY, sigma_255=25, schedule=tmp_path / "s.yaml", network={"scales": 3})
    assert (named.settings.width, named.settings.scales) == (4, 3)
    assert named.problem.picture.shape[2:] == (32, 48)
