"""Laws of the training loop, at a scale where a run takes about a second."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from dipstage import network
from dipstage.documents.records import from_plain, to_plain
from dipstage.errors import InputError
from dipstage.images import load_picture
from dipstage.iteration_table import weight_of_past
from dipstage.measurements import Progress
from dipstage.metrics import mse, psnr_db
from dipstage.network import SkipNetwork
from dipstage.noise import NoiseLevels, noised
from dipstage.outcome import Outcome, Stop, Trace, score
from dipstage.presets import parse_preset
from dipstage.randomness import Stream, Streams
from dipstage.recipe import Recipe
from dipstage.schedules import Family, Schedule, Stage
from dipstage.settings import TrainerSettings
from dipstage.splits import PowerSplit
from dipstage.stopping import (
    OUTPUTS,
    FullBudget,
    LastStage,
    OracleBoth,
    OracleDecided,
    OraclePeak,
    Output,
    StoppingRule,
    VarianceMinimum,
)
from dipstage.trainer import Job, _Run, fit, fit_together, observe

SETTINGS = TrainerSettings(
    width=8, scales=2, input_depth=8, learning_rate=0.02, patience=20, precision="fp32"
)
PICTURE = load_picture("skimage:chelsea", size=32, multiple=4)
STAGED = Family(4, PowerSplit(), 30, NoiseLevels("linear", 0.6)).schedule(100)


def run(
    schedule: Schedule,
    seed: int = 0,
    settings: TrainerSettings = SETTINGS,
    stopping: StoppingRule | None = None,
) -> Outcome:
    """One replicate on the test picture."""
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, seed)
    return fit(observe(truth, 25, streams), truth, schedule, settings, streams, stopping=stopping)


@cache
def plain_run() -> Outcome:
    """Plain DIP, 400 iterations, full budget: it peaks and overfits."""
    return run(parse_preset("baseline").schedule(400))


@cache
def staged_run() -> Outcome:
    """Four stages in 100 iterations."""
    return run(STAGED)


def same(a: Trace, b: Trace) -> bool:
    """Bit for bit, unmeasured entries included."""
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(a.arrays().values(), b.arrays().values(), strict=True)
    )


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    a, b, c = staged_run(), run(STAGED), run(STAGED, seed=1)
    assert a.trace.csv() == b.trace.csv()
    assert np.array_equal(a.best_raw, b.best_raw)
    assert a.trace.csv() != c.trace.csv()


def test_no_global_generator_is_touched() -> None:
    brief = STAGED.scaled(30)
    torch_before = torch.random.get_rng_state()
    numpy_before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    run(brief)
    assert torch.equal(torch_before, torch.random.get_rng_state())
    assert numpy_before == pickle.dumps(np.random.get_state())  # noqa: NPY002


def test_the_loop_is_the_recipe() -> None:
    """Ten iterations written out with separate weights and Adam's own list of parameters."""
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 3)
    observation = observe(truth, 25, streams)
    schedule = Schedule((Stage(0.3, 4), Stage(1.0, 6)))
    ours = fit(observation, truth, schedule, SETTINGS, streams).trace
    network = SkipNetwork(SETTINGS, generator=streams.generator(Stream.WEIGHTS))
    # Laid out as the trainer does: rounding grows fast under Adam.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    fixed = torch.rand((1, 8, 32, 32), generator=streams.generator(Stream.INPUT)) * 0.1
    jitter = streams.generator(Stream.INPUT_NOISE)
    draw = torch.randn(truth.shape, generator=streams.generator(Stream.STAGE_NOISE, 0))
    smoothed = None
    for i in range(10):
        target = noised(observation, 0.3, draw) if i < 4 else observation
        noise = torch.empty_like(fixed).normal_(generator=jitter)
        noisy = torch.add(fixed, noise, alpha=1 / 30).to(memory_format=torch.channels_last)
        output = network(noisy)
        loss = (output - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        output = output.detach()
        smoothed = output if smoothed is None else 0.99 * smoothed + 0.01 * output
        assert ours.loss[i] == pytest.approx(loss.item(), rel=1e-4)
        assert ours.psnr_raw_db[i] == pytest.approx(
            float(psnr_db(mse(output, observation))), rel=1e-4
        )
        assert ours.psnr_gt_raw_db[i] == pytest.approx(float(psnr_db(mse(output, truth))), rel=1e-4)
        assert ours.psnr_gt_smoothed_db[i] == pytest.approx(
            float(psnr_db(mse(smoothed, truth))), rel=1e-4
        )
        assert ours.stage[i] == int(i >= 4)


@pytest.mark.long
def test_plain_dip_peaks_and_overfits() -> None:
    outcome = plain_run()
    raw = outcome.scores("raw")
    assert outcome.stop is Stop.BUDGET
    assert 20 < raw.steps_to_max < 380
    assert raw.final_psnr_gt_db < raw.max_psnr_gt_db - 0.5
    assert not raw.censored
    assert outcome.trace.psnr_raw_db[-1] > outcome.trace.psnr_raw_db[raw.steps_to_max]


@pytest.mark.long
def test_the_best_outputs_have_the_scores_that_the_outcome_says() -> None:
    outcome = plain_run()
    truth = PICTURE.pixels
    for output, best in zip(OUTPUTS, (outcome.best_raw, outcome.best_smoothed), strict=True):
        scores = outcome.scores(output)
        assert peak_signal_noise_ratio(truth, best, data_range=1) == pytest.approx(
            scores.max_psnr_gt_db, abs=1e-3
        )
        assert structural_similarity(
            truth,
            best,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ) == pytest.approx(scores.ssim_gt_at_max_psnr_gt, abs=1e-4)


@pytest.mark.long
def test_ssim_is_measured_every_ten_iterations_and_at_the_maximum() -> None:
    outcome = plain_run()
    for output in OUTPUTS:
        ssim = outcome.trace.ssim_gt(output)
        peak = outcome.scores(output).steps_to_max
        expected = sorted({*range(0, 400, 10), peak})
        assert np.flatnonzero(~np.isnan(ssim)).tolist() == expected


@pytest.mark.long
@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("raw", OraclePeak("raw", 80)),
        ("smoothed", OraclePeak("smoothed", 20)),
        ("smoothed", OracleDecided(300)),
    ],
)
def test_oracle_stopping_keeps_maximum_and_argmax_of_a_run_that_peaked(
    output: Output, rule: StoppingRule
) -> None:
    full = plain_run()
    stopped = run(parse_preset("baseline").schedule(400), stopping=rule)
    assert stopped.stop is Stop.PEAK
    assert stopped.iterations < 400
    mine, theirs = stopped.scores(output), full.scores(output)
    assert mine.max_psnr_gt_db == theirs.max_psnr_gt_db
    assert mine.steps_to_max == theirs.steps_to_max
    assert not mine.censored
    n = stopped.iterations
    assert same(
        Trace(
            **{k: v[:n] for k, v in full.trace.arrays().items() if not k.startswith("ssim")},
            **{k: v for k, v in stopped.trace.arrays().items() if k.startswith("ssim")},
        ),
        stopped.trace,
    )


