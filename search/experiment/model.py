"""Experiment files as a validated model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from dipstage.documents.plain_yaml import forbidden_in, yaml_text
from dipstage.documents.records import from_plain
from dipstage.examples import settings_of
from dipstage.noise import MAX_SIGMA_255
from dipstage.recipe import Draw, TargetKind
from dipstage.schedules import MAX_STAGES
from dipstage.settings import TrainerSettings
from dipstage.tasks.denoise import Denoise
from search.experiment.names import RUN_NAME
from search.experiment.objectives import Objective
from search.experiment.task import AnyTask

MAX_ENTRIES = 1000
"""Maximum number of pictures, and of candidates."""
MAX_SEEDS = 10_000
MAX_SIDE = 10_000
"""Maximum side length of a picture, in pixels."""
MAX_TRIALS = 1_000_000
MAX_HOURS = 100_000
MAX_SAMPLER_SEED = 2**31 - 1
"""Samplers take a 32-bit seed, and a resumed run adds its number of trials to this one."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _trainer(value: Any) -> TrainerSettings:
    return value if isinstance(value, TrainerSettings) else settings_of(value)


def _objective(value: Any) -> Objective:
    return value if isinstance(value, Objective) else from_plain(Objective, value, {})


# Schedule files read settings the same way, so both refuse the same values.
Trainer = Annotated[TrainerSettings, BeforeValidator(_trainer)]
Objectives = Annotated[Objective, BeforeValidator(_objective)]


class _Model(BaseModel):
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
            raise ValueError(f"must be above {self.above:g}, got low {bounds.low}")
        if self.least is not None and bounds.low < self.least:
            raise ValueError(f"must be at least {self.least:g}, got low {bounds.low}")
        if self.most is not None and bounds.high > self.most:
            raise ValueError(f"must be at most {self.most:g}, got high {bounds.high}")
        return bounds

    @property
    def words(self) -> str:
        """The limits in words."""
        rules = {"above": self.above, "at least": self.least, "at most": self.most}
        return ", ".join(f"{rule} {value:g}" for rule, value in rules.items() if value is not None)


class _Bounds(_Model):
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


class TotalNoiseSpace(_Model):
    """Total noise of the targets relative to their signal: the observation's own noise and the
    added noise together, as a standard deviation on the scale from 0 to 255.
    """

    max_sigma_255: Annotated[FloatRange, AfterValidator(Within(above=0, most=MAX_SIGMA_255))]
    """Total noise of the first stage."""
    min_sigma_255: Annotated[FloatRange, AfterValidator(Within(above=0, most=MAX_SIGMA_255))]
    """Total noise of the last noised stage. The range must begin above the task's own noise and end
    below that of `max_sigma_255`."""
    rho: Annotated[FloatRange, AfterValidator(Within(above=0))] = FloatRange(low=1.0, high=1.0)
    """Spacing of the levels between both: 1 spaces them evenly, more puts more stages at low noise
    (arXiv 2206.00364, equation 5)."""


class NoiseSpace(_Model):
    """Noise levels of the stages: either `beta` and `max_level`, evenly spaced in t/T from the
    maximum level in the first stage down to 0, the observation, in the last; or `total`.
    """

    beta: Annotated[list[Literal["linear", "cosine", "sigmoid"]], Field(min_length=1)] | None = None
    """Beta schedules of the forward process to choose from."""
    max_level: Annotated[
        FloatRange | None,
        AfterValidator(Within(above=0, most=1)),
        Field(validation_alias=AliasChoices("max_level", "heaviest")),
    ] = None
    """Maximum noise level, as t/T of DDPM's forward process."""
    total: TotalNoiseSpace | None = None
    """Levels by the total noise of a target."""

    @model_validator(mode="after")
    def _check_kind(self) -> NoiseSpace:
        given = {"beta": self.beta, "max_level": self.max_level}
        missing = [name for name, value in given.items() if value is None]
        if self.total is not None and len(missing) < 2:
            raise ValueError("give either total, or beta and max_level")
        if self.total is None and missing:
            raise ValueError(f"{missing[0]} is missing, unless total is given")
        return self


class Space(_Model):
    """The search space: the parameters of the family that generates schedules."""

    stages: Annotated[IntRange, AfterValidator(Within(least=1, most=MAX_STAGES))]
    """Number of stages, including the last one, whose target is the observation. 1 is plain DIP."""
    ramp: Annotated[IntRange, AfterValidator(Within(least=1))]
    """Number of iterations before the last stage. It must be less than `trainer.iterations`."""
    split: Annotated[list[Literal["power", "log", "free"]], Field(min_length=1)]
    """Rules to choose from for dividing the ramp among the n noised stages. `power`: stage k ends
    at ramp · (k / n)^exponent. `log`: each stage is ten times as long as the one before. `free`: a
    sampled weight for each stage."""
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
    """Exponents of a power-function average to search, in place of `ema`. Its window grows with the
    iterations (arXiv 2312.02696, section 3.1)."""
    targets: Annotated[list[TargetKind], Field(min_length=1)] = ["ddpm"]
    """Kinds of target to choose from. `ddpm` adds noise and reduces contrast, as DDPM's forward
    process does; `variance-exploding` only adds noise; `contrast` only reduces contrast."""
    draws: Annotated[list[Draw], Field(min_length=1)] = ["fixed"]
    """How the noise of a target is drawn, to choose from: once for the whole stage (`fixed`), or
    anew in each iteration (`fresh`)."""

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


