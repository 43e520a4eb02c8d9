"""Output of `dipstage`: the progress of a run, its scores, a schedule as a staircase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dipstage.schedules.stopping import OUTPUTS, Curve, Output, StoppingRule, VarianceMinimum
from dipstage.terminal.fitted import Column, FittedTable
from dipstage.terminal.numbers import SSIM, db, fixed

if TYPE_CHECKING:
    from dipstage.schedules.schedule import Schedule
    from dipstage.training import measurements
    from dipstage.training.outcome import Outcome


class _Bar:
    """Stage, iteration, some words and time left; silent without a terminal."""

    def __init__(self, console: Console, iterations: int) -> None:
        """Draw on `console` if it is a terminal."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._iterations = iterations
        self._lines: dict[int, TaskID] = {0: self._new_line()}

    def _new_line(self) -> TaskID:
        return self._bar.add_task("", total=self._iterations, words="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, now: measurements.Progress, words: str, run: int = 0, which: str = "") -> None:
        stage = f"{which}stage {now.stage + 1}/{now.stages}"
        line = self._lines[run]
        self._bar.update(line, completed=now.iteration + 1, description=stage, words=words)


class ProgressBar(_Bar):
    """A bar whose words are PSNR_GT and its maximum."""

    def update(self, now: measurements.Progress) -> None:
        """Show the progress after a block."""
        best = f"{db(now.best_psnr_gt_db['raw'])} at {now.best_iteration['raw']}"
        self._show(now, f"PSNR_GT {db(now.psnr_gt_db['raw'])} dB, best {best}")


class RestorationBar(_Bar):
    """A bar for each run, whose words say what the variance does."""

    def __init__(self, console: Console, iterations: int, runs: int, rule: StoppingRule) -> None:
        """Draw on `console` if it is a terminal."""
        super().__init__(console, iterations)
        self._runs, self._rule = runs, rule

    def update(self, run: int, now: measurements.Progress) -> None:
        """Show the progress of a run, counted from 0, after a block."""
        if run not in self._lines:
            self._lines[run] = self._new_line()
        which = f"run {run + 1}/{self._runs}, " if self._runs > 1 else ""
        self._show(now, variance_in_words(now.variance, self._rule), run, which)
        rule, is_last = self._rule, now.iteration + 1 == now.iterations
        if isinstance(rule, VarianceMinimum):
            is_last |= rule.found(now.variance) is not None
        if self._runs > 1 and is_last:
            self._bar.update(self._lines[run], visible=False)


def variance_in_words(variance: Curve, rule: StoppingRule) -> str:
    """Say whether the variance of the outputs is falling, flat or rising, and when a run stops.

    It is falling for ten iterations after a minimum, and rising where the mean of the last ten is
    more than a tenth above it.

    Args:
        variance: (iterations,) over the last stage so far.
        rule: The rule that reads it; another rule never stops a run.
    """
    minimum = rule if isinstance(rule, VarianceMinimum) else VarianceMinimum()
    at = minimum.selected(variance)
    if at is None:
        return "fitting the picture"
    waited = len(variance) - 1 - at
    if waited < 10:
        words = "variance falling"
    else:
        rising = float(np.nanmean(variance[-10:])) > 1.1 * float(variance[at])
        words = f"variance {'rising' if rising else 'flat'}"
    if waited < 10 or minimum is not rule:
        return words
    return f"{words}, stops in {minimum.patience - waited} without a new minimum"


def outcome_table(outcome: Outcome) -> FittedTable:
    """Return the maxima of both outputs, their iterations, and the final PSNR_GT."""
    of = outcome.scores

    def steps(output: Output) -> str:
        found, cut = of(output).steps_to_max, of(output).censored
        return f"≥ {found} (censored)" if cut else str(found)

    columns: list[Column[Output]] = [
        Column("output", str, left=True),
        Column("steps to max PSNR_GT", steps),
        Column("max PSNR_GT (dB)", lambda output: db(of(output).max_psnr_gt_db)),
        Column("steps to max SSIM_GT", lambda output: str(of(output).steps_to_max_ssim_gt)),
        Column("max SSIM_GT", lambda output: fixed(of(output).max_ssim_gt, SSIM)),
        Column("final PSNR_GT (dB)", lambda output: db(of(output).final_psnr_gt_db)),
    ]
    title = f"PSNR_GT of the observation: {outcome.observation_psnr_gt_db:.2f} dB"
    return FittedTable.of(columns, OUTPUTS, title)


def staircase_table(name: str, schedule: Schedule) -> FittedTable:
    """Return every stage, with a bar that shows its place in the budget."""
    cells = 30
    budget, stages, starts = schedule.iterations, schedule.stages, schedule.starts

    def bar(i: int) -> str:
        left = starts[i] * cells // budget
        length = max(1, (starts[i] + stages[i].iterations) * cells // budget - left)
        return " " * min(left, cells - 1) + "█" * length

    columns: list[Column[int]] = [
        Column("stage", lambda i: str(i + 1), left=True),
        Column("alpha_bar", lambda i: f"{stages[i].alpha_bar:.4g}"),
        Column("first iteration", lambda i: str(starts[i])),
        Column("iterations", lambda i: str(stages[i].iterations)),
        Column("share", lambda i: f"{stages[i].iterations / budget:.1%}"),
        Column("over the budget", bar, left=True),
    ]
    title = f"{name}: {len(stages)} stages, ramp {schedule.ramp} of {budget} iterations"
    return FittedTable.of(columns, range(len(stages)), title)