@pytest.mark.long
def test_oracle_stopping_waits_for_the_last_stage() -> None:
    outcome = run(
        Schedule((Stage(0.2, 150), Stage(1.0, 100))), stopping=OraclePeak("raw", patience=15)
    )
    assert outcome.iterations > 150 + 15


def test_a_rule_sees_the_last_stage_alone() -> None:
    seen: list[int] = []

    class Spy(FullBudget):
        def stops(self, last_stage: LastStage) -> bool:
            seen.append(len(last_stage.psnr_gt_db["raw"]))
            return False

    run(STAGED, stopping=Spy())
    assert seen == [10, 20, 30, 40, 50, 60]


def test_a_maximum_near_the_end_is_censored() -> None:
    outcome = run(parse_preset("baseline").schedule(25))
    assert outcome.scores("raw").censored
    curve = np.array([1, 5, 2, 2, 2], np.float32)
    trace = Trace(np.zeros(5, np.int32), *[curve] * 11)
    assert not score(trace, "raw", 3).censored
    assert score(trace, "raw", 4).censored


def test_the_observation_is_clipped_noise_of_the_stated_strength() -> None:
    grey = torch.full((1, 3, 200, 200), 0.5)
    streams = Streams("0" * 64, 0)
    observation = observe(grey, 25, streams)
    assert float((observation - grey).std()) == pytest.approx(25 / 255, rel=0.01)
    assert torch.equal(observe(grey, 0, streams), grey)
    white = observe(torch.ones((1, 1, 50, 50)), 25, streams)
    assert float(white.max()) == 1
    assert float(white.min()) < 0.9


