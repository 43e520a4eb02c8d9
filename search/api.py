"""The public Python interface: `launch`, `resume` and `Run`. Nothing inside imports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from search.execution.view import View
    from search.experiment.model import Experiment
    from search.plots.curves import Outputs
    from search.plots.schedules import Level
    from search.plots.spread import Errors
    from search.plots.style import Plot, Style


@dataclass(frozen=True, repr=False)
class Run(RunRecord):
    """A finished or running search: its trials, front, figures, exports and report."""

    @classmethod
    def of(cls, record: RunRecord) -> Run:
        """Return the public view of a record."""
        return cls(record.folder, record.study, record.storage, record.address)

    def trials(self) -> pd.DataFrame:
        """Return one row for each trial: state, objectives, scores, schedule and cost."""
        import pandas as pd

        from search.analysis.trial_rows import row

        return pd.DataFrame([row(trial, self.objective) for trial in self.records()])

    def front(self) -> list[Trial]:
        """Return the trials that no other trial dominates, fewest steps first."""
        from search.analysis.front import front_of

        return front_of(self.records())

    def pick(self, which: str) -> Trial:
        """Return a trial by its number, or a member of the front by rule.

        Args:
            which: a trial's number, or `knee`, `psnr` or `steps`: the front's knee, its highest
                PSNR_GT, its fewest steps.

        Raises:
            InputError: if there is no such trial, or no complete one.
        """
        from search.analysis.front import pick

        return pick(self, which)

    def export(self, pick: str = "knee", output: Path | str | None = None) -> Path:
        """Write a schedule file, by default best.yaml in the run's folder; returns its path.

        Where the run is verified, schedules that held go before the others.
        """
        from search.verification.export import choose, export

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
        """Plot the best PSNR_GT by each iteration, and the best schedule for a budget."""
        from search.plots import plot_attainment

        return plot_attainment(self, budget=budget, style=style)

    def _repr_html_(self) -> str:
        from search.notebook import run_html

        return run_html(self)


def launch(
    experiment: Experiment,
    *,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> Run:
    """Start a search and wait until it ends.

    Args:
        experiment: what to run, from `load_experiment`.
        runs_dir: the folder of runs, or an address on object storage.
        storage: a database address for the study; SQLite in the run's folder by default.
        address: a running Ray cluster; a local one is started by default.
        view: what shows the progress; nothing by default.

    Returns:
        The finished run.

    Raises:
        InputError: before anything starts, if the run exists, or if the experiment, its pictures,
            its candidates or its resources are wrong.
        WorkError: if something ends the search early; `resume` continues it.
    """
    from search.execution import driver

    return Run.of(
        driver.launch(experiment, runs_dir=runs_dir, storage=storage, address=address, view=view)
    )


def resume(
    name: str,
    *,
    trials: int | None = None,
    runs_dir: Path | str = "runs",
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
    experiment: Experiment | None = None,
    accept_changes: bool = False,
) -> Run:
    """Continue a run, whatever ended it, and wait until it ends.

    Args:
        name: the run's name.
        trials: total number of sampled trials; as many as the run was asked for by default.
        runs_dir: the folder of runs, or an address on object storage.
        storage: a database address for the study.
        address: a running Ray cluster; a local one is started by default.
        view: what shows the progress; nothing by default.
        experiment: the experiment again, if its pictures have moved.
        accept_changes: continue although resources, racing, sampling, logging or code have
            changed since the run began.

    Returns:
        The finished run.

    Raises:
        InputError: if the run does not exist, if another driver holds it, if a picture or anything
            that affects the results has changed, or if it already has more trials than `trials`.
        WorkError: if something ends the search early.
    """
    from search.execution import driver

    return Run.of(
        driver.resume(
            name,
            trials=trials,
            runs_dir=runs_dir,
            storage=storage,
            address=address,
            view=view,
            experiment=experiment,
            accept_changes=accept_changes,
        )
    )
