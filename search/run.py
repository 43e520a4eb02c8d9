"""A finished or running search as an object: its trials, front, curves and exports."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from dipstage.documents import read_yaml
from dipstage.errors import InputError
from search.objectives import Objective
from search.paths import brief, curve_path, is_there, picture_path, run_folder, runs_path
from search.records import Trial, front_of, pick_of, row
from search.storage import PatientStorage, open_storage, storage_address
from search.study import is_interrupted, load_study, objective_of

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

    def pick(self, which: str, records: list[Trial] | None = None) -> Trial:
        """A trial by its number, or of the front by rule; InputError if there is none.

        knee, psnr, steps: the front's knee, its highest PSNR_GT, its fewest steps.
        records: as they were read, where they have just been.
        """
        records = self.records() if records is None else records
        if which.isdecimal():
            for trial in records:
                if trial.number == int(which):
                    if trial.state != "complete":
                        raise InputError(f"trial {which} is {trial.state}: pick a complete one")
                    return trial
            raise InputError(f"run {self.name!r} has no trial {which}")
        members = front_of(records)
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
