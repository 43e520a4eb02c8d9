"""What a search found, in words and tables."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from dipstage.documents.schedule_file import Measure
from dipstage.stopping import OUTPUTS, Output
from dipstage.terminal.console import LongTable, table
from search.analysis.front import front_of, pick
from search.experiment.objectives import Objective
from search.presentation.front import relation
from search.presentation.words import censored, spread
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = [
    "schedule",
    "max PSNR_GT (dB)",
    "max SSIM_GT",
    "stages",
    "ramp",
    "against the others",
]


def front_table(run: RunRecord) -> Table:
    """The front, fewest steps first, and the candidates that are not on it."""
    trials = run.records()
    members = front_of(trials)
    behind = [t for t in trials if t.candidate and t.values is not None and t not in members]
    knee = pick(run, "knee") if members else None
    objective = run.objective
    rows = [
        _row(trial, objective, relation(trial, trials, members), trial == knee) for trial in members
    ]
    rows += [_row(trial, objective, relation(trial, trials, members), False) for trial in behind]
    n = max((len(trial.replicates) for trial in members), default=0)
    title = (
        f"{run.name}: front of {len(members)}"
        + (f", then {len(behind)} candidates behind it" if behind else "")
        + f"; {objective.output} output, mean ± standard deviation over {n} replicates"
    )
    columns = [_COLUMNS[0], objective.steps_words, *_COLUMNS[1:]]
    return table(columns, rows, title, left=(0, 6))


def _row(trial: Trial, objective: Objective, words: str, is_knee: bool) -> list[str]:
    schedule, output = trial.schedule, objective.output
    return [
        trial.name + (" (knee)" if is_knee else ""),
        censored(trial, output) + spread(trial.measure(output, objective.steps_key), 0),
        spread(trial.measure(output, "max_psnr_gt_db"), 2),
        spread(trial.measure(output, "max_ssim_gt"), 3),
        str(len(schedule.stages)) if schedule else "",
        str(schedule.ramp) if schedule else "",
        words,
    ]


def comparison_table(run: RunRecord, output: Output) -> Table:
    """Candidates in the form of the report's table, with paired differences to plain DIP.

    Steps are iterations. Differences are taken replicate by replicate.
    """
    candidates = [t for t in run.records() if t.candidate and t.values is not None]
    plain = next((t for t in candidates if t.is_plain), None)
    rows = []
    for trial in candidates:
        row = [
            trial.name,
            censored(trial, output) + spread(trial.measure(output, "steps_to_max"), 0),
            spread(trial.measure(output, "max_psnr_gt_db"), 2),
            f"{trial.measure(output, 'steps_to_max_ssim_gt').mean:.0f}",
            f"{trial.measure(output, 'max_ssim_gt').mean:.3f}",
            f"{trial.measure(output, 'final_psnr_gt_db').mean:.2f}",
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
    title = f"{run.name}: {output} output, mean ± standard deviation over {n} replicates"
    return table(columns, rows, title)


def _against(trial: Trial, plain: Trial | None, output: Output) -> list[str]:
    """Paired difference of max PSNR_GT, how often it is above 0, and the ratio of mean steps."""
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
    steps = [
        fmean(t.replicates[k].scores(output).steps_to_max for k in keys) for t in (trial, plain)
    ]
    ratio = f"{steps[0] / steps[1]:.2f}" if steps[1] else ""
    return [spread(gain, 2, "+"), f"{sum(g > 0 for g in gains)} of {len(gains)}", ratio]


def budget_table(run: RunRecord, budget: int, ranked: list[tuple[Trial, Measure]]) -> Table:
    """The best schedules for a budget, and the candidates, with what they attain."""
    shown = [pair for i, pair in enumerate(ranked) if i < 5 or pair[0].candidate]
    best = ranked[0][1].mean
    rows = [
        [
            str(1 + ranked.index((trial, measure))),
            trial.name,
            spread(measure, 2),
            f"{measure.mean - best:+.2f}" if measure.mean < best else "",
            str(len(trial.schedule.stages)) if trial.schedule else "",
            str(trial.schedule.ramp) if trial.schedule else "",
        ]
        for trial, measure in shown
    ]
    columns = ["", "schedule", f"PSNR_GT by {budget} (dB)", "to the best", "stages", "ramp"]
    title = (
        f"{run.name}: best PSNR_GT attained in {budget} iterations; {run.objective.output} "
        f"output, mean ± standard deviation over {ranked[0][1].n} replicates"
    )
    return table(columns, rows, title, left=(1,))


def trials_table(run: RunRecord) -> LongTable:
    """Every trial as a row."""
    objective = run.objective
    rows = []
    for trial in run.records():
        rows.append(
            [
                trial.name,
                f"raced after {len(trial.replicates)}" if trial.state == "raced" else trial.state,
                *_objectives(trial, objective),
                str(len(trial.schedule.stages)) if trial.schedule else "",
                str(trial.schedule.ramp) if trial.schedule else "",
                f"{trial.wall_s:.0f}",
                trial.failure or _words(trial),
            ]
        )
    columns = [
        "schedule",
        "state",
        objective.steps_words,
        "max PSNR_GT (dB)",
        "stages",
        "ramp",
        "training (s)",
        "parameters, or why it failed",
    ]
    return LongTable(columns, rows, run.name, left=(0, 1, 7))


def _objectives(trial: Trial, objective: Objective) -> list[str]:
    """Steps and PSNR_GT; `~` marks what a raced trial was predicted to reach."""
    if trial.estimate is not None:
        return [f"~ {trial.estimate[1]:.0f}", f"~ {trial.estimate[0]:.2f}"]
    if trial.values is None:
        return ["", ""]
    output = objective.output
    return [
        spread(trial.measure(output, objective.steps_key), 0),
        spread(trial.measure(output, "max_psnr_gt_db"), 2),
    ]


def _words(trial: Trial) -> str:
    """The parameters in short; weights are only counted."""
    weights = sum(name.startswith("weight_") for name in trial.params)
    parts = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.params.items()
        if not name.startswith("weight_") and name not in ("stages", "ramp")
    ]
    return ", ".join(parts + ([f"{weights} weights"] if weights else []))


def print_findings(run: RunRecord, print_: Callable[..., None]) -> None:
    """All tables that the end of a search shows."""
    if run.trials_wanted:
        print_(front_table(run))
        print_()
    if any(t.candidate and t.values is not None for t in run.records()):
        for output in OUTPUTS:
            print_(comparison_table(run, output))
            print_()