def test_streams_depend_on_picture_seed_purpose_and_stage() -> None:
    def first(streams: Streams, stream: Stream = Stream.STAGE_NOISE, index: int = 0) -> float:
        return float(torch.rand((), generator=streams.generator(stream, index)))

    base = Streams("ab" * 32, 0)
    values = [
        first(base),
        first(Streams("ab" * 32, 1)),
        first(Streams("cd" * 32, 0)),
        first(base, Stream.WEIGHTS),
        first(base, index=1),
    ]
    assert first(base) == values[0]
    assert len(set(values)) == len(values)


@pytest.mark.long
def test_replicates_are_paired_whatever_the_schedule() -> None:
    """Same weights and input: the first output is the same under every schedule."""
    plain, staged = plain_run().trace, staged_run().trace
    assert plain.psnr_gt_raw_db[0] == staged.psnr_gt_raw_db[0]
    assert plain.loss[0] != staged.loss[0]


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged() -> None:
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    observation = observe(truth, 25, streams)
    broken = observation.clone()
    broken[0, 0, 0, 0] = torch.nan
    outcome = fit(broken, truth, STAGED, SETTINGS, streams)
    assert outcome.stop is Stop.DIVERGED
    assert outcome.iterations == 0
    assert outcome.raw is None
    with pytest.raises(ValueError, match="no scores"):
        outcome.scores("raw")


class BrokenNetwork(SkipNetwork):
    """Returns NaN from forward pass 34 on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        self.passes = getattr(self, "passes", -1) + 1
        return super().forward(x) * (torch.nan if self.passes >= 34 else 1)


def test_a_run_that_diverges_late_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipstage.trainer.SkipNetwork", BrokenNetwork)
    outcome = run(STAGED)
    assert outcome.stop is Stop.DIVERGED
    assert outcome.iterations == len(outcome.trace.loss) == 34
    assert np.isfinite(outcome.trace.loss).all()
    assert outcome.scores("raw").max_psnr_gt_db == float(outcome.trace.psnr_gt_raw_db.max())


class SpoiledNetwork(SkipNetwork):
    """Returns nonsense in forward pass number `at`, as if an update had gone wrong."""

    at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        self.passes = getattr(self, "passes", -1) + 1
        output = super().forward(x)
        return output * 0 + (output > output.mean()) if self.passes == self.at else output


@pytest.mark.parametrize(("at", "resets"), [(95, 1), (30, 0)])
def test_the_safety_reset_answers_a_sudden_drop_but_no_stage_switch(
    monkeypatch: pytest.MonkeyPatch, at: int, resets: int
) -> None:
    """A drop within the last stage is a reset; the same drop at a switch (iteration 30) is none."""
    monkeypatch.setattr(SpoiledNetwork, "at", at)
    monkeypatch.setattr("dipstage.trainer.SkipNetwork", SpoiledNetwork)
    schedule = Schedule((Stage(0.9999, 30), Stage(1.0, 70)))
    outcome = run(schedule)
    losses = psnr_db(torch.from_numpy(outcome.trace.loss))
    assert float(losses[at - 1] - losses[at]) > 5
    assert outcome.resets == resets


def test_the_safety_reset_puts_the_weights_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With updates held still after iteration 5, a drop leaves the weights of iteration 4."""
    monkeypatch.setattr(SpoiledNetwork, "at", 5)
    monkeypatch.setattr("dipstage.trainer.SkipNetwork", SpoiledNetwork)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    schedule = parse_preset("baseline").schedule(10)
    job = Job(observe(truth, 25, streams), truth, schedule, SETTINGS, streams, FullBudget())
    state = _Run(job, torch.device("cpu"), graphs=True)
    seen = []
    for iteration in range(6):
        seen.append(state.weights.detach().clone())
        if iteration == 5:
            monkeypatch.setattr(state.optimiser, "step", lambda: None)
        state.iterate()
    assert int(state.safety.resets) == 1
    assert not torch.equal(seen[5], seen[4])
    assert torch.equal(state.weights.detach(), seen[4])
    layers = [p for scale in state.network.scales() for p in scale.own_parameters()]
    layers += state.network.head.parameters()
    held = torch.cat([state.views.ordered(p).flatten() for p in layers])
    assert torch.equal(held, seen[4])


