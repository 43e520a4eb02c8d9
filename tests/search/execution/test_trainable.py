"""What a worker sends of a replicate."""

import io
import weakref
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from fake_runs import trial
from PIL import Image

from dipstage.pictures.images import load_picture
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS, Output
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint, MaskedInpaint
from dipstage.tasks.problem import Task
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.training.outcome import Outcome, Trace, score
from search.execution.trainable import ScheduleTrial
from search.execution.training import (
    Setting,
    keep_picture,
    pack_curves,
    summarise,
    train_replicates,
)
from search.execution.work import Work
from search.experiment.objectives import Objective
from search.store.replicate import Replicate

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("one_thread")]


def _setting(name: str, **changes: Any) -> Setting:
    setting = Setting(
        pictures={name: load_picture(f"skimage:{name}", size=16, multiple=2)},
        seeds=(7, 1),
        task=Denoise(sigma_255=25),
        trainer=TrainerSettings(iterations=12, width=4, scales=1, input_depth=4),
        objective=Objective(output="raw"),
        cpus=1,
        device="cpu",
    )
    return replace(setting, **changes)


@pytest.mark.parametrize("output", ["raw", "smoothed"])
@pytest.mark.parametrize("name", ["chelsea", "camera"])
def test_the_picture_is_the_objective_s_output_of_the_first_seed(output: Output, name: str) -> None:
    setting = _setting(name, objective=Objective(output=output))
    keys = [f"{name}-seed7", f"{name}-seed1"]
    outcome, other = train_replicates(setting, keys, Schedule.plain(12))
    [alone] = train_replicates(setting, keys[1:], Schedule.plain(12))
    assert pack_curves(other) == pack_curves(alone) != pack_curves(outcome)
    [content] = keep_picture(setting, f"{name}-seed7", outcome)
    best = outcome.best_raw if output == "raw" else outcome.best_smoothed
    expected = np.rint(255 * np.clip(best, 0, 1)).transpose(1, 2, 0).squeeze()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
    assert keep_picture(setting, f"{name}-seed1", outcome) == []


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("room", [0, 3])
def test_after_running_out_of_memory_the_rest_is_trained_in_what_that_took(
    monkeypatch: pytest.MonkeyPatch, alone: bool, room: int
) -> None:
    living: weakref.WeakSet[Any] = weakref.WeakSet()
    found = []

    class Memory:
        """What a training takes: only a collection frees it."""

        def __init__(self) -> None:
            self.itself = self
            living.add(self)

    def train(setting: Setting, keys: list[str], *rest: Any) -> list[Outcome]:
        found.append(len(living))
        taken = [Memory() for _ in keys]
        if len(taken) > room:
            raise MemoryError
        return train_replicates(setting, keys, *rest)

    monkeypatch.setattr("search.execution.trainable.train_replicates", train)
    trial = ScheduleTrial.__new__(ScheduleTrial)
    setting = _setting("chelsea", seeds=(7, 1, 2, 3), together=4)
    trial.setup({"work": Work(0, Schedule.plain(12), alone=alone)}, setting)
    result = trial.step()
    assert found == ([0] if alone else [0, 0])
    if room:
        assert result["replicate"] == ["chelsea-seed7"]
    else:
        assert result["out_of_memory"]
        assert not living


