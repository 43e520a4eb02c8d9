"""experiments/*.yaml as a validated model: what a search runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dipstage.documents.plain_yaml import forbidden_in, parse_yaml, read_yaml, yaml_text
from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.presets import is_preset
from dipstage.renamed import warn_former_name
from dipstage.schedules import MAX_STAGES
from dipstage.settings import TrainerSettings
from search.experiment.names import RUN_NAME, RUN_NAME_WORDS
from search.experiment.objectives import Objective

MAX_ENTRIES = 1000
"""Of images and of candidates."""
MAX_SEEDS = 10_000
MAX_SIDE = 10_000
"""A square of it is the largest picture that is read."""
MAX_TRIALS = 1_000_000
MAX_SAMPLER_SEED = 2**31 - 1
"""Samplers take 32 bits, and the trials there are at a resume are added to it."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _trainer(value: Any) -> TrainerSettings:
    return value if isinstance(value, TrainerSettings) else from_plain(TrainerSettings, value, {})


def _objective(value: Any) -> Objective:
    return value if isinstance(value, Objective) else from_plain(Objective, value, {})


# Read as a schedule file reads it, so that both refuse the same things.
Trainer = Annotated[TrainerSettings, BeforeValidator(_trainer)]
Objectives = Annotated[Objective, BeforeValidator(_objective)]


class _Model(BaseModel):
    """A group of keys. What stands below a key is its meaning: docs/experiment-file.md has it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class Within:
    """What both ends of a range must keep to."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def __call__(self, bounds: Any) -> Any:
        """The range again; ValueError names the end that lies outside."""
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
        """The rule, for people."""
        rules = {"above": self.above, "at least": self.least, "at most": self.most}
        return ", ".join(f"{rule} {value:g}" for rule, value in rules.items() if value is not None)


class _Bounds(_Model):
    """Both ends included; `log` samples evenly in the logarithm."""

    log: bool = False
    """Sample evenly in the logarithm; `low` must then be above 0."""

    @model_validator(mode="after")
    def _ordered(self) -> _Bounds:
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if low > high:
            raise ValueError(f"low must be at most high, got low {low} > high {high}")
        if self.log and low <= 0:
            raise ValueError(f"a log range must begin above 0, got low {low}")
        return self


class IntRange(_Bounds):
    """Whole numbers from low to high."""

    low: int
    """The least, included."""
    high: int
    """The most, included."""


class FloatRange(_Bounds):
    """Numbers from low to high."""

    low: Finite
    """The least, included."""
    high: Finite
    """The most, included."""


class NoiseSpace(_Model):
    """Levels of the noised stages: evenly spaced in t/T, from the maximum level down to 0."""

    beta: Annotated[list[Literal["linear", "cosine", "sigmoid"]], Field(min_length=1)]
    """The beta schedules to choose from."""
    max_level: Annotated[
        FloatRange,
        AfterValidator(Within(above=0, most=1)),
        Field(validation_alias=AliasChoices("max_level", "heaviest")),
    ]
    """The maximum noise level, as t/T of DDPM's forward process."""


