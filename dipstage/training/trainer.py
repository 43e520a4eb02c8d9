"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dipstage.arguments import check_function, check_kind, check_pixels
from dipstage.errors import InputError
from dipstage.randomness import Stream, Streams
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import (
    OUTPUTS,
    OracleDecided,
    StoppingRule,
    VarianceMinimum,
    check_rule,
)
from dipstage.tasks.denoise import Denoising
from dipstage.tasks.problem import Problem, check_problem
from dipstage.training.adam import Adam
from dipstage.training.arithmetic import Weights, choose
from dipstage.training.cuda_graphs import Replayed
from dipstage.training.iteration_table import (
    IN_LAST,
    LAG,
    PAST,
    RATE,
    REST,
    SEEN,
    WEIGHT_IN_EMV,
    iteration_table,
    learning_rates,
)
from dipstage.training.measurements import BLOCK, Measurements, Progress
from dipstage.training.memory import checked_device
from dipstage.training.metrics import mse, psnr_db, ssim
from dipstage.training.network import SkipNetwork, fixed_input
from dipstage.training.outcome import Outcome, Selected, Stop, Trace, score
from dipstage.training.safety_reset import SafetyReset
from dipstage.training.stage_targets import Targets, check_targets
from dipstage.training.variance import WINDOW, AtMinimum, MovingVariance, WindowedVariance


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One training run: the arguments of `fit`, which describes them."""

    observation: Tensor | Problem
    ground_truth: Tensor | None
    schedule: Schedule
    settings: TrainerSettings
    streams: Streams
    stopping: StoppingRule | None = None
    progress: Callable[[Progress], None] | None = None
    each: Callable[[int, Tensor], bool] | None = None


def fit(
    observation: Tensor | Problem,
    ground_truth: Tensor | None,
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
        ground_truth: (1, C, H, W) float32 in [0, 1], or None if there is none. It only scores the
            outputs; among stopping rules, oracles alone read it.
        schedule: Stages and budget; `settings.iterations` is not read.
        settings: The network and how it is trained; the schedule's recipe goes before it.
        streams: Random streams of the replicate.
        stopping: When to stop early; by default the rule that `settings` asks for, on the raw
            output.
        device: Where to train.
        progress: Called with a `Progress` after each block of ten iterations.
        each: Called after each iteration with its number, from 1, and both outputs, raw and
            smoothed, as (2, C, H, W) on the device, which the next iteration overwrites. The run
            ends once it returns true.

    Returns:
        Scores, curves and best pictures, also for a run that diverged. Its `precision` says what
        `auto` chose.

    Raises:
        InputError: An argument is of another type, pixels lie outside [0, 1], shapes do not fit,
            `tf32` or the device is not there, or an oracle has no ground truth.
    """
    job = Job(observation, ground_truth, schedule, settings, streams, stopping, progress, each)
    return fit_together([job], device=device)[0]


@torch.inference_mode(mode=False)  # Gradients are taken, even in torch.no_grad.
def fit_together(
    jobs: Sequence[Job], *, device: torch.device | str = "cpu", graphs: bool = True
) -> list[Outcome]:
    """Train several networks side by side, each of which gives what `fit` gives.

    On a GPU each has its own stream, so that their small kernels run at the same time. On a CPU
    they take turns, and nothing is gained.

    Args:
        jobs: The runs; they share nothing.
        device: Where to train.
        graphs: Replay each iteration as a CUDA graph on a GPU.

    Returns:
        The outcome of each job. `wall_s` is the time from the common start to the run's end.

    Raises:
        InputError: See `fit`.
    """
    started = time.perf_counter()
    device = checked_device(device)
    outcomes: list[Outcome | None] = [None] * len(jobs)
    runs: dict[int, _Run] = {}
    for i, job in enumerate(jobs):
        runs[i] = _Run(job, device, graphs=graphs)
        runs[i].launch()
    while runs:
        for i, run in list(runs.items()):
            stop = run.settle()
            if stop is None:
                run.launch()
            else:
                outcomes[i] = run.outcome(stop, started)
                del runs[i]
    return [outcome for outcome in outcomes if outcome is not None]


def _check_job(job: Job) -> None:
    """Raise InputError for other types, or pixels that cannot be meant."""
    check_kind("settings", job.settings, TrainerSettings, "see dipstage.TrainerSettings")
    check_targets(job.schedule, job.streams)
    check_function("progress", job.progress)
    check_function("each", job.each)
    check_rule("stopping", job.stopping)
    # A task may leave noise unclipped.
    observed = getattr(job.observation, "observation", job.observation)
    check_pixels("observation", observed, bounded=observed is job.observation)
    if job.ground_truth is not None:
        check_pixels("ground_truth", job.ground_truth)


