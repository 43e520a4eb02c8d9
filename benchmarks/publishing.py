"""Write a finished verification in a form that can be published: every score, and what judged them.

The folder holds no names of machines and no paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from published import PAIRS, RECORD, REPLICATES, HeldOut, Published, Record

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_asked
from dipstage.errors import InputError
from dipstage.schedules.stopping import OUTPUTS, Output
from dipstage.tasks.problem import Task
from dipstage.tasks.registry import in_words, plain_task, without_folders
from search.analysis.common_target import judged_curve, times_to_target
from search.analysis.status import status_of
from search.experiment.objectives import Objective
from search.presentation.provenance import facts, provenance
from search.presentation.remarks import remarks
from search.presentation.replicates import rows_of_replicates
from search.presentation.rows import write_rows
from search.presentation.tuning import remarks_on_tuning
from search.store.records import Trial
from search.store.replicate import ReplicateKey, versions_of
from search.store.run import RunRecord
from search.verification.confirmation import PLAIN, Confirmation
from search.verification.export import file_names
from search.verification.parts import CONFIRMATION, HELD_OUT
from search.verification.result import Verification
from search.verification.verdicts import Curves, Entry, entry_of

Row: TypeAlias = dict[str, Any]


def rows_of_pairs(verification: Verification) -> list[Row]:
    """Return a row for each replicate of each comparison, in both outputs.

    A row has both maxima, the steps and the times to the common target of the schedule and of the
    reference. Those of the confirmation come first.
    """
    rows: Iterator[Row] = iter(())
    confirmation = Confirmation.open(verification.run)
    if confirmation is not None:
        asked = [
            (c.schedule, PLAIN, output) for c in confirmation.comparisons for output in OUTPUTS
        ]
        rows = chain(rows, _pairs(confirmation.made, CONFIRMATION, verification.run, asked))
    asked = [(c.schedule, c.reference, c.output) for c in verification.comparisons]
    return list(chain(rows, _pairs(verification.held_out, HELD_OUT, verification.run, asked)))


def _pairs(
    made: RunRecord, name: str, run: RunRecord, asked: Iterable[tuple[str, str, Output]]
) -> Iterator[Row]:
    entries = {trial.name: entry_of(made, trial) for trial in made.records()}
    for schedule, reference, output in asked:
        both = entries[schedule], entries[reference]
        objective = Objective(output, run.objective.tolerance_db)
        for key in both[1].replicates:
            if key in both[0].replicates:
                parsed = ReplicateKey.parse(key)
                cells: Row = {
                    "part": name, "schedule": schedule, "reference": reference, "output": output,
                    "picture": parsed.picture, "seed": parsed.seed,
                }  # fmt: skip
                yield cells | _paired(both, key, objective)


def _paired(both: tuple[Entry, Entry], key: str, objective: Objective) -> Row:
    output = objective.output
    ours, theirs = (judged_curve(_curves(entry)(key, output), output) for entry in both)
    times = times_to_target(ours, theirs)
    cells: Row = {}
    for prefix, entry, time in zip(("", "reference_"), both, times, strict=True):
        replicate = entry.replicates[key]
        score = replicate.score(objective)
        cells |= {
            f"{prefix}max_psnr_gt_db": score.max_psnr_gt_db,
            f"{prefix}steps": int(score.steps_to_max),
            f"{prefix}censored": int(bool(replicate.scores(output).censored)),
            f"{prefix}time": time,
            f"{prefix}s_per_iteration": round(replicate.wall_s / replicate.iterations, 6),
            f"{prefix}device": replicate.device,
        }
    return cells


def _curves(entry: Entry) -> Curves:
    assert entry.curves is not None
    return entry.curves


def publish(run: RunRecord, folder: Path, **more: str) -> Published:
    """Write the finished verification of a run into a folder.

    The files are `published.yaml`, `experiment.yaml`, `replicates.csv.gz` with all scores of all
    trainings, and `pairs.csv.gz` with the comparisons, replicate by replicate.

    Args:
        run: The run.
        folder: Where to write; made if it does not exist.
        **more: Further facts to keep, such as `processor` and `commit`.

    Returns:
        What was written, read again.

    Raises:
        InputError: The run has no finished verification with declared claims, or a file cannot be
            written or read.
    """
    verification = Verification.open(run)
    if verification is None or verification.plan.declared is None:
        raise InputError(f"run {run.name!r} has no finished verification with declared claims")
    records, held_out = run.records(), verification.held_out.records()
    origin = provenance(run, records, verification)
    experiment = run.experiment
    found = dict(facts(run, records, status_of(run), verification)) | dict(origin.facts)
    network = f"width {experiment.trainer.width}, scales {experiment.trainer.scales}"
    found |= {"network": network} | _held_out_facts(held_out) | more
    # The page computes these from the published scores.
    computed = set(remarks_on_tuning(verification))
    record = Record(
        run=run.name,
        task=_named(experiment.task),
        sigma_255=experiment.task.noise_255,
        size=experiment.size,
        plan=replace(verification.plan, images=file_names(verification.plan.images)),
        schedules=[_held_out(verification, trial) for trial in held_out],
        facts={label: words for label, words in found.items() if label != "run"},
        remarks=[line for line in remarks(verification) if line not in computed],
        commands=origin.commands,
        digests=dict(origin.digests),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(rows_of_replicates(run), folder / REPLICATES, own=True)
    write_rows(rows_of_pairs(verification), folder / PAIRS, own=True)
    write_asked(folder / "experiment.yaml", origin.experiment, own=True)
    write_asked(folder / RECORD, yaml_text(to_plain(record, {})), own=True)
    return Published.open(folder)


def _named(task: Task) -> str:
    """Return the kind of Gaussian denoising, whose noise stands beside it, and others in words."""
    plain = plain_task(without_folders(task))
    gaussian = plain.keys() == {"kind", "sigma_255", "clip"} and plain["clip"]
    return task.kind if gaussian else in_words(plain)


def _held_out_facts(trials: Sequence[Trial]) -> dict[str, str]:
    replicates = [each for trial in trials for each in trial.replicates.values()]
    versions = versions_of(replicates)
    return {
        "device, verification": ", ".join(sorted({each.device for each in replicates})),
        "precision, verification": ", ".join(
            sorted({each.precision or "unknown" for each in replicates})
        ),
        "versions, verification": ", ".join(f"{name} {v}" for name, v in versions.items()),
    }


def _held_out(verification: Verification, trial: Trial) -> HeldOut:
    is_claimed = verification.claim(trial.name) is not None
    references = sorted(verification.references(trial.name)) if is_claimed else None
    schedule = trial.schedule
    assert schedule is not None
    return HeldOut(
        trial.name, verification.role(trial), verification.source(trial), references,
        schedule.pairs, schedule.recipe,
    )  # fmt: skip
