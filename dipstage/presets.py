"""The schedulers of the report, as drawn there, and plain DIP.

A preset is written `NAME` or `NAME:KEY=VALUE,…`, for example `sharp-linear:stages=50,x=10`.
`stages` counts targets, the observation included. The report's drawings of "10 stages" hold
nine, and that is the default here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol, TypeAlias

import numpy as np

from dipstage.errors import InputError
from dipstage.noise import NoiseLevels
from dipstage.renamed import former_names, warn_former_name
from dipstage.schedules import Schedule, Stage, from_staircase, refuse_short_budget


class Preset(Protocol):
    """A named recipe for a schedule of any budget."""

    def schedule(self, iterations: int) -> Schedule:
        """The schedule for a budget of `iterations`."""
        ...


@dataclass(frozen=True, slots=True)
class Baseline:
    """Plain DIP: the observation alone."""

    def schedule(self, iterations: int) -> Schedule:
        """See `Preset.schedule`."""
        refuse_short_budget(iterations, 0)
        return Schedule((Stage(1.0, iterations),))


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
    """Stage index round(linspace(1, stages, iterations)): equal stages, half at both ends."""

    def schedule(self, iterations: int) -> Schedule:
        """See `Preset.schedule`."""
        refuse_short_budget(iterations, 1)
        return from_staircase(np.rint(np.linspace(1, self.stages, iterations)), self.noise)


@dataclass(frozen=True, slots=True)
class SharpLinear(_Staged):
    """`x` iterations for each stage, what is left over for the last.

    As drawn: iteration 0 is stage 1 and iteration i > 0 is stage 2 + i // x, so stages 1 and 2
    share the first `x` iterations.
    """

    x: int = 10

    def __post_init__(self) -> None:
        """Refuse a step that is none."""
        _Staged.__post_init__(self)
        if self.x < 1:
            raise InputError(f"x must be at least 1 iteration, got {self.x}")

    def schedule(self, iterations: int) -> Schedule:
        """See `Preset.schedule`."""
        refuse_short_budget(iterations, max(self.x * (self.stages - 2), 1))
        indices = 2 + np.arange(iterations) // self.x
        indices[0] = 1
        return from_staircase(np.minimum(indices, self.stages), self.noise)


@dataclass(frozen=True, slots=True)
class Log10(_Staged):
    """Stage index round(log10(linspace(10, 10 ** stages, iterations)))."""

    def schedule(self, iterations: int) -> Schedule:
        """See `Preset.schedule`."""
        refuse_short_budget(iterations, 1)
        values = np.linspace(10.0, 10.0**self.stages, iterations)
        return from_staircase(np.rint(np.log10(values)), self.noise)


AnyPreset: TypeAlias = Baseline | Uniform | SharpLinear | Log10

PRESETS: dict[str, type[AnyPreset]] = {
    "baseline": Baseline,
    "uniform": Uniform,
    "sharp-linear": SharpLinear,
    "log10": Log10,
}


def is_preset(text: str) -> bool:
    """Whether a text names a preset, with or without parameters, rather than a schedule file."""
    return text.partition(":")[0] in PRESETS


_CASTS: dict[str, type] = {"int": int, "float": float, "str": str}


def parse_preset(text: str) -> AnyPreset:
    """Read `NAME` or `NAME:KEY=VALUE,…`; refuses unknown names, keys and values."""
    name, _, options = text.partition(":")
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    kind = PRESETS[name]
    casts = {field.name: _CASTS[str(field.type)] for field in fields(kind)}
    renamed = former_names(kind)
    arguments: dict[str, object] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key in renamed:
            warn_former_name(f"the parameter {key} of preset {name}", renamed[key])
            key = renamed[key]
        if key not in casts:
            known = ", ".join(casts) or "none"
            raise InputError(f"preset {name} has no parameter {key!r}: it has {known}")
        try:
            arguments[key] = casts[key](value)
        except ValueError:
            raise InputError(f"preset {text!r}: {key} is no number: {value!r}") from None
    try:
        return kind(**arguments)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"preset {text!r}: {error}") from None
