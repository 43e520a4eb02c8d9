"""Presets: plain DIP, and the schedulers of the report as its figures draw them.

A preset is written `NAME` or `NAME:KEY=VALUE,…`, for example `sharp-linear:stages=50,x=10`.
`stages` counts targets, the observation included. The report's figures of "10 stages" show nine,
which is the default here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from dipstage.arguments import check_text
from dipstage.errors import InputError
from dipstage.renamed import former_names, warn_former_name
from dipstage.schedules.noise import NoiseLevels
from dipstage.schedules.schedule import Schedule, from_staircase, refuse_short_budget
from dipstage.schedules.stopping import MAX_ITERATIONS


@dataclass(frozen=True, slots=True)
class Baseline:
    """Plain DIP: the observation alone."""

    def schedule(self, iterations: int) -> Schedule:
        """Return the schedule for a budget.

        Args:
            iterations: The budget.

        Raises:
            InputError: The budget is too small for the preset, or above 1,000,000.
        """
        refuse_short_budget(iterations, 0)
        return Schedule.plain(iterations)


@dataclass(frozen=True, slots=True)
class _Staged:
    stages: int = 9
    beta: str = "linear"
    max_level: float = field(default=1.0, metadata={"formerly": "heaviest"})

    def __post_init__(self) -> None:
        if not 2 <= self.stages <= 300:
            raise InputError(f"stages must be from 2 to 300, got {self.stages}")
        NoiseLevels(self.beta, self.max_level)

    @property
    def noise(self) -> NoiseLevels:
        """Levels of the noised stages."""
        return NoiseLevels(self.beta, self.max_level)


@dataclass(frozen=True, slots=True)
class Uniform(_Staged):
    """Stage index round(linspace(1, stages, iterations)): equal stages, the first and last half."""

    def schedule(self, iterations: int) -> Schedule:
        """See `Baseline.schedule`."""
        refuse_short_budget(iterations, 1)
        return from_staircase(np.rint(np.linspace(1, self.stages, iterations)), self.noise)


@dataclass(frozen=True, slots=True)
class SharpLinear(_Staged):
    """`x` iterations for each stage; the last stage gets the rest.

    As in the report's figure, iteration 0 is stage 1 and iteration i > 0 is stage 2 + i // x, so
    stages 1 and 2 share the first `x` iterations.
    """

    x: int = 10

    def __post_init__(self) -> None:
        _Staged.__post_init__(self)
        if self.x < 1:
            raise InputError(f"x must be at least 1 iteration, got {self.x}")
        if self.x > MAX_ITERATIONS:
            raise InputError(f"x must be at most {MAX_ITERATIONS:,} iterations, got {self.x}")

    def schedule(self, iterations: int) -> Schedule:
        """See `Baseline.schedule`."""
        refuse_short_budget(iterations, max(self.x * (self.stages - 2), 1))
        indices = 2 + np.arange(iterations) // self.x
        indices[0] = 1
        return from_staircase(np.minimum(indices, self.stages), self.noise)


@dataclass(frozen=True, slots=True)
class Log10(_Staged):
    """Stage index round(log10(linspace(10, 10 ** stages, iterations)))."""

    def schedule(self, iterations: int) -> Schedule:
        """See `Baseline.schedule`."""
        refuse_short_budget(iterations, 1)
        values = np.linspace(10.0, 10.0**self.stages, iterations)
        return from_staircase(np.rint(np.log10(values)), self.noise)


MEASURED_ON: dict[str, Any] = {"kind": "denoise", "sigma_255": 25.0, "clip": True}
"""The task on which the report measured the staged presets, as in experiment files."""

AnyPreset: TypeAlias = Baseline | Uniform | SharpLinear | Log10

PRESETS: dict[str, type[AnyPreset]] = {
    "baseline": Baseline,
    "uniform": Uniform,
    "sharp-linear": SharpLinear,
    "log10": Log10,
}


def measured_on(text: str) -> dict[str, Any] | None:
    """Return the task on which a preset was measured; None for plain DIP, which is for any task.

    Args:
        text: A preset, with or without parameters.
    """
    return None if PRESETS[text.partition(":")[0]] is Baseline else MEASURED_ON


def is_preset(text: str) -> bool:
    """Return whether a text names a preset, with or without parameters, and not a schedule file."""
    return text.partition(":")[0] in PRESETS


_CASTS: dict[str, type] = {"int": int, "float": float, "str": str}


def parse_preset(text: str) -> AnyPreset:
    """Read a preset.

    Args:
        text: `NAME` or `NAME:KEY=VALUE,…`, such as `log10` or `sharp-linear:stages=50,x=10`.

    Returns:
        The preset; its method `schedule(iterations)` makes the schedule for a budget.

    Raises:
        InputError: A name, key or value is unknown or out of range.
    """
    check_text("a preset", text)
    name, colon, options = text.partition(":")
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    kind = PRESETS[name]
    casts = {field.name: _CASTS[str(field.type)] for field in fields(kind)}
    renamed = former_names(kind)
    arguments: dict[str, object] = {}
    for option in options.split(",") if colon else []:
        key, _, value = option.partition("=")
        if not (key.strip() and value.strip()):
            raise InputError(f"preset {text!r}: {option!r} must be KEY=VALUE")
        if key in renamed:
            warn_former_name(f"the parameter {key} of preset {name}", renamed[key])
            key = renamed[key]
        if key not in casts:
            known = ", ".join(casts) or "none"
            raise InputError(f"preset {name} has no parameter {key!r}: it has {known}")
        if key in arguments:
            raise InputError(f"preset {text!r} gives {key} twice: keep one")
        try:
            if casts[key] is not str and not re.fullmatch(r"[-+.\deE]+", value, re.ASCII):
                raise ValueError(value)  # Python also reads 1_000, nan and digits of all scripts.
            arguments[key] = casts[key](value)
        except ValueError:
            rule = "a whole number" if casts[key] is int else "a number"
            raise InputError(f"preset {text!r}: {key} must be {rule}, got {value!r}") from None
    try:
        return kind(**arguments)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"preset {text!r}: {error}") from None


def shorter(text: str, iterations: int) -> str | None:
    """Return a preset with a ramp of at most half the budget; None if no parameter sets its ramp.

    Args:
        text: A preset that can be parsed, such as `sharp-linear` or `sharp-linear:stages=50`.
        iterations: The budget.
    """
    preset = parse_preset(text)
    if (
        not isinstance(preset, SharpLinear)
        or (x := iterations // 2 // (preset.stages - 2 or 1)) < 1
    ):
        return None
    name, _, options = text.partition(":")
    kept = [each for each in options.split(",") if each and not each.startswith("x=")]
    return f"{name}:{','.join([*kept, f'x={x}'])}"
