"""Settings of a schedule beside its stages: targets, learning rates, input noise, averaging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

from dipstage.arguments import built_in, check_number, check_whole
from dipstage.documents.records import as_count
from dipstage.errors import InputError
from dipstage.schedules.settings import EmaRestart, TrainerSettings

TargetKind: TypeAlias = Literal["ddpm", "variance-exploding", "contrast"]
Draw: TypeAlias = Literal["fixed", "fresh"]
_TRAINING = ("learning_rate", "input_noise_std", "ema", "ema_restart")
NETWORK_AND_WARMUP = ("width", "first_width", "scales", "skip_channels", "input_depth", "warmup")
"""Whole numbers among the trainer's settings that a recipe may give, in the order of sampling."""
_OF_TRAINER = _TRAINING + NETWORK_AND_WARMUP


@dataclass(frozen=True, slots=True)
class Recipe:
    """The part of a training recipe that belongs to a schedule.

    None leaves a value to the trainer's settings. All ranges are those of `TrainerSettings`.

    Args:
        target: How targets of noised stages are made: see `dipstage.schedules.noise.TARGETS`.
        draw: Noise of a noised stage: one draw for the whole stage, or a fresh one in each
            iteration.
        learning_rate: Learning rate of Adam, in the last stage and, unless `ramp_learning_rate`
            is given, in all others.
        ramp_learning_rate: Learning rate in all stages but the last.
        input_noise_std: Standard deviation of the noise added to the network's input.
        ema: Weight of the past in the smoothed output, in [0, 1).
        ema_gamma: Exponent gamma of a power-function average, at least 0, in place of `ema`: its
            window grows with the iterations (arXiv 2312.02696, section 3.1). 0 is the plain mean.
        ema_restart: When the average starts anew: at each stage, or never.
        average_from: Iteration at which the average starts anew once more, at least 0. It lets
            plain DIP start its average as late as a staged schedule does.
        width: Channels of the network at every scale, or its maximum if `first_width` is above 0.
        first_width: Channels at the finest scale, which double from scale to scale; 0 for `width`.
        scales: How often the network halves the picture.
        skip_channels: Channels of the skip connection of each scale.
        input_depth: Channels of the network's input.
        warmup: Iterations over which the learning rate rises.

    Raises:
        InputError: A value lies outside its range, or two exclude each other.
    """

    target: TargetKind = "ddpm"
    draw: Draw = "fixed"
    learning_rate: float | None = None
    ramp_learning_rate: float | None = None
    input_noise_std: float | None = None
    ema: float | None = None
    ema_gamma: float | None = None
    ema_restart: EmaRestart | None = None
    average_from: int | None = None
    width: int | None = None
    first_width: int | None = None
    scales: int | None = None
    skip_channels: int | None = None
    input_depth: int | None = None
    warmup: int | None = None

    def __post_init__(self) -> None:
        if self.target not in get_args(TargetKind):
            raise InputError(
                f"target must be {' or '.join(get_args(TargetKind))}, got {self.target!r}"
            )
        if self.draw not in get_args(Draw):
            raise InputError(f"draw must be {' or '.join(get_args(Draw))}, got {self.draw!r}")
        if self.target == "contrast" and self.draw == "fresh":
            raise InputError("draw fresh has no effect: contrast targets have no noise")
        self.applied_to(TrainerSettings())
        rate, gamma, start = self.ramp_learning_rate, self.ema_gamma, self.average_from
        if rate is not None:
            check_number("ramp_learning_rate", rate)
            if not 0 < rate <= 1:
                raise InputError(f"ramp_learning_rate must be in (0, 1], got {rate}")
        if gamma is not None:
            check_number("ema_gamma", gamma)
            if not (math.isfinite(gamma) and gamma >= 0):
                raise InputError(f"ema_gamma must be finite and not negative, got {gamma}")
            if self.ema is not None:
                raise InputError("ema and ema_gamma are two kinds of average: give one of them")
        if start is not None:
            object.__setattr__(self, "average_from", as_count(start))
            check_whole("average_from", self.average_from, least=0)

    def applied_to(self, settings: TrainerSettings) -> TrainerSettings:
        """Return settings with the values that the recipe gives in place of their own."""
        own = {name: getattr(self, name) for name in _OF_TRAINER}
        return replace(settings, **{name: own[name] for name in own if own[name] is not None})

    def completed(self, settings: TrainerSettings) -> Recipe:
        """Return the recipe with the rates, input noise and average that it leaves to the settings.

        The network and the warm-up stay open, so that a schedule is not tied to one network unless
        it was searched with it.
        """
        full = self.applied_to(settings)
        given = {name: getattr(full, name) for name in _TRAINING}
        if self.ema_gamma is not None:
            del given["ema"]
        return replace(self, **given)

    def without(self, names: Iterable[str]) -> Recipe:
        """Return the recipe with some of the trainer's settings left to the trainer."""
        left: dict[str, Any] = {name: None for name in names if name in _OF_TRAINER}
        return replace(self, **left)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any] | None) -> Recipe:
        """Return the recipe that `to_plain` wrote; the default one for None."""
        return cls(**(content or {}))

    def to_plain(self) -> dict[str, Any] | None:
        """Return the values that differ from the defaults, for JSON; None if there are none."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {n: built_in(v) for n, v in own.items() if v != getattr(TRAINERS, n)}
        return plain or None


TRAINERS = Recipe()
"""The recipe that leaves everything to the trainer's settings, on `ddpm` targets."""