@pytest.mark.long
def test_the_settings_ask_for_their_own_stopping_rule() -> None:
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    eager = replace(SETTINGS, oracle_stop=True, patience=12)
    schedule = parse_preset("baseline").schedule(400)
    outcome = fit(observe(truth, 25, streams), truth, schedule, eager, streams)
    assert outcome.stop is Stop.PEAK
    assert outcome.iterations - 1 - outcome.scores("raw").steps_to_max >= 12
    assert eager.stopping("smoothed") == OraclePeak("smoothed", 12)
    assert SETTINGS.stopping("raw") == FullBudget(20)
    assert replace(eager, oracle_stop="both").stopping("raw") == OracleBoth(12)
    decided = replace(eager, oracle_stop="decided")
    assert decided.stopping("smoothed") == OracleDecided(12)
    assert decided.stopping("raw") == OraclePeak("raw", 12)


@pytest.mark.parametrize("value", [True, False, "both", "decided"])
def test_the_oracle_of_a_file_is_read_as_it_was_written(value: Any) -> None:
    settings = replace(SETTINGS, oracle_stop=value)
    assert from_plain(TrainerSettings, to_plain(settings, {}), {}) == settings


@pytest.mark.parametrize("value", ["yes", 1, "True", None])
def test_another_word_for_the_oracle_is_refused(value: Any) -> None:
    words = f"oracle_stop must be true or false or both or decided, got {value!r}"
    with pytest.raises(InputError, match=re.escape(words)):
        from_plain(TrainerSettings, {"oracle_stop": value}, {})


@pytest.mark.parametrize(("patience", "wait"), [(12, 200), (300, 300)])
def test_an_oracle_of_both_outputs_waits_for_the_later_one(patience: int, wait: int) -> None:
    rule = OracleBoth(patience)
    raw, smoothed = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    raw[100] = smoothed[150] = 30

    def stops(n: int) -> bool:
        return rule.stops(LastStage({"raw": raw[:n], "smoothed": smoothed[:n]}, {}))

    assert not stops(150 + wait)
    assert stops(151 + wait)


@pytest.mark.long
def test_runs_side_by_side_give_what_each_gives_alone() -> None:
    """They differ in seed, schedule, settings and length; one of them stops early."""
    truth = PICTURE.tensor()
    jobs = []
    for seed, (schedule, stopping) in enumerate(
        [(STAGED.scaled(35), None), (STAGED.scaled(60), OraclePeak("raw", 5)), (STAGED, None)]
    ):
        streams = Streams(PICTURE.digest, seed)
        settings = replace(SETTINGS, learning_rate=0.01 * (seed + 1))
        observation = observe(truth, 25, streams)
        jobs.append(Job(observation, truth, schedule, settings, streams, stopping))
    together = fit_together(jobs)
    alone = [fit_together([job])[0] for job in jobs]
    assert [outcome.stop for outcome in together] == [outcome.stop for outcome in alone]
    for one, other in zip(together, alone, strict=True):
        for name, curve in one.trace.arrays().items():
            assert np.array_equal(curve, other.trace.arrays()[name], equal_nan=True), name
        assert np.array_equal(one.best_smoothed, other.best_smoothed)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (network._TwiceAsLarge.apply, network._bilinear),
        (
            lambda x: network._Reflected.apply(x, 1),  # type: ignore[no-untyped-call]
            lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        ),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 2, 3), (1, 2, 3, 2)])
