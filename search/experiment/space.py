"""The search space: suggest(trial) and decode(params) are inverses by construction.

Both visit the parameters in the same order: `suggest` asks an Optuna trial for each value, and
`decode` looks it up among the recorded ones. A parameter with a single possible value is skipped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dipstage.errors import InputError
from dipstage.schedules.noise import AnyNoiseLevels, NoiseLevels, TotalNoiseLevels
from dipstage.schedules.recipe import NETWORK_AND_WARMUP, TRAINERS, Recipe
from dipstage.schedules.schedule import Family
from dipstage.schedules.splits import AnySplit, FreeSplit, LogSplit, PowerSplit
from search.experiment.searched import FloatRange, IntRange, NoiseSpace, Space

if TYPE_CHECKING:
    from optuna.trial import Trial

FORMER = {"max_level": "heaviest"}
"""Former names of parameters. A study that began with a former name keeps using it, so that its
sampler learns from all of its trials."""
_WEIGHT = FloatRange(low=0.01, high=1.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the search space. The recipe leaves open what is not searched."""

    family: Family
    recipe: Recipe = TRAINERS


class _Asked(ABC):
    """Values of parameters. A single possible value is neither asked for nor recorded."""

    @abstractmethod
    def value(self, name: str, domain: IntRange | FloatRange | list[Any]) -> Any: ...

    def integer(self, name: str, bounds: IntRange) -> int:
        return bounds.low if bounds.low == bounds.high else int(self.value(name, bounds))

    def real(self, name: str, bounds: FloatRange) -> float:
        return bounds.low if bounds.low == bounds.high else float(self.value(name, bounds))

    def choice(self, name: str, options: list[Any]) -> str:
        return str(options[0] if len(options) == 1 else self.value(name, options))


def suggest(trial: Trial, space: Space, sigma_255: float) -> Point:
    """Ask an Optuna trial for a point; inactive parameters are not suggested.

    Args:
        trial: Optuna's trial.
        space: The search space.
        sigma_255: Noise of the observation, from which `noise.total` is counted.
    """
    known = {name for each in trial.study.get_trials(deepcopy=False) for name in each.params}
    return _walk(_Suggestions(trial, frozenset(known)), space, sigma_255)


def decode(params: dict[str, Any], space: Space, sigma_255: float) -> Point:
    """Return the point that a trial's parameters describe.

    The arguments are those of `suggest`, with the parameters by name in place of the trial.

    Raises:
        InputError: A parameter is missing, or is inactive at that point.
    """
    lookup = _Lookup(dict(params))
    point = _walk(lookup, space, sigma_255)
    if lookup.left:
        raise InputError(f"inactive parameters: {', '.join(sorted(lookup.left))}")
    return point


def _walk(asked: _Asked, space: Space, sigma_255: float) -> Point:
    searched: dict[str, Any] = {
        name: asked.real(name, bounds)
        for name in ("learning_rate", "input_noise_std", "ema", "ema_gamma")
        if (bounds := getattr(space, name)) is not None
    }
    searched |= {
        name: asked.integer(name, bounds)
        for name in NETWORK_AND_WARMUP
        if (bounds := getattr(space, name)) is not None
    }
    recipe = Recipe(**searched)
    stages = asked.integer("stages", space.stages)
    if stages == 1:
        return Point(Family(stages=1), recipe)
    ramp = asked.integer("ramp", space.ramp)
    noise = _walk_noise(asked, space.noise, sigma_255, stages - 1)
    split = _walk_split(asked, space, stages - 1)
    if space.ramp_learning_rate is not None:
        rate = asked.real("ramp_learning_rate", space.ramp_learning_rate)
        recipe = replace(recipe, ramp_learning_rate=rate)
    target = asked.choice("target", [*space.targets])
    draw = "fixed" if target == "contrast" else asked.choice("draw", [*space.draws])
    recipe = replace(recipe, target=target, draw=draw)  # type: ignore[arg-type]
    return Point(Family(stages, split, ramp, noise), recipe)


def _walk_noise(asked: _Asked, space: NoiseSpace, sigma_255: float, noised: int) -> AnyNoiseLevels:
    total = space.total
    if total is None:
        assert space.beta is not None
        assert space.max_level is not None
        return NoiseLevels(
            asked.choice("beta", [*space.beta]), asked.real("max_level", space.max_level)
        )
    highest = asked.real("max_sigma_255", total.max_sigma_255)
    if noised == 1:  # It has the highest level, whatever the others are.
        return TotalNoiseLevels(sigma_255, highest, total.min_sigma_255.low)
    lowest, rho = asked.real("min_sigma_255", total.min_sigma_255), asked.real("rho", total.rho)
    return TotalNoiseLevels(sigma_255, highest, lowest, rho)


def _walk_split(asked: _Asked, space: Space, noised: int) -> AnySplit:
    # A single noised stage takes the whole ramp, whatever the split.
    if noised == 1:
        return PowerSplit()
    kind = asked.choice("split", [*space.split])
    if kind == "power":
        assert space.exponent is not None
        return PowerSplit(asked.real("exponent", space.exponent))
    if kind == "log":
        return LogSplit()
    return FreeSplit(tuple(asked.real(f"weight_{k}", _WEIGHT) for k in range(noised)))


@dataclass(frozen=True, slots=True)
class _Suggestions(_Asked):
    trial: Trial
    known: frozenset[str]

    def value(self, name: str, domain: IntRange | FloatRange | list[Any]) -> Any:
        if isinstance(domain, list):
            return self.trial.suggest_categorical(name, domain)
        if isinstance(domain, IntRange):
            return self.trial.suggest_int(name, domain.low, domain.high, log=domain.log)
        former = FORMER.get(name)
        name = former if former is not None and former in self.known else name
        return self.trial.suggest_float(name, domain.low, domain.high, log=domain.log)


@dataclass(frozen=True, slots=True)
class _Lookup(_Asked):
    left: dict[str, Any]

    def value(self, name: str, domain: IntRange | FloatRange | list[Any]) -> Any:
        for known in (name, FORMER.get(name)):
            if known in self.left:
                return self.left.pop(known)
        raise InputError(f"parameter {name} is missing")
