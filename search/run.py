"""A finished or running search as an object: its trials, front, curves and exports."""

from __future__ import annotations

import gc
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from dipstage.documents import read_yaml
from dipstage.errors import InputError
from dipstage.files import Measure, OutputMeasures
from dipstage.schedules import Schedule
from dipstage.stopping import OUTPUTS, Output
from search import pareto
from search.objectives import Objective
from search.pareto import Score
from search.paths import brief, curve_path, is_there, picture_path, run_folder, runs_path
from search.storage import PatientStorage, open_storage, storage_address
from search.study import RACED, is_interrupted, load_study, objective_of, replicates

if TYPE_CHECKING:
    import pandas as pd

    from search.experiment import Experiment
    from search.lease import Holder
    from search.plots.curves import Outputs
    from search.plots.schedules import Level
    from search.plots.spread import Errors
    from search.plots.style import Plot, Style
    from search.space import Point

PNG = b"\x89PNG\r\n\x1a\n"
"""How a PNG begins."""
State: TypeAlias = Literal["complete", "raced", "failed", "running"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as the study holds it; `candidate` is the name of a candidate.

    values: both objectives of a complete trial. estimate: what a raced trial's were predicted to
    be when it was stopped.
    """

    number: int
    state: State
    candidate: str | None
    schedule: Schedule | None
    learning_rate: float | None
    warmup: int | None
    params: dict[str, Any]
    outcomes: dict[str, dict[str, Any]]
    values: tuple[float, float] | None
    estimate: tuple[float, float] | None
    failure: str | None
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> Trial:
        """From Optuna's record."""
        attributes = trial.user_attrs
        stages = attributes.get("stages")
        state = _STATES.get(trial.state, "failed")
        if state == "complete" and RACED in attributes:
            state = "raced"
        return cls(
            number=trial.number,
            state=state,
            candidate=attributes.get("candidate"),
            schedule=Schedule.from_pairs(stages, any_order=True) if stages else None,
            learning_rate=attributes.get("learning_rate"),
            warmup=attributes.get("warmup"),
            params=dict(trial.params),
            outcomes=replicates(trial),
            values=(trial.values[0], trial.values[1]) if state == "complete" else None,
            estimate=(trial.values[0], trial.values[1]) if state == "raced" else None,
            failure=attributes.get("failure") if trial.state is TrialState.FAIL else None,
            started=trial.datetime_start,
            ended=trial.datetime_complete,
        )

    @property
    def name(self) -> str:
        """The candidate's name, else `trial N`."""
        return self.candidate or f"trial {self.number}"

    @property
    def score(self) -> Score:
        """Both objectives; ValueError for a trial that is not complete."""
        if self.values is None:
            raise ValueError(f"{self.name} is not complete")
        return Score(*self.values)

    def measure(self, output: Output, key: str) -> Measure:
        """Mean and spread of one score over the finished replicates."""
        values = [float(outcome[output][key]) for outcome in self.outcomes.values()]
        mean = fmean(values)
        if len(values) == 1:
            return Measure(mean, 1, None)
        # `statistics.stdev` adds fractions, which takes a second for 5,000 trials.
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
        return Measure(mean, len(values), std)

    def measures(self, output: Output) -> OutputMeasures:
        """All that a schedule file says of one output."""
        return OutputMeasures(
            max_psnr_gt_db=self.measure(output, "max_psnr_gt_db"),
            steps_to_max=self.measure(output, "steps_to_max"),
            max_ssim_gt=self.measure(output, "max_ssim_gt"),
            steps_to_max_ssim_gt=self.measure(output, "steps_to_max_ssim_gt"),
            censored=self.censored(output),
            steps_to_tolerance=(
                self.measure(output, "steps_to_tolerance") if self.has_tolerance else None
            ),
        )

    @property
    def has_tolerance(self) -> bool:
        """Whether steps to within a tolerance of the maximum were recorded."""
        return any("steps_to_tolerance" in o["raw"] for o in self.outcomes.values())

    def censored(self, output: Output) -> int:
        """Replicates whose maximum the end of the run may have cut off."""
        return sum(bool(outcome[output]["censored"]) for outcome in self.outcomes.values())

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that the workers ran with; several are joined by a comma."""
        seen: dict[str, list[str]] = {}
        for outcome in self.outcomes.values():
            for package, version in outcome["versions"].items():
                found = seen.setdefault(package, [])
                if version not in found:
                    found.append(version)
        return {package: ", ".join(found) for package, found in seen.items()}

    @property
    def wall_s(self) -> float:
        """Seconds of training over the finished replicates."""
        return sum(float(outcome["wall_s"]) for outcome in self.outcomes.values())


@dataclass(frozen=True)
class Run:
    """A run folder and its study; `address` is that of a database outside the folder."""

    folder: Path
    study: Study
    storage: PatientStorage
    address: str | None = field(default=None, repr=False)
    _known: dict[int, tuple[FrozenTrial, Trial]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, name: str, runs_dir: Path | str = "runs", storage: str | None = None) -> Run:
        """Open a run by its name; InputError if there is none."""
        folder = run_folder(name, runs_path(runs_dir))
        if not is_there(folder / "experiment.yaml"):
            raise InputError(
                f"run {name!r} does not exist in {runs_dir}: start it with dipsearch launch"
            )
        return cls.at(folder, name, storage)

    @classmethod
    def at(cls, folder: Path, name: str, storage: str | None = None) -> Run:
        """Open the run in a folder that exists, whose study has this name."""
        address = storage_address(storage)
        opened = open_storage(folder, address)
        return cls(folder, load_study(opened, name), opened, address)

    def reread(self) -> Run:
        """The same run, with what has been written since it was opened."""
        return Run(self.folder, self.study, self.storage, self.address)

    @cached_property
    def experiment(self) -> Experiment:
        """What is run, as the study has it. Read when asked for: it takes time to import."""
        from search.experiment import validate

        recorded = self.study.user_attrs.get("experiment")
        path = self.folder / "experiment.yaml"
        return validate(read_yaml(path) if recorded is None else recorded, str(path))

    @cached_property
    def objective(self) -> Objective:
        """What is optimised."""
        return objective_of(self.study)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.study.study_name

    @property
    def trials_wanted(self) -> int:
        """Sampled trials asked for; candidates come on top."""
        return int(self.study.user_attrs["trials"])

    @property
    def candidates_wanted(self) -> int:
        """Candidates of the experiment."""
        return len(self.study.user_attrs["candidates"])

    def records(self) -> list[Trial]:
        """All trials but those that a dead driver left without a schedule."""
        known = self._known
        with _uncollected():
            found = self.study.get_trials(deepcopy=False)
            # Optuna hands out the same object for a trial that has ended.
            for trial in found:
                if trial.number not in known or known[trial.number][0] is not trial:
                    known[trial.number] = trial, Trial.of(trial)
        return [known[trial.number][1] for trial in found if not is_interrupted(trial)]

    def trials(self) -> pd.DataFrame:
        """Every trial as a row: state, objectives, both outputs' scores, schedule, cost."""
        import pandas as pd

        return pd.DataFrame([row(trial, self.objective) for trial in self.records()])

    def front(self) -> list[Trial]:
        """Trials that no other trial dominates, fewest steps first; candidates compete."""
        return front_of(self.records())

    def pick(self, which: str) -> Trial:
        """A trial by its number, or of the front by rule; InputError if there is none.

        knee, psnr, steps: the front's knee, its highest PSNR_GT, its fewest steps.
        """
        if which.isdecimal():
            for trial in self.records():
                if trial.number == int(which):
                    if trial.state != "complete":
                        raise InputError(f"trial {which} is {trial.state}: pick a complete one")
                    return trial
            raise InputError(f"run {self.name!r} has no trial {which}")
        members = self.front()
        if not members:
            raise InputError(f"run {self.name!r} has no complete trial yet")
        return members[pick_of([trial.score for trial in members], which)]

    def point(self, trial: Trial) -> Point | None:
        """The point of the space that a sampled trial is; None for a candidate."""
        from search.space import decode

        if trial.candidate is not None or self.experiment.space is None:
            return None
        return decode(trial.params, self.experiment.space)

    def curves(self, trial: Trial, key: str) -> dict[str, NDArray[Any]]:
        """Per-iteration curves of a finished replicate (see `dipstage.outcome.Trace`).

        InputError names a file that is missing or holds something else.
        """
        path = curve_path(self.folder, trial.number, key)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            reason = getattr(error, "strerror", None) or "it holds no curves"
            raise InputError(f"{path} cannot be read: {reason}") from None

    def picture(self, trial: Trial, key: str) -> bytes | None:
        """The output of a replicate at its maximum as a PNG, of the objective's output.

        None where there is none: pictures are kept of the first seed alone, and of no run from
        before they were. InputError for a file that holds something else.
        """
        path = picture_path(self.folder, trial.number, key)
        if not is_there(path):
            return None
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {brief(error)}") from None
        if not content.startswith(PNG):
            raise InputError(f"{path} cannot be read: it holds no PNG")
        return content

    def export(self, pick: str = "knee", output: Path | str | None = None) -> Path:
        """Write a schedule file, by default best.yaml in the run's folder; returns its path.

        Where the run is verified, schedules that held go before the others.
        """
        from search.export import choose, export

        return export(self, choose(self, pick), Path(output) if output else None)

    def report(self, output: Path | str | None = None) -> Path:
        """Write the run's report, by default report.html in its folder; returns its path."""
        from search.report import write_report

        return write_report(self, Path(output) if isinstance(output, str) else output)

    def plot_front(
        self, style: Style = "screen", errors: Errors = "paired", from_db: float | None = None
    ) -> Plot:
        """Steps against max PSNR_GT: front, candidates, what they beat. A matplotlib figure,
        like those below; style is screen or paper.
        """
        from search.plots import plot_front

        return plot_front(self, style, errors, from_db)

    def plot_curves(
        self,
        *which: str | int,
        output: Outputs | None = None,
        style: Style = "screen",
        errors: Errors = "paired",
        from_db: float | None = None,
    ) -> Plot:
        """PSNR_GT over iterations of trials by number, name or pick; raw, smoothed or both."""
        from search.plots import plot_curves

        return plot_curves(self, which, output, style, errors, from_db)

    def plot_schedule(
        self, *which: str | int, level: Level = "stage", style: Style = "screen"
    ) -> Plot:
        """Staircases of trials by number, name or pick; level is stage, alpha-bar or sigma."""
        from search.plots import plot_schedules

        return plot_schedules(self, which, level, style)

    def plot_importance(self, style: Style = "screen") -> Plot:
        """Which parameters decide each objective."""
        from search.plots import plot_importance

        return plot_importance(self, style)

    def plot_attainment(self, budget: int | None = None, style: Style = "screen") -> Plot:
        """The best PSNR_GT by each iteration, and which schedule attains most in a budget."""
        from search.plots import plot_attainment

        return plot_attainment(self, budget=budget, style=style)

    def __repr__(self) -> str:
        """In one line, without reading the study."""
        return f"<Run {self.name!r}>"

    def _repr_html_(self) -> str:
        from search.run_table import run_html

        return run_html(self)

    def driver(self) -> Holder | None:
        """The driver that is alive, on whatever machine; None where there is none."""
        from search.lease import holder

        return holder(self.storage, self.name)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python looks for garbage whenever many objects are made, for a third of the time here."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def pick_of(scores: list[Score], which: str) -> int:
    """Index of the front's knee, highest PSNR_GT or fewest steps; there is at least one score."""
    members = pareto.front(scores)
    match which:
        case "knee":
            return pareto.knee(scores)
        case "psnr":
            return members[-1]
        case "steps":
            return members[0]
    raise InputError(
        f"a schedule is picked by knee, psnr, steps or a trial's number, got {which!r}"
    )


def front_of(trials: list[Trial]) -> list[Trial]:
    """The complete trials that no other dominates, fewest steps first."""
    complete = [trial for trial in trials if trial.values is not None]
    return [complete[i] for i in pareto.front([trial.score for trial in complete])]


def row(trial: Trial, objective: Objective) -> dict[str, Any]:
    """One trial as a flat record for tables and CSV; steps are iterations.

    A raced trial's objectives are the estimates that it was stopped on.
    """
    psnr, steps = trial.values or trial.estimate or (None, None)
    cells: dict[str, Any] = {
        "trial": trial.number,
        "name": trial.name,
        "state": trial.state,
        "max_psnr_gt_db": psnr,
        objective.steps_key: steps,
        "replicates": len(trial.outcomes),
        "stages": len(trial.schedule.stages) if trial.schedule else None,
        "ramp": trial.schedule.ramp if trial.schedule else None,
        "learning_rate": trial.learning_rate,
    }
    cells.update(_score_cells(trial))
    cells.update({f"param_{key}": value for key, value in trial.params.items()})
    cells.update(
        resets=sum(int(outcome["resets"]) for outcome in trial.outcomes.values()),
        wall_s=trial.wall_s,
        hosts=" ".join(sorted({str(outcome["host"]) for outcome in trial.outcomes.values()})),
        devices=" ".join(sorted({str(outcome["device"]) for outcome in trial.outcomes.values()})),
        failure=trial.failure,
    )
    return cells


def _score_cells(trial: Trial) -> Iterator[tuple[str, Any]]:
    if not trial.outcomes:
        return
    for output in OUTPUTS:
        keys = ["max_psnr_gt_db", "steps_to_max", "max_ssim_gt", "steps_to_max_ssim_gt"]
        for key in keys + ["steps_to_tolerance"] * trial.has_tolerance:
            measure = trial.measure(output, key)
            yield f"{output}_{key}", measure.mean
            yield f"{output}_{key}_std", measure.std
        yield f"{output}_censored", trial.censored(output)
