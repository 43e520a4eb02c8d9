"""A table of what differs between the iterations of a run, which a device can read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import VarianceMinimum
from dipstage.training.variance import EMV_WEIGHT

RATE, PAST, REST, WEIGHT_IN_EMV, SEEN, IN_LAST, LAG = range(7)
"""Columns: learning rate, weights of the moving average so far and of the output, weight of the
output in EMV, outputs of the stage including this one, how many of them there are in the last
stage, else 0, and the lag of the smoothed output if the variance has its minimum here."""


def learning_rates(schedule: Schedule, settings: TrainerSettings) -> list[float]:
    """Return the learning rate of each iteration, warm-up included."""
    return [
        (schedule.at(iteration).learning_rate or settings.learning_rate)
        * (min(1.0, (iteration + 1) / settings.warmup) if settings.warmup else 1)
        for iteration in range(schedule.iterations)
    ]


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


def averaged_outputs(schedule: Schedule, settings: TrainerSettings) -> list[int]:
    """Return how many outputs the moving average contains after each iteration."""
    restarts = {0, schedule.recipe.average_from}
    if settings.ema_restart == "stage":
        restarts |= set(schedule.starts)
    counts: list[int] = []
    for iteration in range(schedule.iterations):
        counts.append(1 if iteration in restarts else counts[-1] + 1)
    return counts


def iteration_table(
    schedule: Schedule,
    settings: TrainerSettings,
    rates: Sequence[float],
    rule: VarianceMinimum | None = None,
) -> Tensor:
    """Return the table of a run: (iterations, 7) float32, with the columns `RATE` and so on."""
    starts, ramp, gamma = set(schedule.starts), schedule.ramp, schedule.recipe.ema_gamma
    counts = averaged_outputs(schedule, settings)
    rows = []
    seen = 0
    for iteration, (rate, averaged) in enumerate(zip(rates, counts, strict=True)):
        seen = 1 if iteration in starts else seen + 1
        past = weight_of_past(averaged, settings, gamma)
        weight = 1 if seen == 1 else EMV_WEIGHT
        in_last = seen if iteration >= ramp else 0
        lag = 0 if rule is None else rule.lag(settings.ema, gamma, averaged)
        rows.append([rate, past, 1 - past, weight, seen, in_last, lag])
    return torch.tensor(rows, dtype=torch.float32, device="cpu")