class Space(_Model):
    """What is searched: the parameters of the family that generates schedules."""

    stages: Annotated[IntRange, AfterValidator(Within(least=1, most=MAX_STAGES))]
    """Targets, the observation included; 1 is plain DIP."""
    ramp: Annotated[IntRange, AfterValidator(Within(least=1))]
    """Iterations before the last stage; less than `trainer.iterations`."""
    split: Annotated[list[Literal["power", "log", "free"]], Field(min_length=1)]
    """How the ramp is divided among the noised stages; `free` gives each a weight of its own."""
    noise: NoiseSpace
    exponent: Annotated[FloatRange | None, AfterValidator(Within(above=0))] = None
    """Of the power split, and needed for it; above 1, heavy stages are brief."""
    learning_rate: Annotated[FloatRange | None, AfterValidator(Within(above=0, most=1))] = None
    """Searched beside the schedule; without it every trial has the trainer's."""

    @model_validator(mode="after")
    def _possible(self) -> Space:
        if ("power" in self.split) != (self.exponent is not None):
            raise ValueError("exponent belongs to the power split: give both or neither")
        for key, names in (("split", self.split), ("noise.beta", self.noise.beta)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names a choice twice: {', '.join(names)}")
        return self


class Task(_Model):
    """What is restored."""

    kind: Literal["denoise"] = "denoise"
    """Ground truth plus Gaussian noise."""
    sigma_255: Annotated[Finite, Field(ge=0, le=1000)] = 25.0
    """Standard deviation of the observation's noise, on the 0 to 255 scale."""


class Search(_Model):
    """How many schedules are sampled beside the candidates, and how."""

    trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = 24
    """Schedules to sample, candidates not counted; 0 compares the candidates alone."""
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    """Optuna's sampler that proposes them."""
    seed: Annotated[int, Field(ge=0, le=MAX_SAMPLER_SEED)] = 0
    """Of the sampler; searches that differ in nothing else are repetitions."""
    max_failed_share: Annotated[Finite, Field(gt=0, le=1)] = 0.5
    """Of the last ten trials that ended; the search ends when more than this have failed."""


class Racing(_Model):
    """Whether trials that the front has beaten are stopped early: [racing](method.md#racing)."""

    enabled: bool = True
    """Stop them; `false` trains all replicates of every trial."""
    confidence: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """How sure it must be, over all looks at a trial, that it can no longer reach the front."""
    min_replicates: Annotated[int, Field(ge=1)] = 2
    """Replicates that every trial gets; no less than all of them means that nothing is raced."""


class Resources(_Model):
    """What one trial takes, and how many run at a time."""

    concurrent: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Trials at a time; `auto` fills the machine, or the cluster as it is when a search begins."""
    cpus_per_trial: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """CPU cores that a trial holds, and threads that it computes with. `auto` is one, as trials
    side by side get more done; with `size` above 128 and fewer trials at a time than cores, as many
    as let all run at once. A run keeps what it began with."""
    gpus_per_trial: Literal["auto"] | Annotated[Finite, Field(ge=0, le=10_000)] = "auto"
    """GPUs that a trial holds: a share of one, or whole ones; `auto` is the share that gets most
    done in a short probe before the search, and none where there is no GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains; `auto` is the GPU that it was given, if any."""

    @model_validator(mode="after")
    def _schedulable(self) -> Resources:
        gpus = self.gpus_per_trial
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_trial must be whole above 1, got {gpus}")
        return self


class Logging(_Model):
    """Where a search is logged to beside its study, through Ray's callbacks.

    None of it may hold a password or a token; those come from the environment.
    """

    tensorboard: bool = False
    """Event files in the run's folder, `tensorboard/`."""
    mlflow: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """A tracking server's address, a database such as `sqlite:////path/mlflow.db`, or a folder,
    relative to the experiment's."""
    wandb: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A project of Weights & Biases."""

    @model_validator(mode="after")
    def _without_secrets(self) -> Logging:
        if self.mlflow is not None and holds_secret(self.mlflow):
            raise ValueError(
                "mlflow holds a password or a token, which files and process lists would show: "
                "give it in the environment as MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or as MLFLOW_TRACKING_TOKEN"
            )
        for key, value in (("mlflow", self.mlflow), ("wandb", self.wandb)):
            if value is not None and (found := forbidden_in(value)) is not None:
                raise ValueError(f"{key} has {found} in {value!r}")
        return self

    @property
    def wanted(self) -> bool:
        """Whether anything is logged."""
        return bool(self.tensorboard or self.mlflow or self.wandb)


def holds_secret(address: str) -> bool:
    """Whether an address has a password or a token in it, or cannot be told not to have."""
    try:
        parts = urlsplit(address)
        if parts.password is not None:
            return True
        if parts.scheme in ("http", "https") and parts.username is not None:
            return True  # Servers take a token for a user.
    except ValueError:
        return True
    if "://" in address and "@" in parts.netloc and ":" in parts.netloc.rpartition("@")[0]:
        return True
    words = ("password", "passwd", "pwd", "token", "secret", "key", "auth", "sig")
    return any(word in key.lower() for key, _ in parse_qsl(parts.query) for word in words)


class Experiment(_Model):
    """A search, or with `search.trials: 0` a comparison of the candidates."""

    name: Annotated[str, Field(pattern=RUN_NAME)]
    """Name of the run and of its folder."""
    images: Annotated[list[str], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Ground truths: `skimage:NAME`, files, globs; files relative to the experiment's folder."""
    task: Task = Task()
    size: Annotated[int, Field(ge=1, le=MAX_SIDE)] | None = None
    """Side of the pictures after a centre crop and resize; `null` keeps them, cropped to the
    network's multiple."""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MAX_SEEDS)
    ] = [0]
    """One replicate for each picture and seed."""
    trainer: Trainer = TrainerSettings()
    objective: Objectives = Objective()
    space: Space | None = None
    """Needed unless `search.trials` is 0."""
    candidates: Annotated[list[str], Field(max_length=MAX_ENTRIES)] = []
    """Evaluated first, whatever is sampled: presets, such as `sharp-linear:stages=50,x=10`, and
    schedule files, relative to the experiment's folder."""
    search: Search = Search()
    racing: Racing = Racing()
    resources: Resources = Resources()
    logging: Logging = Logging()

    @model_validator(mode="after")
    def _coherent(self) -> Experiment:
        if self.search.trials and self.space is None:
            raise ValueError("space is missing: say what is searched, or set search.trials to 0")
        if not self.search.trials and not self.candidates:
            raise ValueError("nothing to run: search.trials is 0 and there are no candidates")
        if self.space is not None and self.space.ramp.high >= self.trainer.iterations:
            raise ValueError(
                f"space.ramp.high must be less than trainer.iterations, {self.trainer.iterations}, "
                f"got {self.space.ramp.high}"
            )
        for key in ("images", "seeds", "candidates"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                twice = next(value for value, n in Counter(values).items() if n > 1)
                raise ValueError(f"{key} holds an entry twice: {twice!r}")
        for key in ("images", "candidates"):
            for value in getattr(self, key):
                if (found := forbidden_in(value)) is not None:
                    raise ValueError(f"{key} has {found} in {value!r}: rename the file or folder")
        return self

    def yaml(self) -> str:
        """As a file that `load_experiment` reads back to an equal model."""
        return yaml_text(self.model_dump(mode="json"))


def load_experiment(path: Path, overrides: tuple[str, ...] = ()) -> Experiment:
    """Read and validate a file; `overrides` are KEY=VALUE with dots in KEY and YAML in VALUE.

    Paths of pictures and schedule files in the file are relative to its folder, those in
    overrides to the current folder; all come out absolute. InputError names file and key.
    """
    content = read_yaml(path)
    _anchor(content, path.parent)
    _rename(content)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise InputError(f"--set needs KEY=VALUE, got {override!r}")
        patch = {key: parse_yaml(text, f"--set {override}")}
        _anchor(patch, Path())
        _insert(content, _current_key(key), patch[key])
        _rename(content)
    return validate(content, str(path))


def validate(content: dict[str, Any], where: str) -> Experiment:
    """The model, or InputError with the first thing that is wrong and how many more there are."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False, include_context=False)
    # Pydantic names the members of a union and of validators in the location; keys say enough.
    key = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("literal", "constrained"))
    )
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = "unknown key"
    elif first["type"] == "string_pattern_mismatch":
        message = f"must be {RUN_NAME_WORDS}, got {first['input']!r}"
    elif first["type"] == "missing":
        message = "is missing"
    elif not first["msg"].startswith("Value error, "):
        message = f"{message[0].lower()}{message[1:]}, got {first['input']!r}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{key}: {message}{more}" if key else f"{message}{more}"


def _anchor(content: dict[str, Any], folder: Path) -> None:
    """Make paths absolute, leaving wrong types to the validation."""
    for key in ("images", "candidates"):
        entries = content.get(key)
        if isinstance(entries, list):
            content[key] = [
                entry
                if not isinstance(entry, str) or _is_name(key, entry)
                else str((folder / entry).absolute())
                for entry in entries
            ]
    _anchor_mlflow(content, "logging.mlflow", folder)
    if isinstance(logging := content.get("logging"), dict):
        _anchor_mlflow(logging, "mlflow", folder)


def _anchor_mlflow(content: dict[str, Any], key: str, folder: Path) -> None:
    """A tracking address without a scheme is a folder; `databricks` is a name that MLflow knows."""
    address = content.get(key)
    if isinstance(address, str) and address and ":" not in address and address != "databricks":
        content[key] = str((folder / address).absolute())


def _is_name(key: str, entry: str) -> bool:
    """Whether an entry is no path: a picture of scikit-image, a preset, or a preset mistyped."""
    if key == "images":
        return entry.startswith("skimage:")
    return is_preset(entry) or not ("/" in entry or "." in entry)


_RENAMED = {"space.noise.heaviest": "space.noise.max_level"}
"""Current names of keys by their former ones."""


def _current_key(key: str) -> str:
    """A key of `--set`, or of a group in it, by its current name."""
    for former, current in _RENAMED.items():
        if key == former or key.startswith(f"{former}."):
            warn_former_name(f"--set {former}", current)
            return current + key.removeprefix(former)
    return key


def _rename(content: dict[str, Any]) -> None:
    """Give keys their current names; where both names stand, the validation refuses the former."""
    for former, current in _RENAMED.items():
        *parents, last = former.split(".")
        group: Any = content
        for parent in parents:
            group = group.get(parent) if isinstance(group, dict) else None
        name = current.rpartition(".")[2]
        if isinstance(group, dict) and last in group and name not in group:
            warn_former_name(former, current)
            group[name] = group.pop(last)


def _insert(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise InputError(f"--set {key}: {parent} is not a group of keys")
    content[last] = value
