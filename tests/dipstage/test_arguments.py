"""Wrong arguments of the Python interface: each is refused in one sentence before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.restoration.arrays import as_pixels
from dipstage.restoration.restoring import restore
from dipstage.schedules.noise import NoiseLevels, TotalNoiseLevels
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.published import published
from dipstage.schedules.recipe import Draw, Recipe
from dipstage.schedules.schedule import Family, Schedule, Stage
from dipstage.schedules.schedule_file import ScheduleFile, load_schedule, save_schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.splits import FreeSplit, PowerSplit
from dipstage.schedules.stopping import FullBudget, OraclePeak
from dipstage.tasks.denoise import Denoise, Denoising, observe
from dipstage.tasks.inpaint import Inpaint, MaskedInpaint
from dipstage.tasks.problem import Task
from dipstage.tasks.registry import parse_task
from dipstage.tasks.super_resolve import SuperResolve, _kernel
from dipstage.training import metrics
from dipstage.training.network import fixed_input
from dipstage.training.stage_targets import targets
from dipstage.training.trainer import fit

TRUTH = torch.full((1, 1, 16, 16), 0.5)
STREAMS = Streams("0" * 64, 0)
SETTINGS = TrainerSettings(width=4, scales=1, skip_channels=1, input_depth=2)
ABOVE = np.full((16, 16), np.nextafter(np.float32(1), np.float32(2)), np.float32)
HOLED = torch.where(torch.arange(16) == 3, torch.nan, TRUTH)
PIXELS = np.full((16, 16), 0.5, np.float32)


def trained(observation: Any = TRUTH, truth: Any = TRUTH, **changed: Any) -> Any:
    """Two iterations, unless an argument is refused."""
    given = {"schedule": Schedule.plain(2), "settings": SETTINGS, "streams": STREAMS, **changed}
    return fit(observation, truth, **given)


TASKS = (
    Denoise(),
    Denoise(peak=30),
    Inpaint(),
    MaskedInpaint((np.linspace(0, 1, 16) > PIXELS).astype(np.float32)),
    SuperResolve(2),
)
NOT_OBSERVED: dict[str, tuple[Any, Any, str]] = {
    "0 to 255": (255 * TRUTH, STREAMS, "ground_truth must lie in .0, 1., got values from 127.5"),
    "bytes": (TRUTH.byte(), STREAMS, "ground_truth must be floats in .0, 1."),
    "an array": (PIXELS, STREAMS, "ground_truth must be a Tensor, got a ndarray"),
    "one dimension less": (TRUTH[0], STREAMS, r"must have the shape \(1, C, H, W\), got \(1, 16, "),
    "a seed": (TRUTH, 0, "streams must be a Streams, got a int: write Streams"),
}

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "observe -1": (lambda: observe(TRUTH, -1, STREAMS), "sigma_255 must be from 0 to 1000"),
    "observe nan": (
        lambda: observe(TRUTH, np.nan, STREAMS),
        "sigma_255 must be from 0 to 1000, got nan",
    ),
    "observe bytes": (lambda: observe(TRUTH.byte(), 25, STREAMS), "must be floats in .0, 1."),
    "observe 255": (lambda: observe(255 * TRUTH, 25, STREAMS), "from 127.5 to 127.5"),
    "fit bytes": (lambda: trained(TRUTH.byte()), "observation must be floats in .0, 1."),
    "fit 255": (lambda: trained(255 * TRUTH), "observation must lie in .0, 1."),
    "fit 1.0000001": (
        lambda: trained(torch.from_numpy(ABOVE)[None, None]),
        r"from 1 to 1.0000001192092896: clip them by its clamp\(0, 1\)$",
    ),
    "restore 1.0000001": (
        lambda: restore(ABOVE),
        r"from 1 to 1.0000001192092896: clip them by numpy.clip\(array, 0, 1\)$",
    ),
    "restore 1.5": (lambda: restore(PIXELS * 3), "from 1.5 to 1.5$"),
    "sigma above 1000": (lambda: restore(PIXELS, sigma_255=1000.0001), "got 1000.0001$"),
    "fit NaN": (lambda: trained(HOLED), "observation has pixels that are not finite"),
    "fit NaN of a task": (lambda: trained(Denoising(HOLED)), "observation has pixels that are not"),
    "fit truth of NaN": (lambda: trained(truth=HOLED), "ground_truth has pixels that are not"),
    "fit array": (lambda: trained(PIXELS), "observation must be a Tensor, got a ndarray"),
    "fit name": (lambda: trained(schedule="log10"), "schedule must be a Schedule, got a str"),
    "fit dict": (lambda: trained(settings={}), "settings must be a TrainerSettings, got a dict"),
    "fit a rule without brackets": (
        lambda: trained(stopping=OraclePeak),
        "stopping must be a stopping rule such as .*, got <class .*OraclePeak'>",
    ),
    "fit a rule's name": (lambda: trained(stopping="emv"), "such as VarianceMinimum.., got 'emv'"),
    "fit half a rule": (
        lambda: trained(stopping=SimpleNamespace(patience=5, windowed=False, stops=len)),
        "must be a stopping rule .*, which lacks reads_ground_truth",
    ),
    "fit progress": (
        lambda: trained(progress=True),
        "progress must be a function, got a bool",
    ),
    "fit each": (
        lambda: trained(each=[]),
        "each must be a function, got a list",
    ),
    "restore progress": (
        lambda: restore(PIXELS, sigma_255=9, progress=5),  # type: ignore[arg-type]
        "progress must be a function, got a int",
    ),
    "restore each": (
        lambda: restore(PIXELS, sigma_255=9, each=5),  # type: ignore[arg-type]
        "each must be a function, got a int",
    ),
    "peak 1.5": (lambda: OraclePeak("raw", 1.5), "patience must be a whole number, got 1.5"),  # type: ignore[arg-type]
    "budget 'a'": (lambda: FullBudget("a"), "patience must be a whole number, got 'a'"),  # type: ignore[arg-type]
    "fit seed": (lambda: trained(streams=0), "streams must be a Streams, got a int"),
    "fit device": (lambda: trained(device="nope"), "device 'nope' cannot be used"),
    "width 4.5": (lambda: TrainerSettings(width=4.5), "width must be a whole number, got 4.5"),  # type: ignore[arg-type]
    "scales True": (lambda: TrainerSettings(scales=True), "scales must be a whole number"),
    "ema comma": (lambda: TrainerSettings(ema="0,9"), r"must be a number, got '0,9': write 0\.9$"),  # type: ignore[arg-type]
    "ema text": (lambda: TrainerSettings(ema="0.9"), "ema must be a number, got '0.9'"),  # type: ignore[arg-type]
    "pointwise 1": (lambda: TrainerSettings(pointwise=1), "pointwise must be True or False"),  # type: ignore[arg-type]
    "stage 1.5": (lambda: Stage(1, 1.5), "iterations of a stage must be a whole number, got 1.5"),  # type: ignore[arg-type]
    "stages": (lambda: Schedule(((1.0, 5),)), "each stage must be a Stage, got a tuple"),  # type: ignore[arg-type]
    "budget nan": (lambda: Schedule.plain(5).rescaled(np.nan), "iterations must be a whole"),  # type: ignore[arg-type]
    "restore 2.5": (lambda: restore(PIXELS, sigma_255=9, iterations=2.5), "iterations must be a"),  # type: ignore[arg-type]
    "stages of one": (lambda: Schedule(Stage(1, 5)), "stages must be several, got a Stage"),  # type: ignore[arg-type]
    "a long schedule": (
        lambda: Schedule.plain(2_000_000),
        "iterations of all stages must be at most 1,000,000, got 2,000,000",
    ),
    "scaled too far": (lambda: Schedule.plain(5).scaled(2_000_000), "must be at most 1,000,000"),
    "of 40.9": (lambda: Schedule.of([0.5, 1], [40.9, 5]), "a whole number, got 40.9"),  # type: ignore[list-item]
    "pairs of 40.9": (lambda: Schedule.from_pairs([[1.0, 40.9]]), "a whole number, got 40.9"),
    "of unequal lengths": (
        lambda: Schedule.of([0.5, 0.9, 1], [40, 5]),
        "alpha_bars and iterations must be equally many, got 3 and 2",
    ),
    "noise '2'": (lambda: Schedule.plain(5).rescaled(600, "2"), "noise must be a number, got '2'"),  # type: ignore[arg-type]
    "average from 30.5": (lambda: Recipe(average_from=30.5), "average_from must be a whole"),  # type: ignore[arg-type]
    "average from '3'": (lambda: Recipe(average_from="3"), "average_from must be a whole"),  # type: ignore[arg-type]
    "ramp rate": (lambda: Recipe(ramp_learning_rate="0.01"), "ramp_learning_rate must be a number"),  # type: ignore[arg-type]
    "gamma": (lambda: Recipe(ema_gamma="2"), "ema_gamma must be a number, got '2'"),  # type: ignore[arg-type]
    "level": (lambda: NoiseLevels("linear", "0.6"), "max_level must be a number, got '0.6'"),  # type: ignore[arg-type]
    "beta": (lambda: NoiseLevels([]), r"beta must be one of linear, cosine, sigmoid, got \[\]"),  # type: ignore[arg-type]
    "total": (lambda: TotalNoiseLevels("25", 300, 28), "^sigma_255 must be a number, got '25'"),  # type: ignore[arg-type]
    "rho": (lambda: TotalNoiseLevels(25, 300, 28, "7"), "rho must be a number, got '7'"),  # type: ignore[arg-type]
    "power": (lambda: PowerSplit("2"), "exponent must be a number, got '2'"),  # type: ignore[arg-type]
    "weights": (lambda: FreeSplit(("a",)), "weights must be a number, got 'a'"),  # type: ignore[arg-type]
    "weight": (lambda: FreeSplit(2.0), "weights must be several, got a float"),  # type: ignore[arg-type]
    "kind": (lambda: published([], 64), r"kind must be fast or best, got \[\]"),  # type: ignore[arg-type]
    "down_kernel": (lambda: TrainerSettings(down_kernel=3.0), "down_kernel must be 3 or 5, got 3"),  # type: ignore[arg-type]
    "oracle 1": (lambda: TrainerSettings(oracle_stop=1), "oracle_stop must be true or false or"),  # type: ignore[arg-type]
    "missing": (lambda: Inpaint("0.5"), "missing must be a number, got '0.5'"),  # type: ignore[arg-type]
    "mask": (lambda: Inpaint(mask=Path("m.png")), "mask must be a text, got a"),  # type: ignore[arg-type]
    "peak": (lambda: Denoise(peak="3"), "peak must be a number, got '3'"),  # type: ignore[arg-type]
    "clip": (lambda: Denoise(clip="no"), "clip must be True or False, got 'no'"),  # type: ignore[arg-type]
    "factor": (lambda: SuperResolve(2.0), "factor must be a whole number, got 2.0"),  # type: ignore[arg-type]
    "restore factor": (
        lambda: restore(PIXELS, task="super_resolve", factor=2.0),  # type: ignore[arg-type]
        "factor must be a whole number, got 2.0",
    ),
    "restore a path": (lambda: restore("a.png"), "must be a NumPy array, got a str: read a"),  # type: ignore[arg-type]
    "restore a list": (lambda: restore([[0.5]]), "must be a NumPy array, got a list"),  # type: ignore[arg-type]
    "restore seed": (lambda: restore(PIXELS, seed=-1), "seed must be at least 0, got -1"),
    "restore runs": (lambda: restore(PIXELS, runs=1.5), "runs must be a whole number"),  # type: ignore[arg-type]
    "restore device": (lambda: restore(PIXELS, device="nope"), "device 'nope' cannot be used"),
    "restore sigma": (lambda: restore(PIXELS, sigma_255="9"), "sigma must be a number"),  # type: ignore[arg-type]
    "restore schedule": (
        lambda: restore(PIXELS, sigma_255=9, schedule=Path("nope.yaml")),
        "nope.yaml does not exist",
    ),
    "restore schedule of a number": (
        lambda: restore(PIXELS, sigma_255=9, schedule=5),  # type: ignore[arg-type]
        "schedule must be a name, the path of a file or a Schedule, got a int",
    ),
    "multiple 0": (lambda: load_picture("skimage:page", multiple=0), "multiple must be at least 1"),
    "size text": (lambda: load_picture("skimage:page", size="32"), "size must be a whole number"),  # type: ignore[arg-type]
    "picture array": (lambda: load_picture(PIXELS), "must be a path or skimage:NAME, got a ndar"),  # type: ignore[arg-type]
    "picture bytes": (lambda: load_picture(b"a.png"), "must be a path or skimage:NAME, got a byt"),  # type: ignore[arg-type]
    "no digest": (lambda: Streams(None, 0), "picture_digest must be a hexadecimal"),  # type: ignore[arg-type]
    "seed -1": (lambda: Streams("0" * 64, -1), "seed must be at least 0, got -1"),
    "seed text": (lambda: Streams("0" * 64, "0"), "seed must be a whole number, got '0'"),  # type: ignore[arg-type]
    "sigma nan": (lambda: published("fast", 64, np.nan), "sigma_255 not negative, got 64 and nan"),
    "size 0": (lambda: published("fast", 0), "size must be above 0"),
    "observe meta": (
        lambda: observe(TRUTH.to("meta"), 25, STREAMS),
        "is on the device meta, which holds no values",
    ),
    "fit float64": (lambda: trained(TRUTH.double()), "must be float32, got torch.float64"),
    "fit gradient": (
        lambda: trained(TRUTH.clone().requires_grad_()),
        "observation requires a gradient, and none is taken: pass its detach",
    ),
    "targets array": (
        lambda: next(targets(PIXELS, Schedule.plain(2), STREAMS)),  # type: ignore[arg-type]
        "observation must be a Tensor, got a ndarray",
    ),
    "at 1.5": (lambda: Schedule.plain(5).at(1.5), "iteration must be a whole number, got 1.5"),  # type: ignore[arg-type]
    "family of a text": (
        lambda: Family(6, "power", 43, NoiseLevels()),  # type: ignore[arg-type]
        r"objects such as PowerSplit\(2.0\) and NoiseLevels\(\), got 'power' and",
    ),
    "family without levels": (
        lambda: Family(6, PowerSplit(2.0), 43, "linear"),  # type: ignore[arg-type]
        "and 'linear'",
    ),
    "family of classes": (
        lambda: Family(5, PowerSplit, 40, NoiseLevels),  # type: ignore[arg-type]
        "split and noise must be objects such as PowerSplit",
    ),
    "file of a list": (lambda: ScheduleFile([1]), "schedule must be a Schedule, got a list"),  # type: ignore[arg-type]
    "file of a family": (
        lambda: ScheduleFile(Schedule.plain(5), "power"),  # type: ignore[arg-type]
        "family must be a Family, got a str",
    ),
    "preset None": (lambda: parse_preset(None), "a preset must be a text, got a NoneType"),  # type: ignore[arg-type]
    "task None": (lambda: parse_task(None), "a task must be a text, got a NoneType"),  # type: ignore[arg-type]
    "save a schedule": (
        lambda: save_schedule("s.yaml", Schedule.plain(5)),  # type: ignore[arg-type]
        r"content must be a ScheduleFile, got a Schedule: write ScheduleFile\(schedule\)",
    ),
    "restore masked": (
        lambda: restore(np.ma.masked_less(PIXELS, 0.6), sigma_255=9),
        "the array is masked: fill it by its filled",
    ),
    "load None": (lambda: load_schedule(None), "path must name a schedule file, got None"),  # type: ignore[arg-type]
    "load ''": (lambda: load_schedule(""), "path must name a schedule file, got ''"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_argument_is_refused_in_one_sentence(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NOT_OBSERVED)
def test_a_task_refuses_what_it_cannot_observe(name: str, task: Task) -> None:
    truth, streams, words = NOT_OBSERVED[name]
    with pytest.raises(InputError, match=words):
        task.observe(truth, streams)
    with pytest.raises(InputError, match=words):
        observe(truth, 25, streams)


def test_numbers_of_numpy_are_numbers() -> None:
    assert TrainerSettings(width=np.int64(4), ema=np.float32(0.5)).widths == (4,) * 5  # type: ignore[arg-type]
    assert Stage(1, np.int64(3)).iterations == 3  # type: ignore[arg-type]
    assert TrainerSettings(down_kernel=np.int64(5)).down_kernel == 5  # type: ignore[arg-type]
    assert Schedule.of(np.array([0.5, 1]), np.array([2, 3])).pairs == [[0.5, 2], [1.0, 3]]
    assert Schedule.from_pairs([[0.5, 2.0], [1.0, np.float64(3)]]).pairs == [[0.5, 2], [1.0, 3]]


def test_lists_are_kept_as_tuples() -> None:
    stages, weights = (Stage(0.5, 2), Stage(1, 3)), (1.0, 2.0)
    listed = Schedule(list(stages)), FreeSplit(list(weights))  # type: ignore[arg-type]
    assert listed == (Schedule(stages), FreeSplit(weights))
    assert hash(listed) == hash((Schedule(stages), FreeSplit(weights)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_mode_without_gradients_changes_nothing(mode: Callable[[], Any]) -> None:
    own = trained().trace.arrays()["loss"]
    with mode():
        assert np.array_equal(trained().trace.arrays()["loss"], own)
        assert np.array_equal(trained(TRUTH.clone(), TRUTH.clone()).trace.arrays()["loss"], own)


@pytest.mark.parametrize("task", [Inpaint(), SuperResolve(2)])
def test_nor_does_it_change_other_tasks(task: Inpaint | SuperResolve) -> None:
    truth = TRUTH.repeat(1, 1, 2, 2)
    _kernel.cache_clear()
    with torch.inference_mode():
        inside = trained(task.observe(truth.clone(), STREAMS), truth).trace.arrays()["loss"]
    own = trained(task.observe(truth, STREAMS), truth).trace.arrays()["loss"]
    assert np.array_equal(inside, own)


def test_another_default_type_is_refused() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(InputError, match=r"default type is .*float64, and training needs"):
            trained()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_both_byte_orders_are_the_same_array(kind: str) -> None:
    own = as_pixels((PIXELS * (65535 if kind == "u2" else 1)).astype(kind))
    other = as_pixels((PIXELS * (65535 if kind == "u2" else 1)).astype(">" + kind))
    assert other.dtype == np.float32
    assert other.dtype.isnative
    assert np.array_equal(own, other)


def test_a_task_may_leave_noise_unclipped() -> None:
    assert trained(Denoising(TRUTH - 1)).iterations == 2


def test_auto_is_no_given_noise() -> None:
    noisy = np.random.default_rng(0).uniform(size=(16, 16)).astype(np.float32)
    kept = {"iterations": 2, "settings": SETTINGS}
    auto, none = (restore(noisy, sigma_255=s, **kept) for s in ("auto", None))  # type: ignore[arg-type]
    assert auto.sigma_255 == none.sigma_255
    assert np.array_equal(auto.picture, none.picture)


@pytest.mark.parametrize("task", TASKS)
def test_another_default_device_changes_no_observation(task: Task) -> None:
    own = task.observe(TRUTH, STREAMS).observation
    _kernel.cache_clear()
    with torch.device("meta"):
        other = task.observe(TRUTH, STREAMS).observation
    assert torch.equal(other, own)


@pytest.mark.parametrize("draw", ["fixed", "fresh"])
def test_nor_does_it_change_a_target(draw: Draw) -> None:
    schedule = Schedule((Stage(0.5, 1), Stage(1, 1)), Recipe(draw=draw))
    own = next(targets(TRUTH, schedule, STREAMS))
    with torch.device("meta"):
        other = next(targets(TRUTH, schedule, STREAMS))
    assert torch.equal(other, own)


@pytest.mark.parametrize("kind", ["noise", "meshgrid"])
def test_nor_does_it_change_an_input(kind: Literal["noise", "meshgrid"]) -> None:
    settings, shape = TrainerSettings(input_depth=2, input=kind), torch.Size((1, 2, 16, 16))
    own = fixed_input(settings, shape, torch.Generator().manual_seed(0))
    with torch.device("meta"):
        other = fixed_input(settings, shape, torch.Generator(device="cpu").manual_seed(0))
    assert torch.equal(other, own)


def test_nor_does_it_change_a_training() -> None:
    own = trained().trace.csv()
    metrics._gaussian.cache_clear()
    with torch.device("meta"):
        other = trained().trace.csv()
    assert other == own
