"""A trial of a run as a schedule file, and which one is worth it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.documents.whole_files import refuse_to_replace
from dipstage.errors import InputError, WorkError, brief
from dipstage.schedules.presets import is_preset
from dipstage.schedules.schedule_file import (
    Gain,
    Measured,
    Provenance,
    ScheduleFile,
    Verified,
    save_schedule,
)
from dipstage.tasks.registry import plain_task, without_folders
from search.analysis.front import RULES, as_rule, front_of, nothing_yet, pick, pick_of
from search.store.folders import is_remote, replaced
from search.store.suggested import run_words

if TYPE_CHECKING:
    from search.store.records import Trial
    from search.store.run import RunRecord
    from search.verification.result import Verification


@dataclass(frozen=True)
class Choice:
    """A trial, the verification that it was chosen by, if any, and what to say of it."""

    trial: Trial
    verification: Verification | None
    note: str


def choose(run: RunRecord, which: str | int, records: list[Trial] | None = None) -> Choice:
    """`Run.pick`, from the schedules that held up in verification where there are any.

    Better ones go before those that are not worse. Among them the rule looks at what they did on
    the held-out pictures. A trial that is asked for by number or name is taken as it is, and so is
    the one that is claimed, or to be claimed, to be faster (`fast`) or higher (`best`).
    records: as they were read, where they have just been.
    """
    records = run.records() if records is None else records
    rule = as_rule(str(which), run.objective)
    if rule in ("fast", "best"):
        from search.verification.plan import claimed_trial

        which = claimed_trial(run, "time" if rule == "fast" else "psnr").number
    from search.verification.result import Verification

    verification = Verification.open(run)
    if verification is None:
        judged = run.objective.is_standard
        verify = f" (to verify it: dipsearch verify {run_words(run.folder)})" if judged else ""
        note = f"not verified{verify}"
        return Choice(pick(run, which, records), None, note)
    if rule in RULES:
        held = _best_held(verification)
        if held:
            trials = {trial.number: trial for trial in records}
            number = list(held)[pick_of([trial.score for trial in held.values()], rule)]
            verdict = verification.verdict(number)
            return Choice(trials[number], verification, f"verified: {verdict}")
    trial = pick(run, which, records)
    verdict = verification.verdict(trial.number)
    if trial.is_plain:
        note = f"{trial.name} is plain DIP, which the others are judged by"
    else:
        note = f"verified: {verdict}" if verdict else f"{trial.name} itself is not verified"
    if rule in RULES:
        note = f"no schedule was shown to be better than plain DIP, or not worse; {note}"
    return Choice(trial, verification, note)


def _best_held(verification: Verification) -> dict[int, Trial]:
    """Trials of the best class that there is, as they did on the held-out pictures.

    What was found goes before the candidates; plain DIP has no verdict and is never among them.
    """
    from search.verification.verdicts import Word

    for word in (Word.BETTER, Word.NOT_WORSE):
        for role in ("found", "candidate"):
            held = {
                number: trial
                for trial in verification.of_role(role)
                if (number := verification.source(trial)) is not None
                and trial.values is not None
                and (verdict := verification.verdict_of(trial.name)) is not None
                and verdict.word is word
            }
            if held:
                return held
    return {}


def export(run: RunRecord, choice: Choice, path: Path | None = None) -> Path:
    """Write the chosen schedule with what it was measured and verified on; returns the path."""
    trial, path = choice.trial, path or run.folder / "best.yaml"
    if trial.values is None:
        raise InputError(f"{trial.name} is {trial.state}: only complete trials can be exported")
    save_schedule(path, schedule_file(run, trial, choice.verification))
    return path


def schedule_file(
    run: RunRecord, trial: Trial, verification: Verification | None = None
) -> ScheduleFile:
    """Return the schedule of a trial with what it was measured and verified on.

    Raises:
        InputError: If the trial has no schedule or has finished no replicate.
    """
    if trial.schedule is None or trial.learning_rate is None or not trial.replicates:
        raise InputError(f"{trial.name} is {trial.state} and has finished no replicate")
    experiment, known = run.experiment, run.attributes.candidates
    trainer = trial.schedule.recipe.applied_to(experiment.trainer)
    point = run.point(trial)
    return ScheduleFile(
        schedule=replace(
            trial.schedule, recipe=trial.schedule.recipe.completed(experiment.trainer)
        ),
        family=point.family if point else None,
        preset=trial.candidate if trial.candidate and is_preset(trial.candidate) else None,
        measured=Measured(
            images=file_names(experiment.images),
            size=experiment.size,
            sigma_255=experiment.task.noise_255,
            task=plain_task(without_folders(experiment.task)),
            seeds=experiment.seeds,
            trainer=trainer,
            output=experiment.objective.output,
            tolerance_db=experiment.objective.tolerance_db,
            raw=trial.measures("raw"),
            smoothed=trial.measures("smoothed"),
        ),
        verified=_verified(verification, trial) if verification else None,
        provenance=Provenance(
            run=run.name,
            trial=trial.number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=trial.versions,
            origin=next((c.origin for c in known if c.name == trial.candidate), None),
        ),
    )


def export_front(run: RunRecord, folder: Path | None = None) -> list[Path]:
    """Write the whole front, one schedule file `trial-N.yaml` for each member.

    The folder appears whole or not at all, except on object storage. An earlier front is replaced.

    Args:
        run: The run.
        folder: The folder; `front` in the run's folder by default.

    Raises:
        InputError: The run has no front, or the folder holds something else or cannot be written.
    """
    folder, records = folder or run.folder / "front", run.records()
    numbers = [trial.number for trial in front_of(records)]
    if not numbers:
        raise nothing_yet(run, records)
    if folder.exists() and (
        not folder.is_dir()
        or any(not re.fullmatch(r"trial-\d+\.yaml", path.name) for path in folder.iterdir())
    ):
        raise InputError(f"{folder} contains something other than a front: choose another --output")
    if is_remote(folder):
        return _export_all(run, numbers, records, folder)
    for path in folder.iterdir() if folder.exists() else ():
        refuse_to_replace(path, "a schedule file", b"provenance:")
    aside = folder
    try:
        with replaced(folder) as aside:
            written = _export_all(run, numbers, records, aside)
    except (InputError, WorkError) as error:
        raise type(error)(str(error).replace(str(aside), str(folder))) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {brief(error)}") from None
    return [folder / path.name for path in written]


def _export_all(
    run: RunRecord, numbers: list[int], records: list[Trial], folder: Path
) -> list[Path]:
    return [
        export(run, choose(run, number, records), folder / f"trial-{number}.yaml")
        for number in numbers
    ]


def _verified(verification: Verification, trial: Trial) -> Verified | None:
    held = verification.measured(trial.number)
    comparison = verification.hardest(held.name) if held else None
    verdict = verification.verdict_of(held.name) if held else None
    if held is None or comparison is None or verdict is None or held.values is None:
        return None
    plan, claim, ratio = verification.plan, verification.claim(held.name), comparison.log_ratio
    return Verified(
        verdict=str(verdict),
        iterations=plan.baseline_iterations,
        images=file_names(plan.images),
        seeds=plan.seeds,
        n=comparison.psnr_db.n,
        against=comparison.reference,
        output=comparison.output,
        max_psnr_gt_db=Gain(*comparison.psnr_db.ends),
        steps=Gain(*comparison.steps.ends),
        raw=held.measures("raw"),
        smoothed=held.measures("smoothed"),
        method=verification.method,
        seen=plan.seen,
        endpoint=claim.endpoint if claim else None,
        time_ratio=None if ratio is None else Gain(*ratio.ratios),
    )


def file_names(images: list[str]) -> list[str]:
    """Names alone: a schedule file is passed on, and folders are nobody else's business."""
    return [name if name.startswith("skimage:") else Path(name).name for name in images]