def test_gradients_of_a_gpu_are_those_of_pytorch(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    """A GPU uses them, because their bytes are the same each time."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.equal(ours(x), theirs(x))
    gradient = torch.randn(ours(x).shape, generator=torch.Generator().manual_seed(1))
    found, expected = (torch.autograd.grad(f(x), x, gradient)[0] for f in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_a_run_as_on_a_gpu_gives_the_same_curves_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without biases before batch norm, and with the gradients above."""
    usual = run(STAGED.scaled(30))
    monkeypatch.setattr(network, "_is_on_gpu", lambda x: True)
    other = run(STAGED.scaled(30))
    assert not np.array_equal(usual.trace.loss, other.trace.loss)
    np.testing.assert_allclose(other.trace.loss[:5], usual.trace.loss[:5], rtol=1e-3)
    np.testing.assert_allclose(other.trace.psnr_gt_raw_db, usual.trace.psnr_gt_raw_db, atol=0.5)


def test_progress_is_told_after_every_block() -> None:
    seen: list[Progress] = []
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    outcome = fit(
        observe(truth, 25, streams),
        truth,
        STAGED.scaled(35),
        SETTINGS,
        streams,
        progress=seen.append,
    )
    assert [p.iteration for p in seen] == [9, 19, 29, 34]
    assert seen[-1].best_psnr_gt_db["raw"] == outcome.scores("raw").max_psnr_gt_db
    assert seen[-1].best_iteration["smoothed"] == outcome.scores("smoothed").steps_to_max
    assert (seen[-1].stage, seen[-1].stages) == (3, 4)


def test_grey_pictures_train_a_network_of_one_channel() -> None:
    picture = load_picture("skimage:camera", size=32, multiple=4)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    outcome = fit(observe(truth, 25, streams), truth, STAGED.scaled(20), SETTINGS, streams)
    assert outcome.best_raw.shape == (1, 32, 32)


def test_shapes_that_do_not_fit_are_refused() -> None:
    streams = Streams("0" * 64, 0)
    good = torch.zeros((1, 3, 32, 32))
    with pytest.raises(InputError, match=r"shape \(1, C, H, W\), got \(3, 32, 32\)"):
        fit(good[0], good[0], STAGED, SETTINGS, streams)
    with pytest.raises(InputError, match="ground_truth must have the observation's shape"):
        fit(good, good[..., :16], STAGED, SETTINGS, streams)
    with pytest.raises(InputError, match=r"multiples of 4 .* got 32 × 30"):
        fit(good[..., :30], good[..., :30], STAGED, SETTINGS, streams)
    with pytest.raises(InputError, match="at least 11, got 8 × 32"):
        fit(good[..., :8, :], good[..., :8, :], STAGED, SETTINGS, streams)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("width", 0),
        ("scales", 9),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("ema", 1.0),
        ("input_noise_std", -1.0),
        ("patience", 0),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{field} must be .* got {value}"):
        replace(SETTINGS, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "gamma", "weights"),
    [
        # An average from zero has the weights ema ** age, divided by their sum.
        ({"ema": 0.8, "ema_restart": "stage"}, None, [0.8**3, 0.8**2, 0.8, 1]),
        # The official one starts with the first output.
        ({"ema": 0.8}, None, [0.8**3, 0.2 * 0.8**2, 0.2 * 0.8, 0.2]),
        # arXiv 2312.02696, eq. 1: weights t ** gamma; exponent 0 is the mean.
        ({}, 0.0, [1, 1, 1, 1]),
    ],
)
def test_an_average_has_the_weights_of_its_formula(
    settings: dict[str, Any], gamma: float | None, weights: list[float]
) -> None:
    values, average = [3.0, -1.0, 4.0, 1.5], 0.0
    for n, value in enumerate(values, start=1):
        past = weight_of_past(n, TrainerSettings(**settings), gamma)
        average = past * average + (1 - past) * value
    assert average == pytest.approx(np.average(values, weights=weights))


