"""Schedule files: plain YAML with a schedule and the evidence for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dipstage.arguments import check_kind, check_number, check_text
from dipstage.documents.plain_yaml import read_yaml, yaml_text
from dipstage.documents.records import from_plain, to_plain
from dipstage.documents.whole_files import file_path, write_asked
from dipstage.errors import InputError
from dipstage.schedules.noise import MAX_SIGMA_255, TotalNoiseLevels
from dipstage.schedules.recipe import TRAINERS, Recipe
from dipstage.schedules.schedule import Family, Schedule, Stage, refuse_short_budget
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.splits import FreeSplit, LogSplit, PowerSplit

FORMAT = 2
"""Format 1 has no recipe; the learning rate is that of its measurements."""
KINDS: dict[str, type] = {
    "power": PowerSplit,
    "log": LogSplit,
    "free": FreeSplit,
    "total": TotalNoiseLevels,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """Mean and sample standard deviation over n replicates; None for a single replicate."""

    mean: float
    n: int
    std: float | None = None


@dataclass(frozen=True, slots=True)
class OutputMeasures:
    """Scores of one output; `censored` counts the replicates with a censored PSNR_GT maximum."""

    max_psnr_gt_db: Measure
    steps_to_max: Measure
    max_ssim_gt: Measure
    steps_to_max_ssim_gt: Measure
    censored: int
    steps_to_tolerance: Measure | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the search, and what they were measured on; `output` is the one optimised.

    sigma_255: noise of the observations. task: the task as it stands in experiment files; None is
    Gaussian denoising, as files that lack it mean. tolerance_db: steps_to_tolerance is the first
    iteration within this of the maximum.
    """

    images: list[str]
    sigma_255: float
    seeds: list[int]
    trainer: TrainerSettings
    output: str
    raw: OutputMeasures
    smoothed: OutputMeasures
    size: int | None = None
    tolerance_db: float = 0.0
    task: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_number("sigma_255", self.sigma_255)
        if not 0 <= self.sigma_255 <= MAX_SIGMA_255:
            raise InputError(
                f"sigma_255 must be from 0 to {MAX_SIGMA_255:,.0f}, got {self.sigma_255}"
            )

    @property
    def of_task(self) -> dict[str, Any]:
        """The task as plain data, with its kind."""
        own = self.task or {"sigma_255": self.sigma_255, "clip": True}
        return {"kind": "denoise", **own}


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean paired difference or ratio to plain DIP, with its 95 % interval over pictures."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """Scores of a schedule on held-out pictures and seeds.

    iterations: the budget, reached by a longer last stage. against: the plain DIP that it is
    compared with. method: how the verdict was reached.
    seen: pictures and seeds that the search had used, where that was allowed.
    endpoint: what was claimed to be better, time or psnr. time_ratio: the schedule's time to the
    common target over plain DIP's. Verifications of version 0.1 have neither.
    """

    verdict: str
    iterations: int
    images: list[str]
    seeds: list[int]
    n: int
    against: str
    output: str
    max_psnr_gt_db: Gain
    steps: Gain
    raw: OutputMeasures
    smoothed: OutputMeasures
    method: str
    seen: list[str] | None = None
    endpoint: str | None = None
    time_ratio: Gain | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The run and the trial that a schedule comes from, the date, and versions of packages.

    origin: the schedule file that the trial trained, and how it was rescaled; see
    `ScheduleFile.origin`.
    """

    run: str
    trial: int
    created: str
    versions: dict[str, str]
    origin: str | None = None


_KIND_OF = {
    "family": Family,
    "measured": Measured,
    "verified": Verified,
    "provenance": Provenance,
}


@dataclass(frozen=True, slots=True)
class ScheduleFile:
    """A schedule and, where known, its origin and its evidence.

    Args:
        schedule: The schedule.
        family: The parameters that generated it.
        preset: The preset that generated it, as text.
        measured: Scores of the search.
        verified: Scores on held-out pictures and seeds.
        provenance: The run and trial it comes from.
    """

    schedule: Schedule
    family: Family | None = None
    preset: str | None = None
    measured: Measured | None = None
    verified: Verified | None = None
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        check_kind("schedule", self.schedule, Schedule, "write Schedule.of(alpha_bars, iterations)")
        if self.preset is not None:
            check_text("preset", self.preset)
        for name, kind in _KIND_OF.items():
            if (value := getattr(self, name)) is not None:
                check_kind(name, value, kind, "leave it out if it is not known")

    @property
    def of_task(self) -> dict[str, Any] | None:
        """The task that the schedule was measured on, as plain data; None if that is unknown."""
        return None if self.measured is None else self.measured.of_task

    def rescaled(self, iterations: int | None, sigma_255: float | None) -> Schedule:
        """Return the schedule for another task: see `Schedule.rescaled`.

        Args:
            iterations: The budget; None for the file's.
            sigma_255: Noise of the observation; None for the file's. The levels stay as they are
                if it is 0 or the file does not say what it was measured on.
        """
        budget = self.schedule.iterations if iterations is None else iterations
        return self.schedule.rescaled(budget, self._noise(sigma_255))

    def _noise(self, sigma_255: float | None) -> float:
        known = self.measured.sigma_255 if self.measured else 0.0
        return sigma_255 / known if sigma_255 and known else 1.0

    def origin(self, iterations: int, sigma_255: float) -> str:
        """Return where the schedule comes from and what `rescaled` changes, in words."""
        made, old = self.provenance, self.schedule
        words = f"trial {made.trial} of {made.run}" if made else "a schedule file"
        changes = []
        if iterations != old.iterations:
            kept = iterations > old.ramp
            rule = f"the ramp keeps its {old.ramp}" if kept else "all stages are shortened"
            changes.append(f"iterations {old.iterations} → {iterations}, {rule}")
        if (noise := self._noise(sigma_255)) != 1:
            levels = f"noise levels and sigma × {noise:.3g}"
            std, now = old.recipe.input_noise_std, self.rescaled(iterations, sigma_255).recipe
            if std is not None:
                levels += f", input noise {std:.3g} → {now.input_noise_std:.3g}"
            changes.append(levels)
        elif self.measured is None:
            changes.append("noise levels as they are, because the file names no sigma")
        return f"{words}; {'; '.join(changes) or 'not rescaled'}"


