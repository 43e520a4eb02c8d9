"""trials, pareto, compare, export: the commands that read the results of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dipstage.errors import InputError
from dipstage.terminal.console import echo_json, json_option, make_console, wide_option
from dipstage.terminal.number_types import Whole
from search.commands.drawing import check_figure_file, draw
from search.commands.shared import (
    echo_written,
    file_option,
    front_and_candidates,
    refuse_mixed,
    runs_dir_option,
    storage_option,
    with_run,
)
from search.presentation.rows import write_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from search.store.run import RunRecord


@click.command()
@file_option("--csv", "Write all columns to FILE.", holds="a CSV table")
@click.option(
    "--replicates",
    is_flag=True,
    help="With --csv or --json: a row for each replicate, including those of a confirmation and a "
    "verification.",
)
@json_option
@wide_option
@with_run
def trials(run: RunRecord, csv_file: Path | None, replicates: bool, as_json: bool) -> None:
    """List every trial as a row."""
    refuse_mixed(as_json, {"--csv": csv_file})
    if not as_json and csv_file is None:
        if replicates:
            raise InputError("--replicates needs a file: name one with --csv FILE, or give --json")
        from search.terminal.tables import trials_table

        make_console().print(trials_table(run))
    elif replicates:
        from search.presentation.replicates import rows_of_replicates

        _write(rows_of_replicates(run), as_json, csv_file)
    else:
        from search.analysis.trial_rows import row

        _write([row(trial, run.objective) for trial in run.records()], as_json, csv_file)


@click.command()
@json_option
@file_option("--csv", "Write the front and the candidates to FILE.", holds="a CSV table")
@file_option("--plot", "Draw the front to FILE: .png, .svg or .pdf.")
@click.option(
    "--budget",
    type=Whole(),
    metavar="N",
    help="Rank the schedules by their best PSNR_GT within N iterations, instead of showing the "
    "front. --plot then draws the best PSNR_GT so far over iterations.",
)
@wide_option
@with_run
def pareto(
    run: RunRecord, as_json: bool, budget: int | None, csv_file: Path | None, plot_file: Path | None
) -> None:
    """Show the front and the candidates.

    Candidates are the presets and schedule files that the experiment names.
    """
    from search.analysis.front import front_of, nothing_yet
    from search.terminal.tables import print_findings

    if not front_of(records := run.records()):
        raise nothing_yet(run, records)
    refuse_mixed(as_json, {"--csv": csv_file, "--plot": plot_file})
    check_figure_file(plot_file, "--plot")
    if budget is not None:
        _best_for_budget(run, budget, as_json, csv_file, plot_file)
        return

    _deliver(
        front_and_candidates(run), as_json, csv_file, plot_file,
        lambda: print_findings(run, make_console().print), lambda: draw(run, "front"),
    )  # fmt: skip


def _deliver(
    rows: list[dict[str, Any]], as_json: bool, csv_file: Path | None, plot_file: Path | None,
    show: Callable[[], None], draw: Callable[[], Figure],
) -> None:  # fmt: skip
    """Write the files that were asked for; without any, print rows as JSON or show tables."""
    if not as_json and csv_file is None and plot_file is None:
        show()
    _write(rows, as_json, csv_file)
    if plot_file is not None:
        from dipstage.terminal.plots import save_figure

        save_figure(draw(), plot_file)
        echo_written(plot_file, f"written: {plot_file}")


def _write(rows: list[dict[str, Any]], as_json: bool, csv_file: Path | None) -> None:
    """Write rows where they were asked for: on standard output, or to a file."""
    if as_json:
        echo_json(rows)
    if csv_file is not None:
        write_rows(rows, csv_file)
        echo_written(csv_file, f"written: {csv_file}")


def _best_for_budget(
    run: RunRecord, budget: int, as_json: bool, csv_file: Path | None, plot_file: Path | None
) -> None:
    from search.analysis.best_so_far import rank_by_budget
    from search.terminal.tables import budget_table

    ranked = rank_by_budget(run, budget)
    rows = [
        {
            "trial": trial.number,
            "name": trial.name,
            "budget": budget,
            "attained_psnr_gt_db": measure.mean,
            "attained_psnr_gt_db_std": measure.std,
            "replicates": measure.n,
        }
        for trial, measure in ranked
    ]

    def show() -> None:
        make_console().print(budget_table(run, budget, ranked))
        best = ranked[0][0]
        click.echo(
            f"best for {budget} iterations: {best.name}; export it with --pick {best.number}"
        )

    _deliver(
        rows, as_json, csv_file, plot_file, show,
        lambda: draw(run, "attainment", ranked=ranked, budget=budget),
    )  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, metavar="RUN RUN…")
@file_option("--csv", "Write hypervolume over trials and hours to FILE.", holds="a CSV table")
@file_option("--plot", "Draw hypervolume over trials and hours to FILE: .png, .svg or .pdf.")
@json_option
@wide_option
@storage_option
@runs_dir_option
def compare(
    names: tuple[str, ...],
    as_json: bool,
    csv_file: Path | None,
    plot_file: Path | None,
    storage: str | None,
    runs_dir: Path,
) -> None:
    """Compare searches of one task by their hypervolume.

    The hypervolume is shown over trials and over hours of training. Runs that differ only in the
    sampler's seed are repetitions of one search. For them the command also shows the PSNR_GT that
    a quarter, half and three quarters of the searches reached.
    """
    from search.analysis.comparison import check_comparable
    from search.plots.comparison import plot_comparison
    from search.store.run import RunRecord
    from search.terminal.comparison_tables import comparison_rows, print_comparison

    runs = [RunRecord.open(name, runs_dir, storage) for name in names]
    check_comparable(runs)
    refuse_mixed(as_json, {"--csv": csv_file, "--plot": plot_file})
    check_figure_file(plot_file, "--plot")
    _deliver(
        comparison_rows(runs), as_json, csv_file, plot_file,
        lambda: print_comparison(runs, make_console().print), lambda: plot_comparison(runs),
    )  # fmt: skip


@click.command()
@click.option(
    "--pick",
    metavar="knee|psnr|steps|fast|best|NUMBER|NAME",
    help="Schedule to write. knee, psnr and steps pick from the front: its knee, its highest PSNR, "
    "its fewest steps; other objectives, such as ssim, are picked by their names. fast and best "
    "are the schedules of the two claims of dipsearch verify; before a verification, they are "
    "those that it would take by default. A trial's number or a candidate's name picks that trial "
    "[default: knee].",
)
@click.option(
    "--all",
    "into_folder",
    is_flag=True,
    is_eager=True,
    help="Write the whole front to a folder, one file for each trial.",
)
@file_option(
    "--output",
    "File to write, or with --all the folder [default: best.yaml, or front, in the run's folder].",
    holds="YAML",
)
@with_run
def export(run: RunRecord, pick: str | None, into_folder: bool, output_file: Path | None) -> None:
    """Write the schedule of a trial to a file for dipstage run.

    In a verified run, schedules that were shown to be better than plain DIP are preferred, then
    those that are not worse, then the rest of the front.
    """
    from search.presentation.words import settings
    from search.verification.export import choose, export_front
    from search.verification.export import export as export_choice

    if into_folder:
        if pick is not None:
            raise InputError("--all and --pick cannot be combined: --all writes the whole front")
        written = export_front(run, output_file)
        count = len(written)
        click.echo(f"front of {count} written to {written[0].parent}/")
        return
    choice = choose(run, "knee" if pick is None else pick)
    path = export_choice(run, choice, output_file)
    sampled = f" ({words})" if (words := settings(choice.trial.params)) else ""
    echo_written(path, f"{choice.trial.name}{sampled} written to {path}; {choice.note}")