@pytest.mark.parametrize("fails", [None, "chelsea-seed1"])
def test_replicates_trained_together_are_reported_one_by_one(
    monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """If one of them fails, the others are trained without it, and it alone has the failure."""
    groups = []

    def train(setting: Setting, keys: list[str], *rest: Any) -> list[Outcome]:
        groups.append(list(keys))
        if fails in keys:
            raise ValueError("no")
        return train_replicates(setting, keys, *rest)

    monkeypatch.setattr("search.execution.trainable.train_replicates", train)
    trial = ScheduleTrial.__new__(ScheduleTrial)
    trial.setup({"work": Work(0, Schedule.plain(12))}, _setting("chelsea", together=2))
    first, second = trial.step(), trial.step()
    assert first["replicate"] == ["chelsea-seed7"]
    assert not first["done"]
    assert second["done"]
    if fails is None:
        assert second["replicate"] == ["chelsea-seed1"]
        assert groups == [["chelsea-seed7", "chelsea-seed1"]]
    else:
        assert second["failure"] == "ValueError on chelsea-seed1: no"
        assert groups == [["chelsea-seed7", "chelsea-seed1"], ["chelsea-seed7"], ["chelsea-seed1"]]


def test_replicates_that_an_earlier_worker_finished_are_not_trained_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[str] = []

    def train(setting: Setting, keys: list[str], *rest: Any) -> list[Outcome]:
        trained.extend(keys)
        return train_replicates(setting, keys, *rest)

    monkeypatch.setattr("search.execution.trainable.train_replicates", train)
    trial = ScheduleTrial.__new__(ScheduleTrial)
    work = Work(0, Schedule.plain(12), done=("chelsea-seed7",))
    trial.setup({"work": work}, _setting("chelsea", together=2))
    result = trial.step()
    assert result["replicate"] == trained == ["chelsea-seed1"]
    assert result["done"]


def test_replicates_trained_side_by_side_share_their_time_and_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(*arguments: Any) -> list[Outcome]:
        return [replace(each, wall_s=6.0) for each in train_replicates(*arguments)]

    monkeypatch.setattr("search.execution.trainable.train_replicates", train)
    trial = ScheduleTrial.__new__(ScheduleTrial)
    setting = _setting("chelsea", seeds=(7, 1, 2), together=2, gpus=0.5)
    trial.setup({"work": Work(0, Schedule.plain(12))}, setting)
    found = [trial.step()["outcome"][0] for _ in range(3)]
    assert [each.wall_s for each in found] == [3, 3, 6], "two share six seconds, one has its own"
    assert [each.gpus for each in found] == [0.25, 0.25, 0.5]
    assert {each.iterations_per_s for each in found} == {2}
    steps = found[0].raw.steps_to_max
    seconds, gpu_seconds = (Objective(against=kind) for kind in ("seconds", "gpu_seconds"))
    assert found[0].score(seconds).steps_to_max == steps / 2
    assert found[0].score(gpu_seconds).steps_to_max == steps / 2 * 0.25


@pytest.mark.parametrize(
    ("gpus", "alone", "had"),
    [(0.25, False, 0.25), (0.25, True, 1), (2.0, True, 2), (0.0, True, None)],
)
def test_a_trial_that_runs_alone_has_whole_gpus(
    gpus: float, alone: bool, had: float | None
) -> None:
    trial = ScheduleTrial.__new__(ScheduleTrial)
    setting, plain = _setting("chelsea", gpus=gpus), Schedule.plain(12)
    trial.setup({"work": Work(0, plain, alone=not alone)}, setting)
    trial.reset_config({"work": Work(1, plain, alone=alone)})
    assert trial.step()["outcome"][0].gpus == had


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        (Denoise(peak=10.0), 10, 20),
        (Inpaint(missing=0.5), 5, 14),
        (MaskedInpaint(np.tri(16, dtype=np.float32)), 5, 14),
        (SuperResolve(factor=2), 18, 40),
        (Denoise(sigma_255=0.0), None, None),
    ],
    ids=str,
)
def test_a_replicate_of_any_task_holds_the_observation_s_own_psnr(
    task: Task, low: float | None, high: float | None
) -> None:
    setting = _setting("chelsea", task=task)
    if isinstance(task, SuperResolve):
        picture = load_picture("skimage:chelsea", size=32, multiple=2)
        setting = replace(setting, pictures={"chelsea": picture})
    [outcome] = train_replicates(setting, ["chelsea-seed7"], Schedule.plain(12))
    replicate = summarise(outcome, setting.objective, 12, 0.0, patience=5)
    own = replicate.observation_psnr_gt_db
    assert Replicate.from_plain(replicate.to_plain()) == replicate
    if low is None or high is None:
        assert own is None, "JSON has no infinity"
        return
    assert own is not None
    assert low < own < high


