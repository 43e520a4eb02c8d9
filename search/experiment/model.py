"""Experiment files as a validated model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import attrgetter
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from dipstage.documents.plain_yaml import forbidden_in, remedy_for, yaml_text
from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.schedules.examples import settings_of
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import Denoise
from search.experiment.candidate import refused_presets
from search.experiment.names import RUN_NAME
from search.experiment.objectives import Objective
from search.experiment.refusals import as_in_a_file, describe
from search.experiment.searched import Finite, Group, Space
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


def _trainer(value: Any) -> TrainerSettings:
    return value if isinstance(value, TrainerSettings) else settings_of(value)


def _objective(value: Any) -> Objective:
    return value if isinstance(value, Objective) else from_plain(Objective, value, {})


# Schedule files read settings the same way, so both refuse the same values.
Trainer = Annotated[TrainerSettings, BeforeValidator(_trainer)]
Objectives = Annotated[Objective, BeforeValidator(_objective)]


class Until(Group):
    """Rules that end a search before `search.trials`."""

    no_gain: Annotated[int, Field(ge=1, le=MAX_TRIALS)]
    """Number of sampled trials in a row without a gain, after which the search ends. A trial is a
    gain if it is better than plain DIP in both objectives and no earlier trial is as good in both.
    With `objective.against: none`, only the first objective counts. If plain DIP is not a
    candidate, trials are compared with the reference point of the
    [hypervolume](method.md#objectives) instead. Only PSNR_GT and iterations have one: with other
    objectives, plain DIP must be a candidate."""


class Search(Group):
    """Number of sampled schedules, what ends the search, and the sampler that proposes them."""

    trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = 24
    """Number of schedules to sample, not counting the candidates. With 0, only the candidates are
    compared."""
    hours: Annotated[Finite, Field(gt=0, le=MAX_HOURS)] | None = None
    """Hours after which no further trial begins; running trials are finished. The time during
    which the search runs is counted, the time between an interruption and a resume is not. To
    search for that long, set `trials` to more than can be trained: a search that has sampled all
    of them ends earlier."""
    until: Until | None = None
    sampler: Literal["tpe", "gp", "nsga2", "qmc", "random"] = "tpe"
    """The Optuna sampler that proposes schedules. `tpe` takes some 10 ms for a proposal, `gp` (a
    Gaussian process) seconds. `qmc` covers the space evenly; like `random`, it does not learn from
    scores. With `gp` and `qmc`, parameters that only some schedules have are drawn at random."""
    learn_from: list[str] = Field(default_factory=list, max_length=MAX_ENTRIES)
    """Runs whose trials the sampler, `tpe` or `gp`, learns from: names of runs in the same folder,
    or paths of run folders. They must have the same task and objective and search the same
    parameters; trials outside the ranges of this experiment are left out. Their scores are taken
    relative to plain DIP, which must be a candidate of each run. A verification of this run refuses
    their pictures and seeds."""
    seed: Annotated[int, Field(ge=0, le=MAX_SAMPLER_SEED)] = 0
    """Seed of the sampler. Searches that differ only in this seed are repetitions of each other."""
    max_failed_share: Annotated[Finite, Field(gt=0, le=1)] = 0.5
    """Maximum fraction of failed trials among the last ten that ended. If more fail, the search
    ends."""

    @model_validator(mode="after")
    def _check_learning(self) -> Search:
        if self.learn_from and (self.sampler not in ("tpe", "gp") or not self.trials):
            raise ValueError(
                "learn_from needs the sampler tpe or gp, and trials above 0: got "
                f"{self.sampler} and {self.trials}"
            )
        return self


class Racing(Group):
    """Early stopping of trials that are unlikely to reach the front, before all their replicates
    are trained: see [racing](method.md#racing).
    """

    enabled: bool = True
    """Stop trials early. With `false`, every trial trains all its replicates."""
    confidence: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """Required confidence that a trial cannot reach the front, jointly over all checks of that
    trial."""
    min_replicates: Annotated[int, Field(ge=1)] = 2
    """Number of replicates that every trial trains before it can be stopped. No trial is stopped
    early unless this is less than the number of replicates of a trial."""

    def can_stop(self, replicates: int) -> bool:
        """Return whether a sampled trial of so many replicates can be stopped early."""
        return self.enabled and self.min_replicates < replicates


class Resources(Group):
    """Hardware that one trial uses, and the number of trials that run at a time."""

    concurrent: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of trials that run at a time. `auto` fills the machine, or the cluster as it is when
    the search begins."""
    cpus_per_trial: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of CPU cores that a trial reserves, and of threads that it computes with. `auto` is 1,
    because several trials at a time use the cores better than one trial with several threads. If
    `size` is above 128 or `null`, and fewer trials run at a time than there are cores, `auto`
    divides the cores among the trials. A run keeps its first value when it is resumed."""
    gpus_per_trial: Literal["auto"] | Annotated[Finite, Field(ge=0, le=10_000)] = "auto"
    """Number of GPUs that a trial reserves: a fraction of one, or a whole number. `auto` is 0 on a
    CPU, and one if `together` is above 1. Otherwise it is measured before the search: the number
    of trials on a GPU is doubled, up to 8, as long as this raises their total speed by a tenth."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that a trial trains on. `auto` is the GPU that the trial reserves, or else the CPU."""
    together: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = "auto"
    """Number of a trial's replicates that its worker trains at the same time. This does not change
    the results; it is faster on a GPU, but not on a CPU. `auto` is 16 on a GPU in runs without
    racing, and otherwise 1, so that racing can end a trial between two replicates."""
    heartbeat_timeout: Literal["auto"] | Annotated[Finite, Field(ge=5, le=1e6)] = "auto"
    """Maximum time in seconds that a worker may take for a block of ten iterations. A worker that
    takes longer is ended, and its trial continues on another one. With `auto`, the maximum is 20
    times the duration of the slowest block, and at least 60 s; for the first two blocks of each
    replicate it is 1800 s, because its picture may be larger. A number holds for all blocks."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Resources:
        gpus = self.gpus_per_trial
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_trial must be whole above 1, got {gpus}")
        return self


class Logging(Group):
    """Experiment trackers that a search reports to, in addition to its study.

    No address may contain a password or a token; those come from the environment.
    """

    tensorboard: bool = False
    """Write TensorBoard event files to the folder `tensorboard` of the run."""
    mlflow: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """Destination of MLflow's logs: the address of a tracking server, a database such as
    `sqlite:////path/mlflow.db`, or a folder relative to that of the experiment file."""
    wandb: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name of a Weights & Biases project to log to."""

    @model_validator(mode="after")
    def _check_addresses(self) -> Logging:
        if self.mlflow is not None and holds_secret(self.mlflow):
            raise ValueError(
                "mlflow contains a password or a token, which files and process lists would show: "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN, in the environment instead"
            )
        for key, value in (("mlflow", self.mlflow), ("wandb", self.wandb)):
            if value is not None and (found := forbidden_in(value)) is not None:
                raise ValueError(f"{key} contains {found}: {value!r}")
        where = self.mlflow or ""
        if where.startswith(("http://", "https://")) and not urlsplit(where).hostname:
            raise ValueError(f"mlflow must name a host, got {where!r}")
        return self

    @property
    def wanted(self) -> bool:
        """True if any tracker is enabled."""
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


class Experiment(Group):
    """An experiment: a search, or a comparison of the candidates if `search.trials` is 0."""

    name: Annotated[str, Field(pattern=RUN_NAME)]
    """Name of the run and of its folder."""
    images: Annotated[list[str], Field(min_length=1, max_length=MAX_ENTRIES)]
    """Ground-truth pictures: `skimage:NAME`, file names or glob patterns. File names are relative
    to the folder of the experiment file; `~` and `$VARIABLE` are expanded. `#page=N` after a name
    selects a page or frame, and `#bits=N` states how many bits the values have: see
    [pictures](files.md#pictures)."""
    task: AnyTask = Denoise()
    """[Tasks](tasks.md) describes them; an [installed package](tasks.md#your-own-task) can add
    others."""
    size: Annotated[int, Field(ge=1, le=MAX_SIDE)] | None = None
    """Side length in pixels to which each picture is resized after a square centre crop. `null`
    keeps the size of a picture, except that its sides are cropped to multiples of 2 to the power of
    `trainer.scales`."""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MAX_SEEDS)
    ] = Field(default=[0])
    """Random seeds. A trial trains its schedule once for each picture and seed; each of these
    trainings is called a replicate."""
    trainer: Trainer = TrainerSettings()
    objective: Objectives = Objective()
    space: Space | None = None
    """Required unless `search.trials` is 0."""
    candidates: Annotated[list[str], Field(max_length=MAX_ENTRIES)] = Field(default=[])
    """Schedules that are evaluated before any is sampled: presets such as
    `sharp-linear:stages=50,x=10`, the published schedules `fast` and `best`, and schedule files.
    File names are relative to the folder of the experiment file. A schedule file whose name is a
    number, such as `64.yaml`, is refused."""
    search: Search = Search()
    racing: Racing = Racing()
    resources: Resources = Resources()
    logging: Logging = Logging()

    def __init__(self, /, **content: Any) -> None:
        """Check the keys and values; InputError names the first that is wrong."""
        try:
            super().__init__(**as_in_a_file(content))
        except ValidationError as error:
            raise InputError(describe(error, Experiment)) from None

    @model_validator(mode="after")
    def _check_consistency(self) -> Experiment:
        if self.search.trials and self.space is None:
            raise ValueError("space is missing: give a search space, or set search.trials to 0")
        if not self.search.trials and not self.candidates:
            raise ValueError("nothing to run: search.trials is 0 and there are no candidates")
        budget = self.trainer.iterations
        clashes = refused_presets(self.candidates, budget)
        if self.space is not None and self.space.ramp.high >= budget:
            words = f"must be less than trainer.iterations, {budget}, got {self.space.ramp.high}"
            clashes.insert(0, f"space.ramp.high {words}")
        if clashes:
            raise ValueError("; ".join(clashes))
        if self.objective.stop != "oracle" and self.trainer.oracle_stop is not False:
            raise ValueError(
                f"objective.stop is {self.objective.stop}, which ends a run itself: leave out "
                "trainer.oracle_stop"
            )
        if self.space is not None and self.space.input_depth and self.trainer.input == "meshgrid":
            raise ValueError("space.input_depth must be left out: a meshgrid has 2 channels")
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
                if not value.strip():
                    raise ValueError(f"{key} holds an empty name: remove it")
                if (found := forbidden_in(value)) is not None:
                    raise ValueError(f"{key} has {found} in {value!r}: {remedy_for(value)}")
        return self

    @property
    def largest(self) -> TrainerSettings:
        """The trainer's settings with the largest network that a trial may have."""
        names = ("width", "scales", "skip_channels", "input_depth")
        found = {name: getattr(self.space, name, None) for name in names}
        largest = {
            name: max(getattr(self.trainer, name), bounds.high)
            for name, bounds in found.items()
            if bounds is not None
        }
        if self.space is not None and (firsts := self.space.first_width) is not None:
            either = (self.trainer.first_width, firsts.low)
            largest["first_width"] = max(*either, firsts.high) if all(either) else 0
        return replace(self.trainer, **largest)

    def __repr__(self) -> str:
        """Return one line; `yaml` has all keys."""
        trials, candidates = (
            f"{n} {thing}{'s' * (n != 1)}"
            for n, thing in ((self.search.trials, "trial"), (len(self.candidates), "candidate"))
        )
        return f"<Experiment {self.name!r}: {trials} and {candidates}>"

    __str__ = __repr__

    def yaml(self) -> str:
        """Return the text of a file that `load_experiment` reads back as an equal experiment."""
        return yaml_text(self.model_dump(mode="json"))
