"""The keys of the group `space` of an experiment file, and the ranges in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, model_validator

from dipstage.schedules.noise import MAX_RHO, MAX_SIGMA_255, MIN_RHO
from dipstage.schedules.recipe import Draw, TargetKind
from dipstage.schedules.schedule import MAX_STAGES
from dipstage.schedules.settings import MAX_CHANNELS
from dipstage.schedules.stopping import MAX_ITERATIONS

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Group(BaseModel):
    """A group of keys. The text below a key is its description in docs/experiment-file.md."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class Within:
    """Limits that both ends of a range must respect."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def __call__(self, bounds: Any) -> Any:
        """Return the range, or raise ValueError naming the end that is outside the limits."""
        if bounds is None:
            return None
        if self.above is not None and bounds.low <= self.above:
            raise ValueError(f"must be above {self.above:,.10g}, got low {bounds.low}")
        if self.least is not None and bounds.low < self.least:
            raise ValueError(f"must be at least {self.least:,.10g}, got low {bounds.low}")
        if self.most is not None and bounds.high > self.most:
            raise ValueError(f"must be at most {self.most:,.10g}, got high {bounds.high}")
        return bounds

    @property
    def words(self) -> str:
        """The limits in words."""
        rules = {"above": self.above, "at least": self.least, "at most": self.most}
        return ", ".join(
            f"{rule} {value:,.10g}" for rule, value in rules.items() if value is not None
        )


class _Bounds(Group):
    """A range that includes both of its ends."""

    log: bool = False
    """Sample uniformly in the logarithm. `low` must then be above 0."""

    @model_validator(mode="after")
    def _check_order(self) -> _Bounds:
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if low > high:
            raise ValueError(f"low must be at most high, got low {low} > high {high}")
        if self.log and low <= 0:
            raise ValueError(f"a log range must begin above 0, got low {low}")
        return self


class IntRange(_Bounds):
    """A range of whole numbers."""

    low: int
    """Lower end, included."""
    high: int
    """Upper end, included."""


class FloatRange(_Bounds):
    """A range of numbers."""

    low: Finite
    """Lower end, included."""
    high: Finite
    """Upper end, included."""


class TotalNoiseSpace(Group):
    """Total noise of the targets relative to their signal: the observation's own noise and the
    added noise together, as a standard deviation on the scale from 0 to 255.
    """

    max_sigma_255: Annotated[FloatRange, AfterValidator(Within(above=0, most=MAX_SIGMA_255))]
    """Total noise of the first stage."""
    min_sigma_255: Annotated[FloatRange, AfterValidator(Within(above=0, most=MAX_SIGMA_255))]
    """Total noise of the last noised stage. The range must begin above the task's own noise and end
    below that of `max_sigma_255`."""
    rho: Annotated[FloatRange, AfterValidator(Within(least=MIN_RHO, most=MAX_RHO))] = FloatRange(
        low=1.0, high=1.0
    )
    """Spacing of the levels between the two: 1 spaces them evenly; with larger values, more stages
    have little noise (arXiv 2206.00364, equation 5)."""


class NoiseSpace(Group):
    """Noise levels of the stages. With `beta` and `max_level`, they are evenly spaced in t/T, from
    the maximum level in the first stage down to 0, the observation, in the last. `total` is the
    alternative.
    """

    beta: Annotated[list[Literal["linear", "cosine", "sigmoid"]], Field(min_length=1)] | None = None
    """Beta schedules to choose from: they give alpha_bar over t/T."""
    max_level: Annotated[
        FloatRange | None,
        AfterValidator(Within(above=0, most=1)),
        Field(validation_alias=AliasChoices("max_level", "heaviest")),
    ] = None
    """Maximum noise level, given as t/T, the relative time in DDPM's forward process."""
    total: TotalNoiseSpace | None = None
    """Given instead of `beta` and `max_level`."""

    @model_validator(mode="after")
    def _check_kind(self) -> NoiseSpace:
        given = {"beta": self.beta, "max_level": self.max_level}
        missing = [name for name, value in given.items() if value is None]
        if self.total is not None and len(missing) < 2:
            raise ValueError("give either total, or beta and max_level")
        if self.total is None and missing:
            raise ValueError(f"{missing[0]} is missing, unless total is given")
        return self