def test_a_power_function_average_weighs_outputs_by_their_time() -> None:
    average = 0.0
    for n in range(1, 2001):
        past = weight_of_past(n, TrainerSettings(), 3.0)
        average = past * average + (1 - past) * n / 2000
    # The mean of t under the density 4 t³ on [0, 1] is 4/5.
    assert average == pytest.approx(0.8, abs=1e-3)


@pytest.mark.long
def test_the_average_starts_anew_at_each_stage_on_request() -> None:
    settings = replace(SETTINGS, ema_restart="stage")
    never, stage = run(STAGED).trace, run(STAGED, settings=settings).trace
    assert same(replace(stage, **smoothed_curves(never)), never)
    starts = {*STAGED.starts}
    alike = np.flatnonzero(stage.psnr_smoothed_db == stage.psnr_raw_db)
    assert starts <= {int(i) for i in alike}
    assert not starts <= {
        int(i) for i in np.flatnonzero(never.psnr_smoothed_db == never.psnr_raw_db)
    }


def smoothed_curves(trace: Trace) -> dict[str, Any]:
    """The curves of the smoothed output alone."""
    return {name: curve for name, curve in trace.arrays().items() if "smoothed" in name}


@pytest.mark.long
def test_an_average_can_start_late_without_stages() -> None:
    late = Schedule.plain(60, Recipe(ema_restart="stage", average_from=30))
    trace = run(late).trace
    usual = run(Schedule.plain(60, Recipe(ema_restart="stage"))).trace
    assert trace.psnr_smoothed_db[30] == trace.psnr_raw_db[30]
    assert np.array_equal(trace.psnr_smoothed_db[:30], usual.psnr_smoothed_db[:30])
    assert not np.array_equal(trace.psnr_smoothed_db[30:], usual.psnr_smoothed_db[30:])
    assert np.array_equal(trace.psnr_raw_db, usual.psnr_raw_db)


def test_a_schedule_s_recipe_goes_before_the_settings() -> None:
    given = Recipe(learning_rate=0.05, input_noise_std=0.0, ema=0.5)
    same_by_settings = replace(SETTINGS, learning_rate=0.05, input_noise_std=0.0, ema=0.5)
    plain = Schedule.plain(20)
    assert same(
        run(replace(plain, recipe=given)).trace, run(plain, settings=same_by_settings).trace
    )


@pytest.mark.long
def test_the_ramp_has_a_learning_rate_of_its_own() -> None:
    ramp, last = 0.05, 0.001
    two = replace(STAGED, recipe=Recipe(learning_rate=last, ramp_learning_rate=ramp))
    one = replace(STAGED, recipe=Recipe(learning_rate=ramp))
    a, b = run(two).trace, run(one).trace
    first = STAGED.ramp + 1  # The update after the ramp's last output is the last stage's.
    assert np.array_equal(a.loss[:first], b.loss[:first])
    assert a.loss[first] != b.loss[first]


@pytest.mark.long
def test_variances_start_anew_at_each_stage_and_the_window_is_kept_on_request() -> None:
    trace = run(STAGED, stopping=FullBudget(windowed=True)).trace
    assert [i for i, value in enumerate(trace.variance_emv) if value == 0] == list(STAGED.starts)
    assert np.isnan(trace.variance_wmv).all()  # No stage is as long as the window.
    long = run(parse_preset("baseline").schedule(120), stopping=FullBudget(windowed=True)).trace
    assert np.isfinite(long.variance_wmv[99:]).all()
    assert np.isnan(run(parse_preset("baseline").schedule(120)).trace.variance_wmv).all()


@pytest.mark.long
def test_a_run_ends_at_a_minimum_of_the_variance_without_reading_the_ground_truth() -> None:
    rule = VarianceMinimum("emv", patience=20, warmup=20)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    observation = observe(truth, 25, streams)
    found = [
        fit(observation, other, STAGED.extended(300), SETTINGS, streams, stopping=rule)
        for other in (truth, 1 - truth)
    ]
    assert found[0].stop is Stop.MINIMUM
    assert found[0].iterations == found[1].iterations < 300
    last = found[0].trace.variance_emv[STAGED.ramp :]
    at = rule.found(last)
    assert at is not None
    assert 0 <= len(last) - 1 - at - rule.patience < 10  # Stages are checked in blocks of ten.


