"""Restore a picture that has no ground truth."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from dipstage.arguments import check_function, check_kind, check_whole
from dipstage.errors import InputError, WorkError
from dipstage.randomness import Streams
from dipstage.restoration.arrays import as_pixels, problem_of
from dipstage.restoration.choosing import (
    STOPS,
    TASKS,
    StopName,
    TaskName,
    check_task,
    chosen_schedule,
    estimated_sigma_255,
    input_noise_std,
    stopping_rule,
)
from dipstage.schedules.examples import EXAMPLES
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import Curve, StoppingRule, VarianceMinimum
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpainting
from dipstage.tasks.problem import Problem
from dipstage.tasks.registry import in_words, used_elsewhere
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.training.measurements import Progress
from dipstage.training.memory import checked_device, estimated_bytes
from dipstage.training.outcome import Outcome, Stop
from dipstage.training.several_runs import estimated_s, runs_at_once, train_all
from dipstage.training.trainer import Job

_EXAMPLE_OF: dict[TaskName, str] = {
    "denoise": "denoising",
    "inpaint": "inpainting-kate",
    "super_resolve": "super-resolution",
}
"""Official examples whose networks are used where neither settings nor a schedule file say more."""
Each: TypeAlias = Callable[[int, torch.Tensor], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """A restored picture.

    Args:
        picture: float32 in [0, 1], of the array's shape and `factor` times larger for
            `super_resolve`: the smoothed output, averaged over the runs.
        raw: The raw output in its place.
        stop: Why the first run ended.
        why: The same as a sentence, which also says if the rule found nothing.
        variance: (iterations,) float32: the variance that the rule reads, over the last stage of
            the first run.
        iterations: Iterations of all runs, the waits included.
        wall_s: Seconds that all runs took together.
        schedule: The schedule that was trained.
        schedule_name: What it was chosen by, such as `baseline`.
        sigma_255: Noise that was given or estimated, on the 0 to 255 scale; None if unknown.
        outcomes: The outcome of each run that was averaged.
    """

    picture: NDArray[np.float32]
    raw: NDArray[np.float32]
    stop: Stop
    why: str
    variance: Curve
    iterations: int
    wall_s: float
    schedule: Schedule
    schedule_name: str
    sigma_255: float | None
    outcomes: tuple[Outcome, ...]


def restore(
    array: NDArray[Any],
    *,
    task: TaskName = "denoise",
    sigma_255: float | Literal["auto"] | None = None,
    mask: NDArray[Any] | None = None,
    factor: int | None = None,
    schedule: str | Path | Schedule = "auto",
    stop: StopName = "emv",
    iterations: int | None = None,
    settings: TrainerSettings | None = None,
    runs: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, Progress], None] | None = None,
    each: Each | None = None,
) -> Restored:
    """Restore a picture that has no ground truth.

    Sides that are no multiple of 2 ** scales are padded by reflection, and the padding is cut off
    again. This example takes about half a minute on a laptop::

        import dipstage, skimage

        clean = skimage.data.chelsea()[100:164, 150:214]
        noisy = skimage.util.random_noise(clean, var=0.01, rng=0)
        settings = dipstage.TrainerSettings(width=32, scales=4)
        restored = dipstage.restore(noisy, iterations=600, settings=settings)
        print(restored.why)
        skimage.io.imsave("restored.png", skimage.util.img_as_ubyte(restored.picture))

    Args:
        array: (H, W) or (H, W, C) with C of 1 or 3: floats in [0, 1], uint8 or uint16.
        task: `denoise`, `inpaint` with a `mask`, or `super_resolve` with a `factor`.
        sigma_255: Standard deviation of the noise on the 0 to 255 scale. None or
            `auto` estimates it for `denoise`. For `inpaint`, they keep the known pixels as they
            are, which are restored as well if it is given. `super_resolve` takes none.
        mask: (H, W) for `inpaint`: true or not 0 where a pixel is known.
        factor: 2 or 4 for `super_resolve`.
        schedule: `auto` (see `chosen_schedule`), a preset, `fast` or `best`, the path of a schedule
            file, or a schedule.
        stop: `emv` or `wmv`: the variance of which the minimum is the answer (see
            `VarianceMinimum`). `none` trains over the whole budget and returns the last output.
        iterations: The budget; None for the schedule's own, longer where the picture has less noise
            than the schedule was measured on, else 2000.
        settings: The network and how it is trained; None for those with which the schedule was
            measured, else those of the official example for the task.
        runs: Networks that are trained, whose outputs are averaged. As many are trained at the same
            time as memory holds: up to all of them on a GPU, and on a CPU up to
            `torch.get_num_threads()`, of which each has an equal share, whatever memory holds.
        seed: Seed of the first run; the others have those that follow.
        device: Where to train.
        progress: Called with the number of the run, from 0, and a `Progress` after each block.
        each: As in `fit`, called in each run, but never in two at the same time. Once it returns
            true, all runs end, and no more begin.

    Returns:
        The picture, why the runs ended, and how.

    Raises:
        InputError: An argument is wrong; the message says which.
        WorkError: The loss of all runs became infinite before there was anything to return.
    """
    check_whole("runs", runs, least=1)
    check_whole("seed", seed, least=0)
    check_function("progress", progress)
    check_function("each", each)
    if settings is not None:
        check_kind("settings", settings, TrainerSettings, "see dipstage.TrainerSettings")
    checked_device(device)
    plan = planned(
        as_pixels(array), task=task, sigma_255=None if sigma_255 == "auto" else sigma_255,
        mask=mask, factor=factor, schedule=schedule, stop=stop, iterations=iterations,
        settings=settings,
    )  # fmt: skip
    restored = plan.run(runs=runs, seed=seed, device=device, progress=progress, each=each)
    if array.ndim == 2:
        return replace(restored, picture=restored.picture[..., 0], raw=restored.raw[..., 0])
    return restored


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A planned restoration: the problem and how it is trained. `planned` makes it.

    Args:
        problem: The padded problem.
        known: (H, W, C) float32 pixels that are kept as they are, NaN elsewhere, or None.
        sides: Height and width of the restored picture.
        schedule: The schedule.
        schedule_name: What it was chosen by.
        evidence: What is known of the schedule, in a sentence; empty for presets and files.
        settings: The network and how it is trained, with what the schedule's recipe gives.
        rule: When a run ends.
        sigma_255: Noise that was given or estimated.
    """

    problem: Problem
    known: NDArray[np.float32] | None
    sides: tuple[int, int]
    schedule: Schedule
    schedule_name: str
    evidence: str
    settings: TrainerSettings
    rule: StoppingRule
    sigma_255: float | None

    @property
    def missing(self) -> float:
        """Share of the picture's pixels that are missing; 0 unless the task is `inpaint`."""
        if not isinstance(self.problem, Inpainting):
            return 0.0
        known = self.problem.mask[..., : self.sides[0], : self.sides[1]]
        return 1 - float(known.mean())

    def estimated_bytes(self, at_once: int = 1) -> int:
        """Return about how much memory so many runs take at the same time."""
        picture = self.problem.picture
        windowed = 400 * picture[0].numel() if self.rule.windowed else 0
        height, width = picture.shape[2:]
        return estimated_bytes(self.settings, height, width, at_once) + at_once * windowed

    def at_once(self, runs: int, device: torch.device | str) -> int:
        """Return how many of the runs are trained at the same time."""
        return runs_at_once(runs, device, self.estimated_bytes())

    def estimated_s(self, runs: int, at_once: int, device: torch.device | str) -> float:
        """Return about how long runs take over their whole budgets, so many at the same time."""
        return estimated_s(self._job(0), runs, at_once, device)

    def _job(self, seed: int) -> Job:
        observed = self.problem.observation.numpy()
        digest = hashlib.sha256(repr(observed.shape).encode() + observed.tobytes()).hexdigest()
        return Job(
            self.problem, None, self.schedule, self.settings, Streams(digest, seed), self.rule
        )

    def run(
        self,
        *,
        runs: int = 1,
        at_once: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        progress: Callable[[int, Progress], None] | None = None,
        each: Each | None = None,
    ) -> Restored:
        """Train and average: see `restore`. `at_once` is by default what the method returns."""
        jobs = [
            replace(
                self._job(seed + i),
                progress=None if progress is None else partial(progress, i),
                each=each,
            )
            for i in range(runs)
        ]
        started = time.perf_counter()
        outcomes = train_all(jobs, at_once or self.at_once(runs, device), device)
        return self._restored(outcomes, runs, time.perf_counter() - started)

    def _restored(self, outcomes: list[Outcome], runs: int, wall_s: float) -> Restored:
        """Average the runs; those interrupted or diverged count only if none was completed."""
        usable = [outcome for outcome in outcomes if outcome.selected is not None]
        cut_short = (Stop.INTERRUPTED, Stop.DIVERGED)
        completed = [outcome for outcome in usable if outcome.stop not in cut_short]
        averaged = completed or usable
        if not averaged:
            raise WorkError(
                f"the loss was no longer finite after {outcomes[0].iterations} iterations: choose "
                "another schedule, such as baseline, or lower the learning rate"
            )
        first = averaged[0]
        kind = self.rule.kind if isinstance(self.rule, VarianceMinimum) else "emv"
        why = self._why(first)
        if runs > 1:
            n = len(averaged)
            why += f" (first of {n} averaged runs" if n > 1 else " (the one run that was used"
            left_out = runs - len(averaged)
            words = "interrupted, diverged or not begun, left out"
            why += f"; {left_out} {words})" if left_out else ")"
        return Restored(
            picture=self.cropped([o.selected.smoothed for o in averaged if o.selected]),
            raw=self.cropped([o.selected.raw for o in averaged if o.selected]),
            stop=first.stop,
            why=why,
            variance=first.trace.arrays()[f"variance_{kind}"][self.schedule.ramp :],
            iterations=sum(outcome.iterations for outcome in outcomes),
            wall_s=wall_s,
            schedule=self.schedule,
            schedule_name=self.schedule_name,
            sigma_255=self.sigma_255,
            outcomes=tuple(averaged),
        )

    def cropped(self, outputs: list[Curve]) -> NDArray[np.float32]:
        """Return the mean of outputs, (C, H, W) each, as (H, W, C) without the padding."""
        mean = np.stack(outputs).mean(axis=0, dtype=np.float64).astype(np.float32)
        picture = np.ascontiguousarray(np.moveaxis(mean, 0, -1)[: self.sides[0], : self.sides[1]])
        if self.known is not None:
            picture = np.where(np.isnan(self.known), picture, self.known)
        return picture

    def found_minimum(self, outcome: Outcome) -> bool:
        """Return whether the rule was certain, at the end of a run, where its outputs change least.

        It may be so with the last iterations of the budget, too late to end the run.
        """
        rule, ramp = self.rule, self.schedule.ramp
        if not isinstance(rule, VarianceMinimum):
            return False
        curves = outcome.trace.arrays()
        variance, psnr_db = curves[f"variance_{rule.kind}"][ramp:], curves["psnr_raw_db"][ramp:]
        return rule.found(rule.counted(variance, psnr_db)) is not None

    def _why(self, first: Outcome) -> str:
        """Say why the first run ended."""
        selected, rule = first.selected, self.rule
        assert selected is not None
        at, end = selected.iteration, first.iterations
        has_minimum = isinstance(rule, VarianceMinimum) and at < end - 1
        has_ended = first.stop in (Stop.MINIMUM, Stop.BUDGET)
        if has_minimum and has_ended and self.found_minimum(first):
            words = (
                f"the outputs changed least at iteration {at} (lowest variance); {end - 1 - at} "
                "more iterations brought no lower variance"
            )
        elif first.stop is Stop.BUDGET and isinstance(rule, VarianceMinimum):
            words = (
                f"the budget of {end} iterations ended before it was certain where the outputs "
                f"change least (lowest variance); the output of iteration {at} is used, and more "
                "iterations may give a better one"
            )
        else:
            ended = {
                Stop.BUDGET: f"the budget of {end} iterations ended",
                Stop.MINIMUM: f"the stopping rule ended the run after {end} iterations",
                Stop.INTERRUPTED: f"interrupted after {end} iterations",
                Stop.DIVERGED: f"the loss was no longer finite after {end} iterations",
            }[first.stop]
            which = (
                f"that of iteration {at}, where they changed least," if has_minimum else "the last"
            )
            words = f"{ended}; of its outputs, {which} is used"
        return words


