"""Settings of the trainer. They import no torch, so that experiments are checked quickly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias, get_origin

from dipstage.arguments import built_in, check_flag, check_number, check_whole
from dipstage.documents.records import choices, hints, is_choice
from dipstage.errors import InputError
from dipstage.schedules.stopping import (
    MAX_ITERATIONS,
    FullBudget,
    OracleBoth,
    OracleDecided,
    OraclePeak,
    Output,
    StoppingRule,
    check_output,
)

SSIM_WINDOW = 11
"""Side of the window in which SSIM is measured, and so the smallest side of a picture."""

EmaRestart: TypeAlias = Literal["never", "stage"]
MAX_CHANNELS = 4096
"""Largest width of a layer: the network grows with the square of it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A condition for a number, in words and as a check."""

    words: str
    holds: Callable[[float], bool]


_AT_LEAST_1 = _Rule(words="at least 1", holds=lambda v: v >= 1)
_FROM_1_TO_8 = _Rule(words="from 1 to 8", holds=lambda v: 1 <= v <= 8)
_NOT_NEGATIVE = _Rule(words="not negative", holds=lambda v: v >= 0)
_IN_0_1 = _Rule(words="in (0, 1]", holds=lambda v: 0 < v <= 1)
_BELOW_1 = _Rule(words="in [0, 1)", holds=lambda v: 0 <= v < 1)


def _setting(
    default: Any, limit: _Rule | None = None, most: int | None = None, *, help: str
) -> Any:
    """Make a field that keeps its meaning and its limits, for errors and for the reference."""
    rule = None if limit is None else limit.words
    holds = None if limit is None else limit.holds
    metadata = {"help": help, "rule": rule, "holds": holds, "most": most}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """The network and how it is trained; the defaults are those of the official denoising example,
    but for 2000 iterations. In a file, `example: NAME` takes those of another
    [official example](tasks.md#networks) instead.

    Raises:
        InputError: A value lies outside its limits; the message names the field and the value.
    """

    iterations: int = _setting(
        2000,
        _AT_LEAST_1,
        MAX_ITERATIONS,
        help="Maximum number of iterations of a training, its budget.",
    )
    width: int = _setting(
        128, _AT_LEAST_1, MAX_CHANNELS, help="Channels of the skip network at every scale."
    )
    first_width: int = _setting(
        0,
        _NOT_NEGATIVE,
        MAX_CHANNELS,
        help="Channels at the finest scale, which double from scale to scale up to `width`; 0 for "
        "`width` at every scale.",
    )
    scales: int = _setting(
        5,
        _FROM_1_TO_8,
        help="Number of times that the skip network halves the picture; sides must be multiples of "
        "2 to the power of this number.",
    )
    skip_channels: int = _setting(
        4, _NOT_NEGATIVE, MAX_CHANNELS, help="Channels of the skip connection of each scale."
    )
    upsampling: Literal["bilinear", "nearest"] = _setting(
        "bilinear", help="Interpolation between scales. The official inpainting uses `nearest`."
    )
    down_kernel: Literal[3, 5] = _setting(3, help="Side length of the filters on the way down.")
    pointwise: bool = _setting(
        True, help="Whether a 1 × 1 convolution follows the 3 × 3 one of each scale on the way up."
    )
    input: Literal["noise", "meshgrid"] = _setting(
        "noise", help="The network's fixed input: uniform noise, or the two coordinates of a pixel."
    )
    input_depth: int = _setting(
        32, _AT_LEAST_1, MAX_CHANNELS, help="Channels of the network's input; 2 for a meshgrid."
    )
    learning_rate: float = _setting(0.01, _IN_0_1, help="Learning rate of Adam.")
    input_noise_std: float = _setting(
        1 / 30,
        _NOT_NEGATIVE,
        help="Standard deviation of the noise that is added to the input in each iteration; "
        "1/30 suits sigma 25.",
    )
    ema: float = _setting(
        0.99, _BELOW_1, help="Weight of the past in the smoothed output, a moving average."
    )
    ema_restart: Literal["never", "stage"] = _setting(
        "never",
        help="When the moving average starts anew. `stage`: at the start of each stage, from zero "
        "and with bias correction, so that it contains no output of noisier stages. `never`: it "
        "starts once, at the first output, as in the official recipe.",
    )
    patience: int = _setting(
        150,
        _AT_LEAST_1,
        MAX_ITERATIONS,
        help="Iterations without a rise of PSNR_GT after which `oracle_stop` ends a training; also "
        "the distance from the end of a training within which a maximum counts as censored.",
    )
    oracle_stop: Literal[True, False, "both", "decided"] = _setting(
        False,
        help="End a training early, in its last stage. `true`: once PSNR_GT of the optimised "
        "output has not risen for `patience` iterations. `decided`: the same for the raw output; "
        "for the smoothed output, once PSNR_GT has not risen for 30 iterations and has fallen by "
        "0.02 dB. `both`: once PSNR_GT of neither output has risen for 200 iterations, or for "
        "`patience` if that is more. This uses the ground truth, but only to save time: "
        "all scores before the end stay the same.",
    )
    warmup: int = _setting(
        0,
        _NOT_NEGATIVE,
        MAX_ITERATIONS,
        help="Iterations over which the learning rate rises linearly to `learning_rate`.",
    )
    precision: Literal["auto", "fp32", "tf32", "bf16"] = _setting(
        "auto",
        help="Number format in which all layers but the last compute; weights, their updates and "
        "the output are kept in fp32. On a CPU, `auto` is bf16 in the scales of the network "
        "that are faster with it, and fp32 in the others; on a GPU it is fp32. `tf32` rounds the "
        "operands of all convolutions that a GPU trains with: also of the last layer and, for a "
        "grey picture, of the filter of super-resolution. Scores are computed in fp32.",
    )
    dropped: ClassVar[dict[str, str]] = {"compile": "networks are no longer compiled"}
    """Keys of older versions, which are read without effect, and why."""

    def __post_init__(self) -> None:
        own: type = type(self)
        kinds = hints(own)
        for each in fields(self):
            holds, value = each.metadata["holds"], getattr(self, each.name)
            kind = kinds[each.name]
            if get_origin(kind) is Literal and not is_choice(kind, built_in(value)):
                words = " or ".join(choices(kind))
                raise InputError(f"{each.name} must be {words}, got {value!r}")
            if kind is int:
                check_whole(each.name, value)
            elif kind is float:
                check_number(each.name, value)
            elif kind is bool:
                check_flag(each.name, value)
            most = each.metadata["most"]
            if most is not None and value > most:
                raise InputError(f"{each.name} must be at most {most:,}, got {value:,}")
            if holds and not (math.isfinite(value) and holds(value)):
                raise InputError(f"{each.name} must be {each.metadata['rule']}, got {value}")
        if self.input == "meshgrid" and self.input_depth != 2:
            raise InputError(f"input meshgrid needs input_depth 2, got {self.input_depth}")

    def stopping(self, output: Output) -> StoppingRule:
        """Return the stopping rule that `oracle_stop` and `patience` ask for.

        Args:
            output: The output whose PSNR_GT the oracle watches, `raw` or `smoothed`.

        Returns:
            `OracleBoth` if `oracle_stop` is `both`, `OracleDecided` if it is `decided` and the
            output smoothed, else `OraclePeak` if it is not false, else `FullBudget`.

        Raises:
            InputError: The output is unknown.
        """
        check_output(output)
        if self.oracle_stop == "both":
            return OracleBoth(self.patience)
        if self.oracle_stop == "decided" and output == "smoothed":
            return OracleDecided(self.patience)
        if self.oracle_stop:
            return OraclePeak(output, self.patience)
        return FullBudget(self.patience)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each scale, from fine to coarse."""
        first = self.first_width or self.width
        return tuple(min(first * 2**scale, self.width) for scale in range(self.scales))

    @property
    def multiple(self) -> int:
        """The number 2 ** scales, of which both sides of a picture must be a multiple."""
        return int(2**self.scales)