@pytest.mark.parametrize("stop", ["emv", "wmv"])
def test_a_stopping_rule_selects_what_counts(stop: Literal["emv", "wmv"]) -> None:
    """The budget is too short for the rule to be certain, which counts as censored."""
    objective = Objective(stop=stop)
    setting = _setting("chelsea", objective=objective)
    [outcome] = train_replicates(setting, ["chelsea-seed7"], Schedule.plain(12))
    replicate = summarise(outcome, objective, 12, 0.0, patience=5)
    assert outcome.selected is not None
    assert replicate.selected is not None
    assert replicate.selected.psnr_gt_raw_db == outcome.selected.psnr_gt_raw_db
    assert replicate.score(objective) == (outcome.selected.psnr_gt_raw_db, 12.0)
    assert replicate.censored("raw")
    assert replicate.raw.max_psnr_gt_db >= replicate.selected.psnr_gt_raw_db
    [content] = keep_picture(setting, "chelsea-seed7", outcome)
    expected = np.rint(255 * np.clip(outcome.selected.raw, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)


def test_a_target_that_is_not_reached_counts_with_the_budget() -> None:
    setting = _setting("chelsea")
    [outcome] = train_replicates(setting, ["chelsea-seed7"], Schedule.plain(12))
    assert summarise(outcome, Objective(), 12, 0.0, patience=5).selected is None
    curve = outcome.trace.psnr_gt_raw_db
    found = summarise(outcome, Objective(target_psnr_gt_db=float(curve[4])), 12, 0.5, patience=5)
    assert found.raw.steps_to_target == int(np.argmax(curve >= curve[4]))
    assert found.gpus == 0.5
    far = summarise(outcome, Objective(target_psnr_gt_db=99), 12, 0, patience=5)
    assert far.raw.steps_to_target == 12


@pytest.mark.parametrize(
    ("psnr_at", "ssim_at", "patience", "cut"),
    [
        (10, 59, 20, True), (10, 50, 20, True), (59, 10, 20, False), (10, 39, 20, False),
        # SSIM is measured every ten iterations: this is its last value.
        (10, 50, 1, True), (10, 49, 1, False),
    ],
)  # fmt: skip
def test_where_ssim_is_optimised_its_own_maximum_counts_as_censored(
    psnr_at: int, ssim_at: int, patience: int, cut: bool
) -> None:
    setting = _setting("chelsea")
    [outcome] = train_replicates(setting, ["chelsea-seed7"], Schedule.plain(12))
    psnr, ssim = np.zeros((2, 60), np.float32)
    psnr[psnr_at] = ssim[ssim_at] = 1
    curves: dict[str, Any] = dict.fromkeys(outcome.trace.arrays(), psnr)
    curves |= {name: ssim for name in curves if name.startswith("ssim")}
    trace = Trace(**{**curves, "stage": np.zeros(60, np.int32)})
    raw, smoothed = (score(trace, output, patience) for output in OUTPUTS)
    made = replace(outcome, iterations=60, trace=trace, raw=raw, smoothed=smoothed)

    objective = Objective(metric="ssim")
    record = summarise(made, objective, 60, 0.0, patience=patience)
    assert Replicate.from_plain(record.to_plain()) == record
    few = replace(trial(0, 25.0, 10), replicates={"a-seed0": record}, objective=objective)
    assert [few.censored(output) for output in OUTPUTS] == [cut, cut]
    by_psnr = summarise(made, Objective(), 60, 0.0, patience=patience)
    assert by_psnr.raw.ssim_censored is None
    assert by_psnr.censored("raw") == record.raw.censored == (59 - psnr_at < patience)


@pytest.mark.parametrize(
    ("values", "words"),
    [({}, "objective odd: KeyError: 'chelsea'"), ({"chelsea": -1e308}, "objective odd is -1e+308")],
)
def test_an_objective_that_fails_is_the_failure_of_its_trial(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, float], words: str
) -> None:
    class Odd:
        direction = "maximize"

        def __call__(self, replicate: Replicate) -> float:
            return values["chelsea"]

    monkeypatch.setattr("search.execution.training.installed", lambda objective: {"odd": Odd()})
    trial = ScheduleTrial.__new__(ScheduleTrial)
    trial.setup(
        {"work": Work(0, Schedule.plain(12))},
        _setting("chelsea", objective=Objective(metric="odd")),
    )
    failure = trial.step()["failure"]
    assert failure.startswith(f"ValueError on chelsea-seed7: {words}")
