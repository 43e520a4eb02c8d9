"""Tables of what a search found."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev

from dipstage.documents.schedule_file import Measure
from dipstage.stopping import OUTPUTS, Output
from dipstage.terminal.fitted import FittedTable, bound
from dipstage.terminal.numbers import DB, RATIO, SSIM, db, fixed, steps
from search.analysis.censoring import cut_off
from search.experiment.objectives import Objective
from search.presentation.front import Cells, front_rows, observation_psnr_gt_db
from search.presentation.verdicts import plain_of
from search.presentation.words import mean_over, parameter, spread
from search.store.records import Trial
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
    settings = ["settings"] * any(row.cells.settings for row in shown)
    rows = [
        [
            row.name,
            c.steps,
            c.psnr_db,
            c.beside,
            c.stages,
            c.ramp,
            *(bound(c.settings) for _ in settings),
            bound(row.relation),
        ]
        for row in shown
        for c in (row.cells,)
    ]
    n = max((len(row.trial.replicates) for row in members), default=0)
    title = (
        f"{run.name}: front of {len(members)}"
        + (f", then {behind} candidate{'s' * (behind > 1)} not on it" if behind else "")
        + f"; {objective.output} output, {mean_over(n)}"
        + ("" if observed is None else f"; observations: {db(observed)} dB")
    )
    measures = [objective.steps_words, objective.quality.label, objective.beside.label]
    columns = ["schedule", *measures, "stages", "ramp", *settings]
    words = tuple(range(6, 7 + len(settings)))
    drop = (3, 5, 4, *reversed(words))
    return FittedTable(
        [*columns, "against the others"], rows, title, left=(0, *words), flow=words, drop=drop
    )


def comparison_table(run: RunRecord, output: Output) -> FittedTable:
    """Return the candidates in one output, with paired differences to plain DIP.

    Differences are taken replicate by replicate.
    """
    candidates = [t for t in run.records() if t.candidate and t.values is not None]
    plain = plain_of(candidates)
    rows = []
    for trial in candidates:
        cells = Cells.of(trial, Objective(output))
        row = [
            cells.name,
            cells.steps,
            cells.psnr_db,
            steps(trial.measure(output, "steps_to_max_ssim_gt").mean),
            fixed(trial.measure(output, "max_ssim_gt").mean, SSIM),
            db(trial.measure(output, "final_psnr_gt_db").mean),
        ]
        rows.append([*row, *_against(trial, plain, output)])
    n = max((len(trial.replicates) for trial in candidates), default=0)
    columns = [
        "schedule",
        "steps to\nmax PSNR_GT",
        "max PSNR_GT\n(dB)",
        "steps to\nmax SSIM_GT",
        "max SSIM_GT",
        "final\nPSNR_GT",
        "dB above\nbaseline",
        "higher\nin",
        "steps /\nbaseline",
    ]
    title = f"{run.name}: {output} output, {mean_over(n)}"
    return FittedTable(columns, rows, title, drop=(3, 5, 4, 7, 8))


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
    rows = [
        [
            str(1 + ranked.index((trial, measure))),
            trial.name,
            spread(measure, DB),
            db(measure.mean - best, "+") if measure.mean < best else "",
            str(len(trial.schedule.stages)) if trial.schedule else "",
            str(trial.schedule.ramp) if trial.schedule else "",
        ]
        for trial, measure in shown
    ]
    columns = ["", "schedule", "best PSNR_GT (dB)", "vs. the best", "stages", "ramp"]
    title = (
        f"{run.name}: best PSNR_GT within {budget} iterations; {run.objective.output} "
        f"output, {mean_over(ranked[0][1].n)}"
    )
    return FittedTable(columns, rows, title, left=(1,), drop=(5, 4))


def trials_table(run: RunRecord) -> FittedTable:
    """Return every trial as a row."""
    objective, driven = run.objective, run.driver() is not None
    rows, names = [], {trial.number: trial.name for trial in run.records()}
    for trial in run.records():
        same = [] if trial.same_as is None else [f"same schedule as {names[trial.same_as]}"]
        cells = Cells.of(trial, objective)
        has_scores = trial.state in ("complete", "raced")
        rows.append(
            [
                trial.name,
                ", ".join(
                    filter(None, [state_words(trial, driven=driven), trial.infeasible_words])
                ),
                cells.steps if has_scores else "",
                cells.psnr_db if has_scores else "",
                cells.stages,
                cells.ramp,
                f"{trial.wall_s:.0f}",
                trial.failure or ", ".join(same + _words(trial)),
            ]
        )
    columns = [
        "schedule",
        "state",
        objective.steps_words,
        objective.quality.label,
        "stages",
        "ramp",
        "training (s)",
        "parameters, or why it failed",
    ]
    failed = [f"{t.name} failed: {t.failure}" for t in run.records() if t.failure]
    return FittedTable(
        columns, rows, run.name, left=(0, 1, 7), flow=(7,), drop=(7, 6, 5, 4), instead={7: failed}
    )


def state_words(trial: Trial, *, driven: bool) -> str:
    """Return a trial's state, and the replicates after which it was raced.

    Args:
        trial: The trial.
        driven: Whether a driver has the run: without one, no trial is running.
    """
    if trial.state == "running" and not driven:
        return "unfinished"
    return f"raced after {len(trial.replicates)}" if trial.state == "raced" else trial.state


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
