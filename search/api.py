"""The public Python interface: `launch`, `resume` and `Run`. No module of `search` imports it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.errors import InputError
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from search.analysis.status import Status
    from search.execution.view import View
    from search.experiment.model import Experiment
    from search.experiment.space import Point
    from search.plots.curves import Outputs
    from search.plots.schedules import Level
    from search.plots.spread import Errors
    from search.plots.style import Plot, Style


@dataclass(frozen=True, repr=False)
class Run(RunRecord):
    """A finished or running search: its trials, front, figures, exports and report."""

    @classmethod
    def of(cls, record: RunRecord) -> Run:
        """Return the public object for a record."""
        return cls(record.folder, record.study, record.storage, record.address)

    def trials(self) -> pd.DataFrame:
        """Return one row for each trial: state, objectives, scores, schedule and cost.

        Returns:
            A data frame with the columns of `dipsearch trials --csv`.
        """
        import pandas as pd

        from search.analysis.trial_rows import row

        return pd.DataFrame([row(trial, self.objective) for trial in self.records()])

    def replicates(self) -> pd.DataFrame:
        """Return one row for each replicate, those of a confirmation and a verification included.

        Returns:
            A data frame with the columns of `dipsearch trials --replicates --csv`: run, role,
            trial, picture, seed, scores of both outputs and cost.
        """
        import pandas as pd

        from search.presentation.replicates import rows_of_replicates

        return pd.DataFrame(rows_of_replicates(self))

    def status(self) -> Status:
        """Return the status of the search in numbers: trials by state, the best, the time left."""
        from search.analysis.status import status_of

        return status_of(self)

    def front(self) -> list[Trial]:
        """Return the trials that no other trial dominates, fewest steps first."""
        from search.analysis.front import front_of

        return front_of(self.records())

    def pick(self, which: str | int) -> Trial:
        """Return a trial by its number or name, or a member of the front by rule.

        Args:
            which: a trial's number, a candidate's name, or the rule: `knee` for the knee of the
                front, `psnr` for its highest PSNR_GT, `steps` for its fewest steps. A search for
                other objectives also takes their names, such as `ssim` and `seconds`.

        Returns:
            The trial.

        Raises:
            InputError: if there is no such trial, or no complete trial.
        """
        from search.analysis.front import pick

        return pick(self, which)

    def point(self, trial: Trial | str | int) -> Point | None:
        """Return a sampled trial's point in the search space; None for a candidate.

        Args:
            trial: the trial, or what `Run.pick` takes.

        Raises:
            InputError: if there is no such trial.
        """
        return super().point(self._trial(trial))

    def curves(self, trial: Trial | str | int, key: str) -> dict[str, NDArray[Any]]:
        """Return the curves of a finished replicate by name: the fields of `Trace`.

        Args:
            trial: the trial, or what `Run.pick` takes.
            key: the replicate, one of the keys of `Trial.replicates`.

        Raises:
            InputError: if there is no such trial, or if the file is missing or holds no curves.
        """
        return super().curves(self._trial(trial), key)

    def _trial(self, given: Trial | str | int) -> Trial:
        return given if isinstance(given, Trial) else self.pick(given)

    def export(self, pick: str | int = "knee", output: Path | str | None = None) -> Path:
        """Write the schedule of a trial to a file.

        If the run is verified, `knee`, `psnr` and `steps` prefer schedules that were shown to be
        better than plain DIP, then those that are not worse, to the rest of the front.

        Args:
            pick: a trial's number, `knee`, `psnr` or `steps` as in `Run.pick`, or `fast` or `best`
                for the schedule that a verification claims, or would claim, to be faster or higher.
            output: the schedule file to write; best.yaml in the run's folder by default.

        Returns:
            The path of the schedule file.

        Raises:
            InputError: if there is no such trial, or if the file cannot be written.
        """
        from search.verification.export import choose, export

        return export(self, choose(self, pick), _output_path(output))

    def export_front(self, output: Path | str | None = None) -> list[Path]:
        """Write the whole front to a folder, one schedule file for each trial.

        Args:
            output: the folder; `front` in the run's folder by default. An earlier front in it is
                replaced.

        Returns:
            The paths of the schedule files, fewest steps first.

        Raises:
            InputError: if there is no front, or if the folder holds something else or cannot be
                written.
        """
        from search.verification.export import export_front

        return export_front(self, _output_path(output))

    def report(self, output: Path | str | None = None, images: Sequence[str | Path] = ()) -> Path:
        """Write the run's report as one HTML file.

        Args:
            output: the file to write; report.html in the run's folder by default.
            images: pictures of the run that are not where its experiment says.

        Returns:
            The path of the report.

        Raises:
            InputError: if the file cannot be written, or is a report that shows more than this one
                would.
        """
        from search.report import write_report

        return write_report(self, _output_path(output), images)

    def plot_front(
        self, style: Style = "screen", errors: Errors = "paired", from_db: float | None = None
    ) -> Plot:
        """Draw maximum PSNR_GT over steps: the front, the candidates and the dominated trials.

        Args:
            style: `screen`, or `paper` for a column of print.
            errors: error bars: `paired` for the paired standard error, `std` for the standard
                deviation over replicates, or `none`.
            from_db: lower end of the PSNR_GT axis.

        Returns:
            A matplotlib figure.

        Raises:
            InputError: if an argument is not one of its choices.
        """
        from search.plots.front import plot_front

        return plot_front(self, style, errors, from_db)

    def plot_curves(
        self,
        *which: str | int,
        output: Outputs | None = None,
        style: Style = "screen",
        errors: Errors = "paired",
        from_db: float | None = None,
    ) -> Plot:
        """Draw PSNR_GT over iterations.

        Args:
            which: trials by number, candidates by name, or `knee`, `psnr`, `steps`; by default the
                knee and the candidates.
            output: `raw`, `smoothed` or `both`; by default the output that is optimised.
            style: `screen`, or `paper` for a column of print.
            errors: bands: `paired` for the paired standard error, `std` for the standard
                deviation over replicates, or `none`.
            from_db: lower end of the PSNR_GT axis.

        Returns:
            A matplotlib figure.

        Raises:
            InputError: if an argument is not one of its choices, or if a trial has no curve.
        """
        from search.plots.curves import plot_curves

        return plot_curves(self, which, output, style, errors, from_db)

    def plot_schedule(
        self, *which: str | int, level: Level = "stage", style: Style = "screen"
    ) -> Plot:
        """Draw schedules as staircases over iterations.

        Args:
            which: trials by number, candidates by name, or `knee`, `psnr`, `steps`; by default
                those of the knee and the candidates that have more than one stage.
            level: `stage` for the index of the stage, `alpha-bar` for the noise level, `sigma` for
                the standard deviation of the added noise.
            style: `screen`, or `paper` for a column of print.

        Returns:
            A matplotlib figure.

        Raises:
            InputError: if an argument is not one of its choices, or if a trial has no schedule.
        """
        from search.plots.schedules import plot_schedules

        return plot_schedules(self, which, level, style)

    def plot_importance(self, style: Style = "screen") -> Plot:
        """Draw the importance of each parameter for each objective.

        Args:
            style: `screen`, or `paper` for a column of print.

        Returns:
            A matplotlib figure.

        Raises:
            InputError: if there are too few trials, or if no parameter matters.
        """
        from search.plots.importance import plot_importance

        return plot_importance(self, style)

    def plot_attainment(self, budget: int | None = None, style: Style = "screen") -> Plot:
        """Draw the best PSNR_GT so far over iterations, for the candidates and the best schedule.

        Args:
            budget: the number of iterations for which the best schedule is chosen; by default the
                search's own.
            style: `screen`, or `paper` for a column of print.

        Returns:
            A matplotlib figure.

        Raises:
            InputError: if no trial is complete, or if `style` is not one of its choices.
        """
        from search.plots.attainment import plot_attainment

        return plot_attainment(self, budget=budget, style=style)

    def _repr_html_(self) -> str:
        from search.notebook import run_html

        return run_html(self)


def _concluded(start: Callable[[View], RunRecord], view: View | None) -> Run:
    """Run a search under a view, and write into its folder what the command writes."""
    from search.analysis.front import front_of
    from search.commands.results import write_results
    from search.notebook import chosen_view

    with chosen_view(view) as shown:
        run = Run.of(start(shown))
    if front_of(run.records()):
        write_results(run)
    try:
        run.report()
    except Exception as error:  # A missing report must not fail a finished search.
        warnings.warn(f"the report could not be written: {error}", stacklevel=3)
    return run


def launch(
    experiment: Experiment | Path | str,
    *,
    runs_dir: Path | str | None = None,
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
) -> Run:
    """Start a search and wait until it ends.

    Like the command, it writes best.yaml, pareto.csv, front.png and report.html into the run's
    folder.

    Args:
        experiment: the experiment, whose paths are relative to the current folder, or the file or
            name that `load_experiment` takes.
        runs_dir: the folder that holds all runs, or an address on object storage; by default the
            one in the environment, as DIPSEARCH_RUNS_DIR, or else `runs`.
        storage: the address of a database for the study; SQLite in the run's folder by default.
        address: the address of a running Ray cluster; a local one is started by default.
        view: receives and shows the progress. By default it is shown in a terminal and in a
            notebook; `search.Quiet()` shows nothing.

    Returns:
        The finished run.

    Raises:
        InputError: before anything starts, if the run exists already, or if the experiment, its
            pictures, its candidates or its resources are wrong.
        WorkError: if the search ends early; `resume` continues it.
    """
    from search.execution import driver
    from search.experiment.reading import as_experiment

    asked = as_experiment(experiment)

    def start(shown: View) -> RunRecord:
        return driver.launch(asked, runs_dir=runs_dir, storage=storage, address=address, view=shown)

    return _concluded(start, view)


def resume(
    name: str | Path | RunRecord,
    *,
    trials: int | None = None,
    hours: float | None = None,
    runs_dir: Path | str | None = None,
    storage: str | None = None,
    address: str | None = None,
    view: View | None = None,
    experiment: Experiment | Path | str | None = None,
    accept_changes: bool = False,
) -> Run:
    """Continue a run that was interrupted or should get more trials, and wait until it ends.

    Args:
        name: the run's name, a path to its folder, or the run.
        trials: the total number of sampled trials; by default the number last asked for.
        hours: the total of `search.hours`; by default those last asked for.
        runs_dir: the folder that holds all runs, or an address on object storage; by default the
            one in the environment, as DIPSEARCH_RUNS_DIR, or else `runs`.
        storage: the address of a database for the study; SQLite in the run's folder by default.
        address: the address of a running Ray cluster; a local one is started by default.
        view: receives and shows the progress, by default as in `launch`.
        experiment: the experiment with new paths, or its file, if its pictures have moved.
        accept_changes: continue even if resources, racing, sampling, logging or code have changed
            since the run began.

    Returns:
        The finished run.

    Raises:
        InputError: if the run does not exist, if another driver holds it, if a picture or a setting
            that affects the results has changed, or if the run already has more trials than
            `trials`.
        WorkError: if the search ends early; `resume` continues it.
    """
    from search.execution import driver
    from search.experiment.reading import as_experiment

    if not isinstance(name, RunRecord):
        run = RunRecord.open(name, runs_dir, storage)
    elif runs_dir is storage is None:
        run = name.reread()
    else:
        raise InputError(f"{name!r} is open: leave out runs_dir and storage")
    given = None if experiment is None else as_experiment(experiment)

    def start(shown: View) -> RunRecord:
        return driver.drive(
            run, trials=trials, hours=hours, address=address, view=shown, given=given,
            accept_changes=accept_changes,
        )  # fmt: skip

    return _concluded(start, view)


def _output_path(output: Path | str | None) -> Path | None:
    """Return the path of an output that Python code asks for; None for the default."""
    if output is None:
        return None
    if not isinstance(output, str | os.PathLike) or not str(output):
        raise InputError(f"output must be the path of what to write, got {output!r}")
    return Path(output)