class _Run:
    """State of one training run.

    An iteration reads and writes the same tensors each time, so that a GPU can replay it. What
    differs between iterations stands in tables on the device; scores are fetched once a block.
    """

    def __init__(self, job: Job, device: torch.device, *, graphs: bool) -> None:
        _check_job(job)
        settings = job.schedule.recipe.applied_to(job.settings)
        observed = job.observation
        problem = Denoising(observed) if isinstance(observed, Tensor) else observed
        picture, truth = problem.picture, job.ground_truth
        check_problem(problem, truth, settings)
        self.observation_psnr_gt_db = float("nan")
        if truth is not None:
            self.observation_psnr_gt_db = float(psnr_db(mse(picture, truth.to(picture.device))))
        self.job, self.schedule, self.settings, self.device = job, job.schedule, settings, device
        self.stopping = job.stopping or settings.stopping("raw")
        if truth is None and self.stopping.reads_ground_truth:
            raise InputError(
                f"the stopping rule {type(self.stopping).__name__} reads the ground truth, and "
                "there is none: use VarianceMinimum or FullBudget"
            )
        self.shape = picture.shape
        self.arithmetic = choose(settings, device, *self.shape[2:])
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream(device))
        with self._here():
            self._prepare(problem.to(device), job.streams)
        capture = graphs and self.stream is not None
        self.iterate = Replayed(self._iterate, [self.input_noise_stream], capture=capture)
        self.measure_ssim = Replayed(self._measure_ssim, [], capture=capture)

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Work in the run's stream."""
        if self.stream is None:
            yield
            return
        with torch.cuda.stream(self.stream):
            yield

    def _prepare(self, problem: Problem, streams: Streams) -> None:
        """Make the network and all tensors."""
        settings, schedule, device = self.settings, self.schedule, self.device
        channels, height, width = self.shape[1:]
        truth = self.job.ground_truth
        self.truth = None if truth is None else truth.to(device)
        self.problem, self.observation = problem, problem.observation
        self.network = SkipNetwork(
            settings, output_channels=channels, generator=streams.generator(Stream.WEIGHTS)
        )
        self.views = Weights(self.network, self.arithmetic, device)
        self.weights = self.views.flat
        shape = torch.Size([1, settings.input_depth, height, width])
        # Each iteration sets the rate.
        rate: float | Tensor = settings.learning_rate
        if self.stream is not None:
            rate = torch.tensor(rate, device=device)
        self.optimiser = Adam(self.weights, rate)
        self.input = fixed_input(settings, shape, streams.generator(Stream.INPUT)).to(device)
        self.input_noise = torch.empty_like(self.input)
        dtype, layout = self.views.dtype, self.views.layout
        self.noisy_input = torch.empty_like(self.input, dtype=dtype, memory_format=layout)
        self.input_noise_stream = streams.generator(Stream.INPUT_NOISE, device=device)

        self.steps = [schedule.at(iteration) for iteration in range(schedule.iterations)]
        self.rule = self.stopping if isinstance(self.stopping, VarianceMinimum) else None
        self.rates = learning_rates(schedule, settings)
        self.table = iteration_table(schedule, settings, self.rates, self.rule).to(device)
        self.iteration = torch.zeros(1, dtype=torch.int64, device=device)
        self.targets = Targets(self.observation, schedule, streams)
        self.target = self.observation.clone()
        self.set_target = self.observation
        self.pictures = torch.zeros((2, channels, height, width), device=device)
        self.moving = MovingVariance(self.pictures[:1])
        self.windowed = WindowedVariance(self.pictures[:1]) if self.stopping.windowed else None
        self.at_minimum = None
        if self.rule is not None:
            self.at_minimum = AtMinimum(self.pictures, self.rule.patience)
            self.fitted = torch.zeros((), dtype=torch.bool, device=device)
        self.safety = SafetyReset(self.weights)
        self.best = torch.full((2,), -torch.inf, device=device)
        self.best_pictures = torch.full_like(
            self.pictures, torch.nan if self.truth is None else 0.0
        )
        self.unknown = torch.full((2,), torch.nan, device=device)
        self.measured = Measurements(schedule, self.rule, device)
        self.ssim_now = torch.zeros(2, device=device)
        self.launched = 0
        self.ends = False

    def launch(self) -> None:
        """Start the iterations of the next block, without waiting for a GPU."""
        each, end = self.job.each, min(self.launched + BLOCK, self.schedule.iterations)
        with self._here():
            while self.launched < end and not self.ends:
                self._aim()
                with self.arithmetic.convolving(self.device):
                    self.iterate()
                    if self.launched % BLOCK == 0 and self.truth is not None:
                        self.measure_ssim()
                        self.measured.write_ssim(self.launched, self.ssim_now)
                self.launched += 1
                self.ends = each is not None and each(self.launched, self.pictures)

    def settle(self) -> Stop | None:
        """Wait for the block and return why the run ends with it, if it does."""
        with self._here():
            is_finite = self.measured.fetch(self.launched)
        if not is_finite:
            return Stop.DIVERGED
        if self.job.progress is not None:
            self.job.progress(self.measured.progress())
        if self.launched == self.schedule.iterations:
            return Stop.BUDGET
        if self.ends:
            return Stop.INTERRUPTED
        if self.launched > self.schedule.ramp and self.stopping.stops(self.measured.last_stage()):
            return Stop.PEAK if self.stopping.reads_ground_truth else Stop.MINIMUM
        return None

    def _aim(self) -> None:
        """Set what changes between iterations and is not in the table."""
        if self.stream is None:
            self.optimiser.rate = self.rates[self.launched]
        target = self.targets.at(self.steps[self.launched])
        if target is not self.set_target:
            self.target.copy_(target)
            self.set_target = target

    def _iterate(self) -> None:
        """Score the weights and update them once."""
        views = self.views
        row = self.table.index_select(0, self.iteration)[0]
        if isinstance(self.optimiser.rate, Tensor):
            self.optimiser.rate.copy_(row[RATE])
        views.spread()
        self.input_noise.normal_(generator=self.input_noise_stream)
        std, noisy_input = self.settings.input_noise_std, self.noisy_input
        torch.add(self.input, self.input_noise, alpha=std, out=noisy_input)
        output = self.network(noisy_input).contiguous()
        loss = F.mse_loss(self.problem.measured(output), self.problem.restricted(self.target))
        views.gather(loss)
        with torch.no_grad(), self.arithmetic.scoring(self.device):
            self._score(row, output.detach(), loss.detach())
            self.safety.check(psnr_db(loss.detach()), row[SEEN] == 1)
        self.optimiser.step()
        self.iteration += 1

    def _score(self, row: Tensor, output: Tensor, loss: Tensor) -> None:
        pictures, smoothed = self.pictures, self.pictures[1:]
        pictures[:1].copy_(output)
        smoothed.mul_(row[PAST]).add_(output * row[REST])
        psnr_gt = self.unknown if self.truth is None else psnr_db(mse(pictures, self.truth))
        psnr = psnr_db(mse(self.problem.measured(pictures), self.observation))
        emv = self.moving.update(output, row[WEIGHT_IN_EMV])
        wmv = self.unknown[0]
        if self.windowed is not None:
            wmv = self.windowed.update(output, self.iteration % WINDOW, row[SEEN])
        self.measured.write(self.iteration, loss, psnr, psnr_gt, emv, wmv)
        if self.rule is not None and self.at_minimum is not None:
            variance, place = emv if self.rule.kind == "emv" else wmv, row[IN_LAST]
            self.fitted |= (place > 0) & (psnr[0] >= self.rule.fitted_db)
            counts = (self.fitted | (place > self.rule.fitted_by)) & (place > self.rule.warmup)
            self.at_minimum.update(pictures, variance, counts, row[LAG])
        if self.truth is None:
            return
        better = psnr_gt > self.best
        torch.where(better, psnr_gt, self.best, out=self.best)
        torch.where(better.view(2, 1, 1, 1), pictures, self.best_pictures, out=self.best_pictures)

    def _measure_ssim(self) -> None:
        assert self.truth is not None
        self.ssim_now.copy_(self._ssim(self.pictures, self.truth))

    def _ssim(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Return (2,): raw and smoothed against the ground truth."""
        with self.arithmetic.scoring(self.device):
            return ssim(pictures, truth)

    def outcome(self, stop: Stop, started: float) -> Outcome:
        """Return the outcome of a run that has ended; `started` is on `time.perf_counter`."""
        with self._here(), self.arithmetic.convolving(self.device):
            at_best = None
            if is_scored := self.measured.length > 0 and self.truth is not None:
                at_best = self._ssim(self.best_pictures, self.truth).cpu().numpy()
            trace, best = self.measured.trace(at_best), self.best_pictures.cpu().numpy()
            selected = self._selected(trace, stop)
            resets = int(self.safety.resets.item())
        patience = self.stopping.patience
        is_decided = stop is Stop.PEAK and isinstance(self.stopping, OracleDecided)
        waits = {"raw": patience, "smoothed": 1 if is_decided else patience}
        scores = {output: score(trace, output, waits[output]) for output in OUTPUTS if is_scored}
        return Outcome(
            stop=stop,
            observation_psnr_gt_db=self.observation_psnr_gt_db,
            raw=scores.get("raw"),
            smoothed=scores.get("smoothed"),
            iterations=self.measured.length,
            resets=resets,
            wall_s=time.perf_counter() - started,
            device=_device_name(self.device),
            precision=self.arithmetic.precision,
            trace=trace,
            best_raw=best[0],
            best_smoothed=best[1],
            selected=selected,
        )

    def _selected(self, trace: Trace, stop: Stop) -> Selected | None:
        at = None if self.rule is None else self.rule.selected(self.measured.variance())
        if at is not None and self.at_minimum is not None:
            iteration, outputs = self.schedule.ramp + at, self.at_minimum.outputs
            lag = int(self.table[iteration, LAG].item())
            smoothed_iteration = min(iteration + lag, self.measured.length - 1)
        elif stop is Stop.DIVERGED:
            return None
        else:
            iteration, outputs = self.measured.length - 1, self.pictures
            smoothed_iteration = iteration
        raw, smoothed = outputs.cpu().numpy().copy()
        return Selected(
            iteration=iteration,
            iteration_smoothed=smoothed_iteration,
            psnr_gt_raw_db=float(trace.psnr_gt_raw_db[iteration]),
            psnr_gt_smoothed_db=float(trace.psnr_gt_smoothed_db[smoothed_iteration]),
            raw=raw,
            smoothed=smoothed,
        )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