def without_truth(schedule: Schedule, stopping: StoppingRule) -> Outcome:
    """As `run`, of the same observation."""
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    return fit(observe(truth, 25, streams), None, schedule, SETTINGS, streams, stopping=stopping)


@pytest.mark.long
@pytest.mark.parametrize(
    "rule", [VarianceMinimum("emv", 20, 20), VarianceMinimum("wmv", 10, 0), FullBudget()], ids=str
)
def test_a_run_without_a_ground_truth_is_the_same_run_without_its_scores(
    rule: StoppingRule,
) -> None:
    schedule = STAGED.extended(250)
    blind, seeing = without_truth(schedule, rule), run(schedule, stopping=rule)
    assert blind.stop is seeing.stop
    for name, curve in blind.trace.arrays().items():
        if "_gt_" in name:
            assert np.isnan(curve).all(), name
        else:  # SSIM is also measured at the maximum of PSNR_GT, which only one of them has.
            rows = slice(None, None, 10 if name.startswith("ssim") else 1)
            expected = getattr(seeing.trace, name)[rows]
            assert np.array_equal(curve[rows], expected, equal_nan=True), name
    assert blind.raw is blind.smoothed is None
    assert np.isnan([blind.observation_psnr_gt_db, *blind.best_raw.flat]).all()
    assert blind.selected is not None
    assert seeing.selected is not None
    assert blind.selected.iteration == seeing.selected.iteration
    assert np.array_equal(blind.selected.smoothed, seeing.selected.smoothed)
    with pytest.raises(ValueError, match="no ground truth"):
        blind.scores("raw")


def test_the_oracle_needs_a_ground_truth() -> None:
    for oracle in (OraclePeak(), OracleBoth(), OracleDecided()):
        words = f"{type(oracle).__name__} reads the ground truth, and there is none"
        with pytest.raises(InputError, match=words):
            without_truth(STAGED, oracle)


@pytest.mark.long
@pytest.mark.parametrize(
    "rule",
    [
        VarianceMinimum("emv", 20, 20),
        VarianceMinimum("emv", 20, 300),
        VarianceMinimum("emv", 20, 20, fitted_db=18.0, fitted_by=200),
        VarianceMinimum("emv", 20, 20, fitted_db=99.0, fitted_by=60),
        VarianceMinimum("emv", 20, 20, fitted_db=99.0, fitted_by=300),
    ],
    ids=str,
)
def test_the_selected_output_is_the_one_at_the_minimum_that_the_rule_finds(
    rule: VarianceMinimum,
) -> None:
    """Or the last one, where the warm-up never ends or the picture is never fitted."""
    outputs: list[torch.Tensor] = []

    def keep(_: int, pictures: torch.Tensor) -> bool:
        outputs.append(pictures.clone())
        return False

    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    schedule = STAGED.extended(250)
    outcome = fit(
        observe(truth, 25, streams), truth, schedule, SETTINGS, streams, stopping=rule, each=keep
    )
    trace = outcome.trace
    at = rule.found(
        rule.counted(trace.variance_emv[schedule.ramp :], trace.psnr_raw_db[schedule.ramp :])
    )
    expected = outcome.iterations - 1 if at is None else schedule.ramp + at
    selected = outcome.selected
    assert selected is not None
    assert selected.iteration == expected
    assert np.array_equal(selected.raw, outputs[expected][0])
    later = min(expected + rule.patience, outcome.iterations - 1)  # Less than the average's lag.
    assert selected.iteration_smoothed == later
    assert np.array_equal(selected.smoothed, outputs[later][1])
    assert selected.psnr_gt_smoothed_db == outcome.trace.psnr_gt_smoothed_db[later]
    summary = outcome.summary()["selected"]
    assert summary["psnr_gt_raw_db"] == outcome.trace.psnr_gt_raw_db[expected]
