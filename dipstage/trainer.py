"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dipstage.arithmetic import CompiledNetwork, Weights, choose
from dipstage.errors import InputError
from dipstage.metrics import mse, psnr_db, ssim
from dipstage.network import SkipNetwork
from dipstage.outcome import Outcome, Stop, Trace, score
from dipstage.randomness import Stream, Streams
from dipstage.schedules import Schedule
from dipstage.settings import SSIM_WINDOW, TrainerSettings
from dipstage.stage_targets import Targets
from dipstage.stopping import OUTPUTS, LastStage, Output, StoppingRule, VarianceMinimum
from dipstage.tasks.denoise import Denoising, with_gaussian_noise
from dipstage.tasks.problem import Problem
from dipstage.variance import MovingVariance, Variance, WindowedVariance

BLOCK = 10
"""Iterations between device-to-host synchronisations; SSIM is measured once in each block."""

_RESET_DROP_DB = 5.0
_LOSS, _PSNR, _PSNR_GT, _EMV, _WMV = 0, slice(1, 3), slice(3, 5), 5, 6


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a run after a block of iterations, for progress callbacks."""

    iteration: int
    iterations: int
    stage: int
    stages: int
    psnr_gt_db: dict[Output, float]
    best_psnr_gt_db: dict[Output, float]
    best_iteration: dict[Output, int]


def observe(ground_truth: Tensor, sigma_255: float, streams: Streams) -> Tensor:
    """Make the observation: ground truth + sigma_255 / 255 · n, n standard normal, clipped.

    Args:
        ground_truth: (1, C, H, W) float32 in [0, 1].
        sigma_255: Standard deviation of the noise on the 0 to 255 scale, not negative.
        streams: Random streams of the replicate.

    Returns:
        (1, C, H, W) float32 in [0, 1].
    """
    return with_gaussian_noise(ground_truth, sigma_255, streams).clamp(0, 1)


def fit(
    observation: Tensor | Problem,
    ground_truth: Tensor,
    schedule: Schedule,
    settings: TrainerSettings,
    streams: Streams,
    *,
    stopping: StoppingRule | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    each: Callable[[int, Tensor], bool] | None = None,
) -> Outcome:
    """Train one network through the stages of a schedule, with one Adam for all of them.

    The loop is the denoising recipe of Deep Image Prior (arXiv 1711.10925): a fixed input with
    fresh noise in each iteration, mean squared error, and an exponential moving average of the
    outputs beside the raw output. When PSNR against the target falls by more than 5 dB from one
    iteration to the next within a stage, the weights return to those of the iteration before.

    Args:
        observation: A noisy picture, (1, C, H, W) float32 in [0, 1], or the problem of another
            task (see `dipstage.tasks`). H and W of the picture are multiples of
            2 ** settings.scales and at least 11.
        ground_truth: (1, C, H, W) float32 in [0, 1]. It only scores the outputs; among stopping
            rules, `OraclePeak` alone reads it.
        schedule: Stages and budget; `settings.iterations` is not read.
        settings: The network and how it is trained; the schedule's recipe goes before it.
        streams: Random streams of the replicate.
        stopping: When to stop early; by default the rule that `settings` asks for, on the raw
            output.
        device: Where to train.
        progress: Called with a `Progress` after each block of ten iterations.
        each: Called after each iteration with its number, from 1, and both outputs, raw and
            smoothed, as (2, C, H, W) on the device. The run ends once it returns true.

    Returns:
        Scores, curves and best pictures, also for a run that diverged. Its `precision` and
        `compiled` say what `auto` chose.

    Raises:
        InputError: Shapes do not fit, or `settings.compile` is `on` and there is no compiler.
    """
    settings = schedule.recipe.applied_to(settings)
    problem = Denoising(observation) if isinstance(observation, Tensor) else observation
    _check_shapes(problem, ground_truth, settings)
    stopping = stopping or settings.stopping("raw")
    device = torch.device(device)
    started = time.perf_counter()
    run = _Run(problem, ground_truth, schedule, settings, streams, device, stopping)
    try:
        stop = run.train(progress, each)
        trace, best = run.finish()
    finally:
        run.release()
    scores = {output: score(trace, output, stopping.patience) for output in OUTPUTS if run.length}
    return Outcome(
        stop=stop,
        observation_psnr_gt_db=float(psnr_db(mse(problem.picture, ground_truth))),
        raw=scores.get("raw"),
        smoothed=scores.get("smoothed"),
        iterations=run.length,
        resets=int(run.resets.item()),
        wall_s=time.perf_counter() - started,
        device=_device_name(device),
        precision=run.arithmetic.precision,
        compiled=run.arithmetic.compiled,
        trace=trace,
        best_raw=best[0],
        best_smoothed=best[1],
    )


def weight_of_past(n: int, settings: TrainerSettings, gamma: float | None) -> float:
    """Return the weight of the moving average so far when it takes its n-th output.

    Args:
        n: Outputs since the average began, this one included.
        settings: `ema` and `ema_restart`. An average that restarts begins at 0 and is divided by
            the sum of its weights, 1 - ema ** n; one that never does begins at the first output.
        gamma: Exponent of a power-function average (arXiv 2312.02696, eq. 2), or None.

    Returns:
        A weight in [0, 1); the output has the rest.
    """
    ema = settings.ema
    if gamma is not None:
        return float((1 - 1 / n) ** (gamma + 1))
    if settings.ema_restart == "stage":
        return float(ema * (1 - ema ** (n - 1)) / (1 - ema**n))
    return ema if n > 1 else 0.0


class _Run:
    """State of one training run. Scores stay on the device for a block of iterations."""

    def __init__(
        self,
        problem: Problem,
        ground_truth: Tensor,
        schedule: Schedule,
        settings: TrainerSettings,
        streams: Streams,
        device: torch.device,
        stopping: StoppingRule,
    ) -> None:
        self.schedule, self.settings, self.device = schedule, settings, device
        self.stopping, self.problem = stopping, problem.to(device)
        self.observation, self.truth = self.problem.observation, ground_truth.to(device)
        height, width = ground_truth.shape[-2:]
        network = SkipNetwork(
            output_channels=ground_truth.shape[1],
            width=settings.width,
            scales=settings.scales,
            skip_channels=settings.skip_channels,
            input_depth=settings.input_depth,
            upsampling=settings.upsampling,
            generator=streams.generator(Stream.WEIGHTS),
        )
        self.arithmetic = choose(settings, device, height, width)
        self.compiled = None
        if self.arithmetic.compiled:
            shape = torch.Size([1, settings.input_depth, height, width])
            self.compiled = CompiledNetwork(network, shape, self.arithmetic, device)
            network = self.compiled.network
        self.network, self.views = network, Weights(network, self.arithmetic, device)
        self.weights = self.views.flat
        self.optimiser = torch.optim.Adam([self.weights], lr=settings.learning_rate, fused=True)
        fixed = torch.rand(
            (1, settings.input_depth, height, width), generator=streams.generator(Stream.INPUT)
        )
        self.input = (0.1 * fixed).to(device)
        self.input_noise = torch.empty_like(self.input)
        self.input_noise_stream = streams.generator(Stream.INPUT_NOISE, device=device)

        self.targets = Targets(self.observation, schedule, streams)
        self.length = 0
        self.smoothed = torch.zeros_like(self.truth)
        self.averaged = 0
        self.variances: dict[int, Variance] = {_EMV: MovingVariance()}
        if stopping.windowed:
            self.variances[_WMV] = WindowedVariance()
        self.good_weights = self.weights.detach().clone()
        self.resets = torch.zeros((), dtype=torch.int64, device=device)
        self.best = torch.full((2,), -torch.inf, device=device)
        self.pictures = self.best_pictures = torch.zeros(
            (2, *ground_truth.shape[1:]), device=device
        )
        self.block = torch.full((BLOCK, 7), torch.nan, device=device)
        budget = schedule.iterations
        self.scores = np.full((budget, 7), np.nan, np.float32)
        self.ssims = np.full((budget, 4), np.nan, np.float32)
        self.stage_of = np.repeat(
            np.arange(len(schedule.stages), dtype=np.int32),
            [stage.iterations for stage in schedule.stages],
        )

    def release(self) -> None:
        """Make the compiled network available to the next run."""
        if self.compiled is not None:
            self.compiled.release()

    def train(
        self,
        progress: Callable[[Progress], None] | None,
        each: Callable[[int, Tensor], bool] | None,
    ) -> Stop:
        budget, starts = self.schedule.iterations, set(self.schedule.starts)
        restarts = {0, self.schedule.recipe.average_from}
        if self.settings.ema_restart == "stage":
            restarts |= starts
        previous_psnr = self.best[0]
        fetched = 0
        for iteration in range(budget):
            if iteration in starts:
                previous_psnr = torch.full((), -torch.inf, device=self.device)
                for variance in self.variances.values():
                    variance.restart()
            if iteration in restarts:
                self.averaged = 0
            step = self.schedule.at(iteration)
            self._set_learning_rate(iteration, step.learning_rate or self.settings.learning_rate)
            previous_psnr = self._step(iteration, self.targets.at(step), previous_psnr)
            ends = each is not None and each(iteration + 1, self.pictures)
            if (iteration + 1) % BLOCK and iteration + 1 < budget and not ends:
                continue
            self.length = iteration + 1
            self.scores[fetched : self.length] = self.block[: self.length - fetched].cpu().numpy()
            finite = np.isfinite(self.scores[fetched : self.length, _LOSS])
            if not finite.all():
                self.length = fetched + int(np.argmin(finite))
                return Stop.DIVERGED
            fetched = self.length
            if progress is not None:
                progress(self._progress(iteration))
            if ends and self.length < budget:
                return Stop.INTERRUPTED
            in_last_stage = self.length > self.schedule.ramp
            if in_last_stage and self.length < budget and self.stopping.stops(self._last_stage()):
                return Stop.MINIMUM if isinstance(self.stopping, VarianceMinimum) else Stop.PEAK
        return Stop.BUDGET

    def _last_stage(self) -> LastStage:
        scores = self.scores[self.schedule.ramp : self.length]
        psnr = scores[:, _PSNR_GT]
        return LastStage(
            {output: psnr[:, k] for k, output in enumerate(OUTPUTS)},
            {"emv": scores[:, _EMV], "wmv": scores[:, _WMV]},
        )

    def _set_learning_rate(self, iteration: int, rate: float) -> None:
        if iteration < self.settings.warmup:
            rate *= (iteration + 1) / self.settings.warmup
        self.optimiser.param_groups[0]["lr"] = rate

    def _step(self, iteration: int, target: Tensor, previous_psnr: Tensor) -> Tensor:
        """Update once and return PSNR against the target, for the reset of the next iteration."""
        views = self.views
        views.spread()
        self.input_noise.normal_(generator=self.input_noise_stream)
        noisy_input = torch.add(self.input, self.input_noise, alpha=self.settings.input_noise_std)
        output = self.network(noisy_input.to(views.dtype, memory_format=views.layout)).contiguous()
        loss = F.mse_loss(self.problem.measured(output), self.problem.restricted(target))
        loss.backward()  # type: ignore[no-untyped-call]
        views.gather()
        with torch.no_grad():
            self._score(iteration, output.detach(), loss.detach())
            psnr = psnr_db(loss.detach())
            dropped = psnr < previous_psnr - _RESET_DROP_DB
            self.good_weights = torch.where(dropped, self.good_weights, self.weights)
            self.weights.copy_(self.good_weights)
            self.resets += dropped
            psnr = torch.where(dropped, previous_psnr, psnr)
        self.optimiser.step()
        return psnr

    def _score(self, iteration: int, output: Tensor, loss: Tensor) -> None:
        self.averaged += 1
        past = weight_of_past(self.averaged, self.settings, self.schedule.recipe.ema_gamma)
        if past == 0:
            self.smoothed.copy_(output)
        else:
            self.smoothed.mul_(past).add_(output, alpha=1 - past)
        pictures = self.pictures = torch.cat([output, self.smoothed])
        psnr_gt = psnr_db(mse(pictures, self.truth))
        row = self.block[iteration % BLOCK]
        row[_LOSS] = loss
        row[_PSNR] = psnr_db(mse(self.problem.measured(pictures), self.observation))
        row[_PSNR_GT] = psnr_gt
        for column, variance in self.variances.items():
            row[column] = variance.update(output)
        better = psnr_gt > self.best
        self.best = torch.where(better, psnr_gt, self.best)
        self.best_pictures = torch.where(better.view(2, 1, 1, 1), pictures, self.best_pictures)
        if iteration % BLOCK == 0:
            self.ssims[iteration] = self._ssim(pictures).cpu().numpy()

    def _ssim(self, pictures: Tensor) -> Tensor:
        """Return (4,): raw and smoothed against the observation, then against the ground truth."""
        measured = self.problem.measured(pictures)
        return torch.cat([ssim(measured, self.observation), ssim(pictures, self.truth)])

    def _progress(self, iteration: int) -> Progress:
        scores = self.scores[: self.length, _PSNR_GT]
        best = np.argmax(scores, axis=0)
        return Progress(
            iteration=iteration,
            iterations=self.schedule.iterations,
            stage=int(self.stage_of[iteration]),
            stages=len(self.schedule.stages),
            psnr_gt_db={o: float(scores[-1, k]) for k, o in enumerate(OUTPUTS)},
            best_psnr_gt_db={o: float(scores[best[k], k]) for k, o in enumerate(OUTPUTS)},
            best_iteration={o: int(best[k]) for k, o in enumerate(OUTPUTS)},
        )

    def finish(self) -> tuple[Trace, NDArray[np.float32]]:
        """Return the trace and the best pictures, (2, C, H, W): raw, smoothed."""
        scores, ssims = self.scores[: self.length], self.ssims[: self.length]
        if self.length:
            at_best = self._ssim(self.best_pictures).cpu().numpy()
            for k, peak in enumerate(np.argmax(scores[:, _PSNR_GT], axis=0)):
                ssims[peak, [k, k + 2]] = at_best[[k, k + 2]]
        columns: dict[str, Any] = dict(
            zip(
                [field.name for field in fields(Trace)],
                [self.stage_of[: self.length], *scores[:, :_EMV].T, *ssims.T, *scores[:, _EMV:].T],
                strict=True,
            )
        )
        return Trace(**columns), self.best_pictures.cpu().numpy()


def _check_shapes(problem: Problem, truth: Tensor, settings: TrainerSettings) -> None:
    measured, multiple = tuple(problem.observation.shape), 2**settings.scales
    if len(measured) != 4 or measured[0] != 1:
        raise InputError(f"observation must have the shape (1, C, H, W), got {measured}")
    shape = tuple(problem.picture.shape)
    if tuple(truth.shape) != shape:
        raise InputError(
            f"ground_truth must have the observation's shape {shape}, got {tuple(truth.shape)}"
        )
    if any(side % multiple or side < SSIM_WINDOW for side in shape[2:]):
        raise InputError(
            f"sides must be multiples of {multiple} (2 ** scales) and at least {SSIM_WINDOW}, "
            f"got {shape[2]} × {shape[3]}"
        )
    if any(side < SSIM_WINDOW for side in measured[2:]):
        raise InputError(
            f"the observation is {measured[2]} × {measured[3]}: SSIM needs sides of at least "
            f"{SSIM_WINDOW}"
        )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
