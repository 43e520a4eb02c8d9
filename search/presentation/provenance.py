"""The origin of a run's numbers, and the commands that reproduce them."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.tasks.registry import in_words, plain_task, without_folders
from dipstage.terminal.numbers import duration
from search.analysis.status import Status
from search.presentation.words import some
from search.store.records import Trial
from search.store.replicate import versions_of
from search.store.run import RunRecord
from search.verification.export import file_names

if TYPE_CHECKING:
    from search.experiment.model import Experiment
    from search.verification.result import Verification

Facts = list[tuple[str, str]]
PAUSE = timedelta(minutes=2)
"""Time without training after which a search was not running."""


@dataclass(frozen=True)
class Provenance:
    """facts: label and words. digests: what, and its SHA-256. commands: the lines that repeat it.
    experiment: the experiment as a file, without folders of this machine and addresses of loggers.
    """

    facts: Facts
    digests: list[tuple[str, str]]
    commands: list[str]
    experiment: str


def facts(
    run: RunRecord, records: list[Trial], status: Status, verification: Verification | None
) -> Facts:
    """Return what was searched, for the first screen."""
    experiment = run.experiment
    pictures = [name.removeprefix("skimage:") for name in file_names(experiment.images)]
    size = f"{experiment.size} × {experiment.size}" if experiment.size else "their own size"
    found = [
        ("pictures", f"{some(pictures)} ({size}; {in_words(plain_task(experiment.task))})"),
        ("seeds", some([str(seed) for seed in experiment.seeds])),
    ]
    if verification is not None:
        plan = verification.plan
        held = [name.removeprefix("skimage:") for name in file_names(plan.images)]
        words = "verified on" if not plan.seen else "verified on (seen before)"
        found.append((words, f"{some(held)}, seeds {some([str(seed) for seed in plan.seeds])}"))
    parts = [(status.complete, "complete"), (status.raced, "raced"), (status.failed, "failed"),
             (status.running, "running")]  # fmt: skip
    counted = ", ".join(f"{n} {word}" for n, word in parts if n)
    found += [
        ("trials", f"{counted or 'none'} of {status.wanted}"),
        ("objective", f"{experiment.objective.words}; {experiment.objective.output} output, "
                      f"{experiment.trainer.iterations} iterations each"),
        ("training", _hours(records, verification)),
        ("hardware", _hardware(records)),
    ]  # fmt: skip
    return found


def _hours(records: list[Trial], verification: Verification | None) -> str:
    """Return the training time summed over all workers, and the elapsed time."""
    words = duration(sum(trial.wall_s for trial in records))
    if clock_s := busy_s(records):
        words += f" over all workers, {duration(clock_s)} by the clock"
    if verification is not None:
        parts = [*verification.tuned.records(), *verification.held_out.records()]
        words += f"; verification {duration(sum(trial.wall_s for trial in parts))}"
    return words


def busy_s(records: list[Trial]) -> float:
    """Return the time during which trials were trained, without the pauses between drivers.

    A trial that a later driver finished counts from its end back over its training time.
    """
    spans = sorted(
        (max(trial.started, trial.ended - timedelta(seconds=trial.wall_s)), trial.ended)
        for trial in records
        if trial.started and trial.ended
    )
    total, until = timedelta(), None
    for start, end in spans:
        if until is not None and start - until < PAUSE:
            start = until
        total += max(end - start, timedelta())
        until = end if until is None else max(end, until)
    return total.total_seconds()


def _hardware(records: list[Trial]) -> str:
    """Return the devices and the number of machines, without their names."""
    replicates = [replicate for trial in records for replicate in trial.replicates.values()]
    devices = sorted({replicate.device for replicate in replicates})
    hosts = len({replicate.host for replicate in replicates})
    if not devices:
        return "none yet"
    return f"{', '.join(devices)} on {hosts} machine{'' if hosts == 1 else 's'}"


def provenance(
    run: RunRecord, records: list[Trial], verification: Verification | None
) -> Provenance:
    """Return all facts, digests and commands."""
    attributes = run.attributes
    experiment = run.experiment
    plain: dict[str, Any] = experiment.model_dump(mode="json")
    digests = [
        ("experiment", hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest())
    ]
    digests += [(f"picture {label}", digest) for label, digest in attributes.pictures.items()]
    code = dict(attributes.code)
    if "dipstage" in code:
        digests.append(("code of dipstage", str(code.pop("dipstage"))))
    if verification is not None:
        held = verification.held_out.attributes.pictures
        digests += [(f"held-out picture {label}", digest) for label, digest in held.items()]
    workers = versions_of(each for trial in records for each in trial.replicates.values())
    started = [trial.started for trial in records if trial.started]
    found: Facts = [
        ("run", run.name),
        ("written", datetime.now().astimezone().isoformat(" ", "minutes")),
        *(("began", min(started).isoformat(" ", "minutes")) for _ in started[:1]),
        ("sampler", f"{experiment.search.sampler}, seed {experiment.search.seed}"),
        *(
            ("learned from", f"{len(each.points)} trials of {each.run}")
            for each in attributes.learned
            if each.points
        ),
        ("replicate seeds", ", ".join(map(str, experiment.seeds))),
        ("versions, driver", _versions({k: str(v) for k, v in code.items()})),
        ("versions, workers", _versions(workers)),
    ]
    for accepted in attributes.accepted:
        found.append((f"changed {accepted.date}", "; ".join(map(_change, accepted.changes))))
    return Provenance(found, digests, _commands(run, verification), _shared(experiment).yaml())


def _shared(experiment: Experiment) -> Experiment:
    """Return an experiment without folders of this machine and without addresses of loggers."""
    from search.experiment.model import Logging

    runs = _without_folders(experiment.search.learn_from)
    return experiment.model_copy(
        update={
            "images": file_names(experiment.images),
            "task": without_folders(experiment.task),
            "candidates": _without_folders(experiment.candidates),
            "search": experiment.search.model_copy(update={"learn_from": runs}),
            # Addresses and projects of loggers are private too.
            "logging": Logging(tensorboard=experiment.logging.tensorboard),
        }
    )


def _without_folders(entries: list[str]) -> list[str]:
    """Return the last part of each path, and names of presets and runs as they are."""
    return [Path(entry).name if "/" in entry else entry for entry in entries]


def _change(words: str) -> str:
    """Return an accepted change; for logging only its key, as values may name a server."""
    return words.partition(" ")[0] if words.startswith("logging.") else words


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items()) or "none yet"


def _commands(run: RunRecord, verification: Verification | None) -> list[str]:
    name = f"{run.name}-again"
    again = ["dipsearch launch experiment.yaml", "--name", name]
    if run.trials_wanted != run.experiment.search.trials:
        again += ["--trials", str(run.trials_wanted)]
    hours = run.attributes.hours
    if hours is not None and hours != run.experiment.search.hours:
        again += ["--hours", f"{hours:g}"]
    lines = [f"{again[0]} {shlex.join(again[1:])}"]
    if verification is not None:
        plan = verification.plan
        words = ["dipsearch", "verify", name]
        for image in file_names(plan.images):
            words += ["--images", image]
        words += ["--seeds", str(plan.seeds)]
        words += ["--baseline-iterations", str(plan.baseline_iterations)]
        words += ["--learning-rates", str(plan.learning_rates)]
        for claim in plan.declared.claims if plan.declared else ():
            words += ["--fast" if claim.endpoint == "time" else "--best", str(claim.trial)]
        if plan.declared is not None:
            words += ["--claims", str(plan.declared.family), "--alpha", str(plan.declared.alpha)]
            words += ["--references", str(len(plan.declared.references))]
            words += ["--smallest-db", str(plan.declared.smallest_db)]
            words += ["--smallest-ratio", str(plan.declared.smallest_ratio)]
            words += ["--controls"] * plan.declared.controls
        lines.append(shlex.join(words + ["--allow-seen"] * bool(plan.seen)))
    lines.append(f"dipsearch report {name}")
    return lines