@dataclass(frozen=True, slots=True)
class _StageEntry:
    alpha_bar: float
    iterations: int
    share: float


@dataclass(frozen=True, slots=True)
class _Document:
    """The keys of a schedule file, in order."""

    format: int
    iterations: int
    stages: list[_StageEntry]
    any_order: bool | None = None
    recipe: Recipe = TRAINERS
    family: Family | None = None
    preset: str | None = None
    measured: Measured | None = None
    verified: Verified | None = None
    provenance: Provenance | None = None


def save_schedule(path: Path | str, content: ScheduleFile) -> None:
    """Write a schedule file. The file appears whole or not at all.

    Args:
        path: The file. A schedule file that this function wrote is replaced, other files are not;
            content with a provenance replaces only such content.
        content: What to write.

    Raises:
        InputError: The file cannot be written.
    """
    check_kind("content", content, ScheduleFile, "write ScheduleFile(schedule)")
    text, family, n = yaml_text(_plain(content)), content.family, len(content.schedule.stages)
    if family is not None and family.stages != n:
        words = f"# Of its {family.stages} stages, those that would get no iteration are dropped."
        text = text.replace("\nfamily:", f"\n{words}\nfamily:", 1)
    write_asked(Path(path) if isinstance(path, str) else path, text)


def compact_text(content: ScheduleFile) -> str:
    """Return the text of a schedule file with one line for each key and each stage.

    It is YAML, with JSON for what is nested, and a hundred times as fast to make as that of
    `save_schedule`, so that a report can hold the files of all trials.
    """
    lines = []
    for key, value in _plain(content).items():
        if key == "stages":
            lines += ["stages:", *(f"- {_json(stage)}" for stage in value)]
        else:
            lines.append(f"{key}: {_json(value)}")
    return "\n".join(lines) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _plain(content: ScheduleFile) -> dict[str, Any]:
    """Return the plain data of a schedule file, in the order of its keys."""
    schedule, budget = content.schedule, content.schedule.iterations
    stages = [
        _StageEntry(stage.alpha_bar, stage.iterations, stage.iterations / budget)
        for stage in schedule.stages
    ]
    any_order = None if schedule.is_in_order else True
    document = _Document(FORMAT, budget, stages, any_order, schedule.recipe, **_beside(content))
    plain: dict[str, Any] = to_plain(document, KINDS)
    return plain


def load_schedule(path: Path | str) -> Schedule:
    """Read the schedule of a schedule file.

    Args:
        path: The file.

    Raises:
        InputError: The file cannot be read; the message names the file and the key.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InputError(f"path must name a schedule file, got {path!r:.80}")
    if isinstance(path, str):
        path = file_path(path, path)
    return read_schedule_file(path).schedule


def read_schedule_file(path: Path) -> ScheduleFile:
    """Read all of a schedule file; InputError for unknown formats and keys."""
    plain = read_yaml(path)
    try:
        return _interpret(plain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _interpret(plain: dict[str, Any]) -> ScheduleFile:
    if plain.get("format") in ("1", str(FORMAT)):
        raise InputError(f"format must be a number: write {plain['format']}, without quotes")
    if plain.get("format") not in (1, FORMAT):
        found = repr(plain["format"]) if "format" in plain else "no such key"
        raise InputError(
            f"format must be 1 or {FORMAT}, got {found}: not a schedule file of this kind"
        )
    document = from_plain(_Document, plain, KINDS)
    refuse_short_budget(document.iterations, 0)
    for i, entry in enumerate(document.stages):
        if entry.iterations < 1:
            raise InputError(f"stages[{i}].iterations must be at least 1, got {entry.iterations}")
        if not abs(entry.share - entry.iterations / document.iterations) <= 1e-9:
            raise InputError(
                f"stages[{i}].share must be iterations / {document.iterations} = "
                f"{entry.iterations / document.iterations}, got {entry.share}"
            )
    try:
        stages = tuple(Stage(entry.alpha_bar, entry.iterations) for entry in document.stages)
        recipe = document.recipe
        if document.format == 1 and document.measured is not None:
            recipe = replace(recipe, learning_rate=document.measured.trainer.learning_rate)
        schedule = Schedule(stages, recipe, bool(document.any_order))
    except InputError as error:
        raise InputError(f"stages: {error}") from None
    if schedule.iterations != document.iterations:
        raise InputError(
            f"iterations must be the sum over the stages, {schedule.iterations}, "
            f"got {document.iterations}"
        )
    return ScheduleFile(schedule, **_beside(document))


def _beside(content: ScheduleFile | _Document) -> dict[str, Any]:
    """Return what both kinds of record hold beside the schedule."""
    return {each.name: getattr(content, each.name) for each in fields(ScheduleFile)[1:]}
