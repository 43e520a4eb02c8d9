"""Laws of the training loop."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_trainings import PICTURE, SETTINGS, STAGED, plain_run, run, same, staged_run

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Stream, Streams
from dipstage.schedules.noise import noised
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule, Stage
from dipstage.schedules.stopping import OraclePeak, VarianceMinimum
from dipstage.tasks.denoise import observe
from dipstage.training.measurements import Progress
from dipstage.training.metrics import mse, psnr_db
from dipstage.training.network import SkipNetwork
from dipstage.training.outcome import Stop
from dipstage.training.trainer import Job, fit, fit_together


@pytest.mark.long
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


@pytest.mark.long
def test_the_loop_is_the_recipe() -> None:
    """Ten iterations written out with separate weights, and with PyTorch's own class of Adam."""
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


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.nn.functional.mse_loss", lambda a, b: (a - b).sum() * torch.nan)
    truth, streams = PICTURE.tensor(), Streams(PICTURE.digest, 0)
    observation = observe(truth, 25, streams)
    outcome = fit(observation, truth, STAGED, SETTINGS, streams)
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
    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", BrokenNetwork)
    outcome = run(STAGED)
    assert outcome.stop is Stop.DIVERGED
    assert outcome.iterations == len(outcome.trace.loss) == 34
    assert np.isfinite(outcome.trace.loss).all()
    assert outcome.scores("raw").max_psnr_gt_db == float(outcome.trace.psnr_gt_raw_db.max())


def test_a_run_that_diverges_after_a_minimum_of_the_variance_returns_finite_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The smoothed output is that of the last iteration before, if the lag has not ended."""
    truth, streams, seen = PICTURE.tensor(), Streams(PICTURE.digest, 0), []

    def keep(_: int, outputs: torch.Tensor) -> bool:
        seen.append(outputs.clone().numpy())
        return False

    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", BrokenNetwork)
    rule = VarianceMinimum("emv", patience=50, warmup=5)
    outcome = fit(
        observe(truth, 25, streams), None, Schedule.plain(60), SETTINGS, streams,
        stopping=rule, each=keep,
    )  # fmt: skip
    assert (outcome.stop, outcome.iterations) == (Stop.DIVERGED, 34)
    selected = outcome.selected
    assert selected is not None
    assert selected.iteration + rule.lag(SETTINGS.ema) > 33 == selected.iteration_smoothed
    assert np.array_equal(selected.raw, seen[selected.iteration][0])
    assert np.array_equal(selected.smoothed, seen[33][1])
    assert np.isfinite(selected.smoothed).all()


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
