"""Tables of what a search found."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev

from dipstage.schedules.schedule_file import Measure
from dipstage.schedules.stopping import OUTPUTS, Output
from dipstage.terminal.fitted import Column, FittedTable, bound
from dipstage.terminal.numbers import DB, RATIO, SSIM, db, fixed, steps
from search.analysis.censoring import cut_off
from search.experiment.objectives import Objective
from search.presentation.front import Cells, FrontRow, front_rows, observation_psnr_gt_db
from search.presentation.words import mean_over, parameter, raced_words, spread
from search.store.records import Trial, plain_of
from search.store.run import RunRecord


def front_table(run: RunRecord) -> FittedTable:
    """Return the front, fewest steps first, and the candidates that are not on it.

    It has a column for what was sampled beside the staircase, if anything was.
    """
    objective = run.objective
    records = run.records()
    shown, observed = front_rows(records, objective), observation_psnr_gt_db(records)
    members = [row for row in shown if row.on_front]
    behind = len(shown) - len(members)
    n = max((len(row.trial.replicates) for row in members), default=0)
    title = (
        f"{run.name}: front of {len(members)}"
        + (f", then {behind} candidate{'s' * (behind > 1)} not on it" if behind else "")
        + f"; {objective.output} output, {mean_over(n)}"
        + ("" if observed is None else f"; observations: {db(observed)} dB")
    )
    columns: list[Column[FrontRow]] = [
        Column("schedule", lambda row: row.name, left=True),
        Column(objective.cost.words, lambda row: row.cells.steps),
        Column(objective.quality.label, lambda row: row.cells.psnr_db),
        Column(objective.beside.label, lambda row: row.cells.beside, drop=0),
        Column("stages", lambda row: row.cells.stages, drop=2),
        Column("ramp", lambda row: row.cells.ramp, drop=1),
        Column("settings", lambda row: bound(row.cells.settings), left=True, flow=True, drop=4),
        Column("against the others", lambda row: bound(row.relation), left=True, flow=True, drop=3),
    ]
    if not any(row.cells.settings for row in shown):
        del columns[-2]
    return FittedTable.of(columns, shown, title)


def comparison_table(run: RunRecord, output: Output) -> FittedTable:
    """Return the candidates in one output, with paired differences to plain DIP.

    Differences are taken replicate by replicate.
    """
    candidates = [t for t in run.records() if t.candidate and t.values is not None]
    plain = plain_of(candidates)
    cells = {trial.number: Cells.of(trial, Objective(output)) for trial in candidates}
    against = {trial.number: _against(trial, plain, output) for trial in candidates}

    def mean(trial: Trial, key: str) -> float:
        return trial.measure(output, key).mean

    columns: list[Column[Trial]] = [
        Column("schedule", lambda t: t.name, left=True),
        Column("steps to\nmax PSNR_GT", lambda t: cells[t.number].steps),
        Column("max PSNR_GT\n(dB)", lambda t: cells[t.number].psnr_db),
        Column("steps to\nmax SSIM_GT", lambda t: steps(mean(t, "steps_to_max_ssim_gt")), drop=0),
        Column("max SSIM_GT", lambda t: fixed(mean(t, "max_ssim_gt"), SSIM), drop=2),
        Column("final\nPSNR_GT", lambda t: db(mean(t, "final_psnr_gt_db")), drop=1),
        Column("dB above\nbaseline", lambda t: against[t.number][0]),
        Column("higher\nin", lambda t: against[t.number][1], drop=3),
        Column("steps /\nbaseline", lambda t: against[t.number][2], drop=4),
    ]
    n = max((len(trial.replicates) for trial in candidates), default=0)
    return FittedTable.of(columns, candidates, f"{run.name}: {output} output, {mean_over(n)}")


def _against(trial: Trial, plain: Trial | None, output: Output) -> list[str]:
    """Return the mean gain in max PSNR_GT, how often it is above 0, and the ratio of steps."""
    if plain is None or trial is plain:
        return ["", "", ""]
    keys = [key for key in trial.replicates if key in plain.replicates]
    gains = [
        trial.replicates[key].scores(output).max_psnr_gt_db
        - plain.replicates[key].scores(output).max_psnr_gt_db
        for key in keys
    ]
    if not gains:
        return ["", "", ""]
    gain = Measure(fmean(gains), len(gains), stdev(gains) if len(gains) > 1 else None)
    ours, plains = (
        fmean(t.replicates[k].scores(output).steps_to_max for k in keys) for t in (trial, plain)
    )
    ratio = fixed(ours / plains, RATIO) if plains else ""
    return [spread(gain, DB, "+"), f"{sum(g > 0 for g in gains)} of {len(gains)}", ratio]


def budget_table(run: RunRecord, budget: int, ranked: list[tuple[Trial, Measure]]) -> FittedTable:
    """Return the best schedules for a budget, and the candidates, with what they attain."""
    shown = [pair for i, pair in enumerate(ranked) if i < 5 or pair[0].candidate]
    best = ranked[0][1].mean
    columns: list[Column[tuple[Trial, Measure]]] = [
        Column("", lambda pair: str(1 + ranked.index(pair))),
        Column("schedule", lambda pair: pair[0].name, left=True),
        Column("best PSNR_GT (dB)", lambda pair: spread(pair[1], DB)),
        Column("vs. the best", lambda p: db(p[1].mean - best, "+") if p[1].mean < best else ""),
        Column("stages", lambda p: str(len(p[0].schedule.stages)) if p[0].schedule else "", drop=1),
        Column("ramp", lambda p: str(p[0].schedule.ramp) if p[0].schedule else "", drop=0),
    ]
    title = (
        f"{run.name}: best PSNR_GT within {budget} iterations; {run.objective.output} "
        f"output, {mean_over(ranked[0][1].n)}"
    )
    return FittedTable.of(columns, shown, title)


def trials_table(run: RunRecord) -> FittedTable:
    """Return every trial as a row."""
    objective, driven, trials = run.objective, run.driver() is not None, run.records()
    names = {trial.number: trial.name for trial in trials}
    cells = {trial.number: Cells.of(trial, objective) for trial in trials}

    def state(trial: Trial) -> str:
        return ", ".join(filter(None, [state_words(trial, driven=driven), trial.infeasible_words]))

    def scored(trial: Trial, cell: str) -> str:
        return cell if trial.state in ("complete", "raced") else ""

    def words(trial: Trial) -> str:
        same = [] if trial.same_as is None else [f"same schedule as {names[trial.same_as]}"]
        return trial.failure or ", ".join(same + _words(trial))

    columns: list[Column[Trial]] = [
        Column("schedule", lambda t: t.name, left=True),
        Column("state", state, left=True),
        Column(objective.cost.words, lambda t: scored(t, cells[t.number].steps)),
        Column(objective.quality.label, lambda t: scored(t, cells[t.number].psnr_db)),
        Column("stages", lambda t: cells[t.number].stages, drop=3),
        Column("ramp", lambda t: cells[t.number].ramp, drop=2),
        Column("training (s)", lambda t: f"{t.wall_s:.0f}", drop=1),
        Column("parameters, or why it failed", words, left=True, flow=True, drop=0),
    ]
    failed = [f"{t.name} failed: {t.failure}" for t in trials if t.failure]
    return FittedTable.of(columns, trials, run.name, instead={len(columns) - 1: failed})


def state_words(trial: Trial, *, driven: bool) -> str:
    """Return a trial's state, and why it was raced.

    Unless the run is `driven`, that is has a driver, no trial is running.
    """
    if trial.state == "running" and not driven:
        return "unfinished"
    return raced_words(trial.raced) if trial.raced else trial.state


def _words(trial: Trial) -> list[str]:
    """Return the parameters in short; weights are only counted."""
    weights = sum(name.startswith("weight_") for name in trial.params)
    parts = [
        parameter(name, value)
        for name, value in trial.params.items()
        if not name.startswith("weight_") and name not in ("stages", "ramp")
    ]
    return parts + ([f"{weights} weights"] if weights else [])


def print_findings(run: RunRecord, print_: Callable[..., None]) -> None:
    """Print all tables that the end of a search shows, after what limits them."""
    if (warning := cut_off(run, run.records())) is not None:
        print_(f"warning: {warning}\n", markup=False)
    if run.trials_wanted:
        print_(front_table(run))
        print_()
    if any(t.candidate and t.values is not None for t in run.records()):
        for output in OUTPUTS:
            print_(comparison_table(run, output))
            print_()