def planned(
    pixels: NDArray[np.float32],
    *,
    task: TaskName = "denoise",
    sigma_255: float | None = None,
    mask: NDArray[Any] | None = None,
    factor: int | None = None,
    schedule: str | Path | Schedule = "auto",
    stop: StopName = "emv",
    iterations: int | None = None,
    settings: TrainerSettings | None = None,
    network: dict[str, Any] | None = None,
) -> Plan:
    """Check the arguments of `restore` and choose what they leave open.

    Args:
        pixels: (H, W, C) float32 in [0, 1].
        network: Settings of the trainer that go before all others, such as its width.
    """  # The other arguments are those of `restore`.
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if stop not in STOPS:
        raise InputError(f"stop must be one of {', '.join(STOPS)}, got {stop!r}")
    if iterations is not None:
        check_whole("iterations", iterations, least=1)
    if factor is not None:
        check_whole("factor", factor)
    check_task(task, sigma_255, mask, factor)
    if task == "denoise" and sigma_255 is None:
        sigma_255 = estimated_sigma_255(pixels)
        if sigma_255 < 0.1:
            raise InputError(
                "no noise is found in the picture: give its standard deviation on the 0 to 255 "
                "scale, as --sigma N or sigma_255=N"
            )
    scale = factor or 1
    sides = pixels.shape[0] * scale, pixels.shape[1] * scale
    chosen = chosen_schedule(schedule, task, sides, sigma_255, iterations)
    measured = chosen.file.measured if chosen.file else None
    if settings is None:
        settings = measured.trainer if measured else EXAMPLES[_EXAMPLE_OF[task]]
        if task == "denoise" and sigma_255 and not measured:
            settings = replace(settings, input_noise_std=input_noise_std(sigma_255))
    trained = replace(chosen.schedule, recipe=chosen.schedule.recipe.without(network or {}))
    settings = replace(settings, oracle_stop=False, **(network or {}))
    if network:
        # A narrow network needs no wide skip connections, such as those of inpainting-kate.
        settings = replace(settings, skip_channels=min(settings.skip_channels, settings.width))
    settings = trained.recipe.applied_to(settings)
    multiple = max(settings.multiple // scale, 1)
    evidence = ""
    if found := chosen.published:
        network_is = settings.width, settings.scales
        noise = sigma_255 or 0.0
        evidence = found.in_short(
            found.differences(sides[1], sides[0], noise, network_is, chosen.schedule)
        )
    if on := chosen.measured_on:
        used = SuperResolve(factor) if factor else Denoise()
        # A photograph has a mask of its own, so that for inpainting the kind of the task decides.
        if on["kind"] != task or (task != "inpaint" and used_elsewhere(on, used)):
            evidence = f"{evidence or chosen.name}; measured on another task ({in_words(on)})"
    problem = problem_of(pixels, task, mask, factor, multiple)
    known = None
    if mask is not None and sigma_255 is None:
        known = np.where(np.asarray(mask, bool)[..., None], pixels, np.float32(np.nan))
    return Plan(
        problem, known, sides, trained, chosen.name, evidence, settings,
        stopping_rule(stop, trained.iterations, sigma_255 if task == "denoise" else None),
        sigma_255,
    )  # fmt: skip