class Until(_Model):
    """Rules that end a search before `search.trials`."""

    no_gain: Annotated[int, Field(ge=1, le=MAX_TRIALS)]
    """End the search once so many sampled trials have ended in a row without a schedule that is
    better than plain DIP in both objectives and that no earlier one dominates, which is without
    any growth of the hypervolume above plain DIP. Without plain DIP among the candidates, the
    observation's own PSNR and the budget stand for it."""


class Search(_Model):
    """Number of sampled schedules, what ends the search, and the sampler that proposes them."""

    trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = 24
    """Number of schedules to sample, not counting the candidates. With 0, only the candidates are
    compared."""
    hours: Annotated[Finite, Field(gt=0, le=MAX_HOURS)] | None = None
    """Hours by the clock after which no further trial begins; those under way are finished. The
    time that drivers of the run were active is counted, the time between them is not."""
    until: Until | None = None
    sampler: Literal["tpe", "gp", "nsga2", "qmc", "random"] = "tpe"
    """The Optuna sampler that proposes schedules. `tpe` needs some 10 ms for a schedule, `gp` (a
    Gaussian process) seconds; `qmc` covers the space evenly and, like `random`, learns nothing.
    `gp` and `qmc` draw parameters that only some schedules have at random."""
    learn_from: Annotated[list[str], Field(max_length=MAX_ENTRIES)] = []
    """Runs whose trials the sampler learns from, `tpe` or `gp`: names of runs in the same folder,
    or paths of run folders. They must have the same task and objective and search the same
    parameters; trials outside the present ranges are left out. Their scores are taken relative to
    plain DIP, which must be a candidate of each run. Their pictures and seeds count as seen."""
    seed: Annotated[int, Field(ge=0, le=MAX_SAMPLER_SEED)] = 0
    """Seed of the sampler. Searches that differ only in this seed are repetitions of each other."""
    max_failed_share: Annotated[Finite, Field(gt=0, le=1)] = 0.5
    """Maximum fraction of failed trials among the last ten that ended. The search ends when more
    have failed."""

    @model_validator(mode="after")
    def _check_learning(self) -> Search:
        if self.learn_from and (self.sampler not in ("tpe", "gp") or not self.trials):
            raise ValueError(
                "learn_from needs the sampler tpe or gp, and trials above 0: got "
                f"{self.sampler} and {self.trials}"
            )
        return self


class Racing(_Model):
    """Early stopping of trials that are unlikely to reach the front, before all their replicates
    are trained: see [racing](method.md#racing).
    """

    enabled: bool = True
    """Stop such trials. With `false`, every trial trains all its replicates."""
    confidence: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """Required confidence that a trial cannot reach the front, jointly over all checks of that
    trial."""
    min_replicates: Annotated[int, Field(ge=1)] = 2
    """Number of replicates that every trial trains before it can be stopped. Nothing is stopped if
    this is at least the number of replicates of a trial."""


class Resources(_Model):
    """Hardware that one trial uses, and the number of trials that run at a time."""

    concurrent: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of trials that run at a time. `auto` fills the machine, or the cluster as it is when
    the search begins."""
    cpus_per_trial: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of CPU cores that a trial reserves, and of threads that it computes with. `auto` is 1,
    because trials that run side by side make better use of the cores. If `size` is above 128
    or `null`, and fewer trials run at a time than there are cores, `auto` divides the cores among
    the trials. A run keeps its first value when it is resumed."""
    gpus_per_trial: Literal["auto"] | Annotated[Finite, Field(ge=0, le=10_000)] = "auto"
    """Number of GPUs that a trial reserves: a fraction of one, or a whole number. `auto` runs a
    short probe before the search and takes the fraction with the highest throughput; it is 0 if
    there is no GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that a trial trains on. `auto` is the GPU that the trial reserves, or else the CPU."""
    together: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of a trial's replicates that its worker trains side by side, with the same results.
    A GPU gains by it, a CPU does not. `auto` is 16 on a GPU in runs without racing, and otherwise
    1, so that racing can end a trial between two replicates."""
    heartbeat_timeout: Literal["auto"] | Annotated[Finite, Field(ge=5, le=1e6)] = "auto"
    """Seconds without a finished block of ten iterations after which a worker is ended, and counts
    as dead. `auto` is 20 times the slowest block, at least 60, and 1800 for the first two blocks of
    a replicate, which include compilation. A number holds for all blocks."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Resources:
        gpus = self.gpus_per_trial
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_trial must be whole above 1, got {gpus}")
        return self