class Space(Group):
    """The search space: the parameters of the family that generates schedules, and settings of the
    trainer that are searched together with them. Presets keep the experiment's settings, and so do
    schedule files for what their recipe leaves open.
    """

    stages: Annotated[IntRange, AfterValidator(Within(least=1, most=MAX_STAGES))]
    """Number of stages, including the last one, whose target is the observation. 1 is plain DIP."""
    ramp: Annotated[IntRange, AfterValidator(Within(least=1))]
    """Number of iterations before the last stage. It must be less than `trainer.iterations`."""
    split: Annotated[list[Literal["power", "log", "free"]], Field(min_length=1)]
    """Rules to choose from, by which the ramp is divided among the n noised stages. `power`: stage
    k ends at ramp · (k / n)^exponent. `log`: each stage is ten times as long as the one before it.
    `free`: each stage has a weight, which is sampled."""
    noise: NoiseSpace
    exponent: Annotated[FloatRange | None, AfterValidator(Within(above=0))] = None
    """Exponent of the power split. It is required if `split` contains `power`, and must be left out
    otherwise. Above 1, the noisiest stages are the shortest."""
    learning_rate: Annotated[FloatRange | None, AfterValidator(Within(above=0, most=1))] = None
    """Learning rates to search. With `null`, every sampled trial uses `trainer.learning_rate`."""
    ramp_learning_rate: Annotated[FloatRange | None, AfterValidator(Within(above=0, most=1))] = None
    """Learning rates to search for all stages but the last. With `null`, they use the learning rate
    of the last stage."""
    input_noise_std: Annotated[FloatRange | None, AfterValidator(Within(least=0))] = None
    """Values of `trainer.input_noise_std` to search."""
    ema: Annotated[FloatRange | None, AfterValidator(Within(least=0, most=0.9999))] = None
    """Values of `trainer.ema` to search."""
    ema_gamma: Annotated[FloatRange | None, AfterValidator(Within(least=0))] = None
    """Exponents to search for a power-function average, which is used instead of `ema`. Its window
    grows with the iterations (arXiv 2312.02696, section 3.1)."""
    width: Annotated[IntRange | None, AfterValidator(Within(least=1, most=MAX_CHANNELS))] = None
    """Values of `trainer.width` to search."""
    first_width: Annotated[IntRange | None, AfterValidator(Within(least=0, most=MAX_CHANNELS))] = (
        None
    )
    """Values of `trainer.first_width` to search."""
    scales: Annotated[IntRange | None, AfterValidator(Within(least=1, most=8))] = None
    """Values of `trainer.scales` to search. Sides of pictures must be multiples of 2 to the power
    of the highest value."""
    skip_channels: Annotated[
        IntRange | None, AfterValidator(Within(least=0, most=MAX_CHANNELS))
    ] = None
    """Values of `trainer.skip_channels` to search."""
    input_depth: Annotated[IntRange | None, AfterValidator(Within(least=1, most=MAX_CHANNELS))] = (
        None
    )
    """Values of `trainer.input_depth` to search."""
    warmup: Annotated[IntRange | None, AfterValidator(Within(least=0, most=MAX_ITERATIONS))] = None
    """Values of `trainer.warmup` to search."""
    targets: Annotated[list[TargetKind], Field(min_length=1)] = ["ddpm"]
    """Kinds of target to choose from. `ddpm` adds noise and reduces contrast, as DDPM's forward
    process does; `variance-exploding` only adds noise; `contrast` only reduces contrast."""
    draws: Annotated[list[Draw], Field(min_length=1)] = ["fixed"]
    """Draws of a target's noise to choose from: `fixed`, once for the whole stage, or `fresh`, anew
    in each iteration."""

    @model_validator(mode="after")
    def _check_choices(self) -> Space:
        if self.ema is not None and self.ema_gamma is not None:
            raise ValueError("ema and ema_gamma are two kinds of average: give one of them")
        if "variance-exploding" in self.targets and self.noise.total is None:
            raise ValueError("variance-exploding targets need noise.total, whose noise is finite")
        if ("power" in self.split) != (self.exponent is not None):
            raise ValueError("exponent belongs to the power split: give both or neither")
        for key, names in (
            ("split", self.split),
            ("noise.beta", self.noise.beta or []),
            ("targets", self.targets),
            ("draws", self.draws),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names a choice twice: {', '.join(names)}")
        return self
