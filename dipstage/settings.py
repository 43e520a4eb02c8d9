"""Settings of the trainer; importable without torch, so that experiments can be checked fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dipstage.errors import InputError
from dipstage.stopping import FullBudget, OraclePeak, Output, StoppingRule

SSIM_WINDOW = 11
"""Side of the window that SSIM is measured in, and so the least side of a picture."""


MAX_ITERATIONS = 1_000_000
"""Of a run; its curves are kept in memory."""
MAX_CHANNELS = 4096
"""Of a layer; the whole network grows with the square of its width."""


def _setting(default: Any, help: str, rule: str | None = None, most: int | None = None) -> Any:
    """A field; what it means and may be is kept beside it, for errors and for the reference."""
    return field(default=default, metadata={"help": help, "rule": rule, "most": most})


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """The network and how it is trained; the defaults are the DIP denoising recipe's."""

    iterations: int = _setting(2000, "The budget of a run.", "at least 1", MAX_ITERATIONS)
    width: int = _setting(
        128, "Channels of the skip network at every scale.", "at least 1", MAX_CHANNELS
    )
    scales: int = _setting(
        5,
        "Times that the skip network halves the picture; sides must be multiples of 2 to the "
        "power of it.",
        "from 1 to 8",
    )
    skip_channels: int = _setting(
        4, "Channels of the skip connection of each scale.", "not negative", MAX_CHANNELS
    )
    input_depth: int = _setting(
        32, "Channels of the network's fixed random input.", "at least 1", MAX_CHANNELS
    )
    learning_rate: float = _setting(0.01, "Adam's.", "in (0, 1]")
    input_noise_std: float = _setting(
        1 / 30,
        "Standard deviation of the noise that is added to the input in each iteration; 1/30 suits "
        "sigma 25.",
        "not negative",
    )
    ema: float = _setting(
        0.99, "Weight of the past in the smoothed output, a moving average.", "in [0, 1)"
    )
    patience: int = _setting(
        150,
        "Iterations without a rise of PSNR_GT after which the oracle stops a run; and the distance "
        "from the budget's end within which a maximum counts as censored.",
        "at least 1",
        MAX_ITERATIONS,
    )
    oracle_stop: bool = _setting(
        False,
        "End a run in its last stage once PSNR_GT has not risen for `patience` iterations. It "
        "looks at the ground truth to save time, and does not move a maximum that came before.",
    )
    warmup: int = _setting(
        0,
        "Iterations over which the learning rate rises evenly to learning_rate; 0 for none.",
        "not negative",
        MAX_ITERATIONS,
    )
    precision: Literal["auto", "fp32", "bf16"] = _setting(
        "auto",
        "What the network's body computes in; weights, their updates and the output are fp32 "
        "always. `auto` is bf16 in those scales where the processor gains by it.",
    )
    compile: Literal["auto", "on", "off"] = _setting(
        "auto", "Compile the network's body before the run. `auto` is off."
    )

    def __post_init__(self) -> None:
        """Refuse values outside their rule, naming the field."""
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                choices = " or ".join(get_args(kind))
                raise InputError(f"{name} must be {choices}, got {getattr(self, name)!r}")
        for each in fields(self):
            rule, value = each.metadata.get("rule"), getattr(self, each.name)
            most = each.metadata.get("most")
            if most is not None and value > most:
                raise InputError(f"{each.name} must be at most {most:,}, got {value:,}")
            if rule and not (math.isfinite(value) and _RULES[rule](value)):
                raise InputError(f"{each.name} must be {rule}, got {value}")

    def stopping(self, output: Output) -> StoppingRule:
        """The rule that `oracle_stop` and `patience` ask for, with an eye on this output."""
        if self.oracle_stop:
            return OraclePeak(output, self.patience)
        return FullBudget(self.patience)

    @property
    def multiple(self) -> int:
        """What both sides of a picture must be a multiple of."""
        return int(2**self.scales)


_RULES = {
    "at least 1": lambda v: v >= 1,
    "from 1 to 8": lambda v: 1 <= v <= 8,
    "not negative": lambda v: v >= 0,
    "in (0, 1]": lambda v: 0 < v <= 1,
    "in [0, 1)": lambda v: 0 <= v < 1,
}