class Logging(_Model):
    """Experiment trackers that a search reports to, in addition to its study.

    No address may contain a password or a token; those come from the environment.
    """

    tensorboard: bool = False
    """Write TensorBoard event files to the folder `tensorboard` of the run."""
    mlflow: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """Where MLflow logs to: the address of a tracking server, a database such as
    `sqlite:////path/mlflow.db`, or a folder relative to that of the experiment file."""
    wandb: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name of a Weights & Biases project to log to."""

    @model_validator(mode="after")
    def _check_secrets(self) -> Logging:
        if self.mlflow is not None and holds_secret(self.mlflow):
            raise ValueError(
                "mlflow contains a password or a token, which files and process lists would show: "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN, in the environment instead"
            )
        for key, value in (("mlflow", self.mlflow), ("wandb", self.wandb)):
            if value is not None and (found := forbidden_in(value)) is not None:
                raise ValueError(f"{key} contains {found}: {value!r}")
        return self

    @property
    def wanted(self) -> bool:
        """Whether any tracker is enabled."""
        return bool(self.tensorboard or self.mlflow or self.wandb)


def holds_secret(address: str) -> bool:
    """Return whether an address may contain a password or a token; true if it cannot be parsed."""
    try:
        parts = urlsplit(address)
        if parts.password is not None:
            return True
        if parts.scheme in ("http", "https") and parts.username is not None:
            return True  # Some servers accept a token as the user name.
    except ValueError:
        return True
    if "://" in address and "@" in parts.netloc and ":" in parts.netloc.rpartition("@")[0]:
        return True
    words = ("password", "passwd", "pwd", "token", "secret", "key", "auth", "sig")
    return any(word in key.lower() for key, _ in parse_qsl(parts.query) for word in words)


class Experiment(_Model):
    """An experiment: a search, or a comparison of the candidates if `search.trials` is 0."""

    name: Annotated[str, Field(pattern=RUN_NAME)]
    """Name of the run and of its folder."""
    images: Annotated[list[str], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Ground-truth pictures: `skimage:NAME`, file names or glob patterns. File names are relative
    to the folder of the experiment file; `~` and `$VARIABLE` are expanded. `#page=N` behind a name
    takes one page or frame, and `#bits=N` states how many bits the values have: see
    [pictures](files.md#pictures)."""
    task: AnyTask = Denoise()
    """An [installed package](tasks.md#your-own-task) can add kinds."""
    size: Annotated[int, Field(ge=1, le=MAX_SIDE)] | None = None
    """Side length in pixels to which each picture is resized after a square centre crop. `null`
    keeps the size of a picture, except that its sides are cropped to multiples of 2 to the power of
    `trainer.scales`."""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MAX_SEEDS)
    ] = [0]
    """Random seeds. A trial trains its schedule once for each picture and seed; such a training run
    is called a replicate."""
    trainer: Trainer = TrainerSettings()
    objective: Objectives = Objective()
    space: Space | None = None
    """Required unless `search.trials` is 0."""
    candidates: Annotated[list[str], Field(max_length=MAX_ENTRIES)] = []
    """Schedules that are evaluated before any is sampled: presets such as
    `sharp-linear:stages=50,x=10`, the published schedules `fast` and `best`, and schedule files.
    File names are relative to the folder of the experiment file."""
    search: Search = Search()
    racing: Racing = Racing()
    resources: Resources = Resources()
    logging: Logging = Logging()

    @model_validator(mode="after")
    def _check_consistency(self) -> Experiment:
        if self.search.trials and self.space is None:
            raise ValueError("space is missing: give a search space, or set search.trials to 0")
        if not self.search.trials and not self.candidates:
            raise ValueError("nothing to run: search.trials is 0 and there are no candidates")
        if self.space is not None and self.space.ramp.high >= self.trainer.iterations:
            raise ValueError(
                f"space.ramp.high must be less than trainer.iterations, {self.trainer.iterations}, "
                f"got {self.space.ramp.high}"
            )
        total = self.space.noise.total if self.space else None
        if total is not None:
            sigma, low, high = self.task.noise_255, total.min_sigma_255, total.max_sigma_255
            if low.low <= sigma or low.high >= high.low:
                raise ValueError(
                    "space.noise.total must rise from the task's noise over min_sigma_255 to "
                    f"max_sigma_255, got {sigma:g}, {low.low:g} to {low.high:g}, "
                    f"{high.low:g} to {high.high:g}"
                )
        for key in ("images", "seeds", "candidates", "search.learn_from"):
            values = attrgetter(key)(self)
            if len(set(values)) < len(values):
                twice = next(value for value, n in Counter(values).items() if n > 1)
                raise ValueError(f"{key} holds an entry twice: {twice!r}")
        for key in ("images", "candidates", "search.learn_from"):
            for value in attrgetter(key)(self):
                if (found := forbidden_in(value)) is not None:
                    raise ValueError(f"{key} has {found} in {value!r}: rename the file or folder")
        return self

    def __repr__(self) -> str:
        """Return one line; `yaml` has all keys."""
        trials, candidates = self.search.trials, len(self.candidates)
        return f"<Experiment {self.name!r}: {trials} trials and {candidates} candidates>"

    def yaml(self) -> str:
        """Return the text of a file that `load_experiment` reads back as an equal experiment."""
        return yaml_text(self.model_dump(mode="json"))
