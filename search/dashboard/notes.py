"""What the dashboard says of a trial and of a search, in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from search.analysis.front import front_of, pick
from search.analysis.status import sentence, status_of
from search.presentation.front import relation

if TYPE_CHECKING:
    from dipstage.schedules import Schedule
    from search.store.records import Trial
    from search.store.run import RunRecord

_ROWS = 16
"""Of a table of stages: a schedule may have a thousand."""
_MEMBERS = 100
"""Of the table of a front."""


def trial_note(trial: Trial, wanted: int) -> str:
    """How a trial stands, and its schedule in words and as a table.

    wanted: replicates that make it complete; 0 where that is not known.
    """
    lines = [f"**{plain(trial.name)}** – {_standing(trial, wanted)}"]
    if trial.schedule is not None:
        lines += ["", *_schedule(trial, trial.schedule)]
    if trial.params:
        lines += ["", "### Family", "", *_table(["parameter", "value"], _params(trial))]
    return "\n".join(lines)


def _standing(trial: Trial, wanted: int) -> str:
    done = len(trial.replicates)
    of_all = f"{done} of {wanted} replicates" if wanted else f"{done} replicates"
    if trial.values is not None:
        psnr, steps = trial.values
        return f"{psnr:.2f} dB at {steps:.0f} iterations, mean over {done} replicates"
    if trial.estimate is not None:
        psnr, steps = trial.estimate
        return (
            f"raced: the front had beaten it after {of_all}; predicted {psnr:.2f} dB at "
            f"{steps:.0f} iterations"
        )
    if trial.state == "failed":
        return f"failed: {plain(trial.failure or 'no reason is known')}"
    return f"running, {of_all} done"


def _schedule(trial: Trial, schedule: Schedule) -> list[str]:
    rate = "" if trial.learning_rate is None else f" Learning rate {trial.learning_rate:.4g}"
    warmup = f", warmed up over {trial.warmup} iterations" if trial.warmup else ""
    end = f"{rate}{warmup}." if rate else ""
    stages = schedule.stages
    if schedule.is_plain:
        return [f"Plain DIP: the observation for all {schedule.iterations} iterations.{end}"]
    noised = len(stages) - 1
    targets = "one noised target" if noised == 1 else f"{noised} noised targets"
    heaviest = max(math.sqrt(1 - stage.alpha_bar) for stage in stages)
    return [
        f"{len(stages)} stages: {targets} over a ramp of {schedule.ramp} iterations, beginning "
        f"at noise {math.sqrt(1 - stages[0].alpha_bar):.3f} (heaviest {heaviest:.3f}), then the "
        f"observation for the other {stages[-1].iterations} of {schedule.iterations}.{end}",
        "",
        *_table(
            ["stage", "target's noise √(1 − ᾱ)", "ᾱ", "from iteration", "iterations"],
            _stages(schedule),
        ),
    ]


def _stages(schedule: Schedule) -> Iterable[list[str]]:
    rows = [
        [
            str(i + 1),
            f"{math.sqrt(1 - stage.alpha_bar):.3f}" if stage.alpha_bar < 1 else "none: observation",
            f"{stage.alpha_bar:.4g}",
            str(start),
            str(stage.iterations),
        ]
        for i, (stage, start) in enumerate(zip(schedule.stages, schedule.starts, strict=True))
    ]
    if len(rows) <= _ROWS:
        return rows
    half = _ROWS // 2
    return [*rows[:half], ["…", "…", "…", "…", "…"], *rows[-half:]]


def _params(trial: Trial) -> Iterable[list[str]]:
    for name, value in trial.params.items():
        yield [plain(name), f"{value:.4g}" if isinstance(value, float) else plain(str(value))]


def run_note(run: RunRecord) -> str:
    """How a search stands, and its front as a table, fewest steps first."""
    records = run.records()
    members = front_of(records)
    lines = [f"{plain(sentence(status_of(run)))}."]
    if members:
        knee = pick(run, "knee")
        rows = [
            [
                f"{plain(trial.name)}{' (knee)' if trial == knee else ''}",
                str(trial.number),
                f"{trial.score.steps_to_max:.0f}",
                f"{trial.score.max_psnr_gt_db:.2f}",
                str(len(trial.schedule.stages)) if trial.schedule else "",
                str(trial.schedule.ramp) if trial.schedule else "",
                plain(relation(trial, records, members)),
            ]
            for trial in members[:_MEMBERS]
        ]
        words = ["schedule", "trial", run.objective.steps_words, "max PSNR_GT (dB)"]
        columns = [*words, "stages", "ramp", "against the others"]
        lines += ["", f"### Front of {len(members)}", "", *_table(columns, rows)]
    lines += [
        "",
        "This is a copy that follows the study, to look at. Raced trials are shown as pruned, with "
        "the values that they were predicted.",
    ]
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def plain(text: str) -> str:
    """Text that Markdown takes as it stands: names and reasons come from files."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$:@])", r"\\\1", " ".join(text.split()))
