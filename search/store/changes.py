"""Changes since a run began, and which of them a resume may adopt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.pictures.images import split_options
from dipstage.tasks.registry import file_digests, task_files, task_of, with_files
from search.store.attributes import Accepted, write
from search.store.versions import NUMBERS_DEPEND_ON, code_digest, versions

if TYPE_CHECKING:
    from dipstage.pictures.images import Picture
    from search.experiment.model import Experiment, Resources
    from search.store.run import RunRecord

ACCEPTABLE = ("resources.", "racing.", "search.", "logging.")
"""Prefixes of keys that affect how a search continues but not what its numbers mean."""
ASKED_FOR = {"search.trials": "--trials", "search.hours": "--hours"}
"""Keys that a resume raises by an option."""


@dataclass(frozen=True, slots=True)
class Change:
    """Key of the experiment, or package, whose value has changed since the run began."""

    key: str
    before: str
    now: str
    acceptable: bool

    def __str__(self) -> str:
        return f"{self.key} {self.before} → {self.now}"


def adopt_changes(
    run: RunRecord, given: Experiment | None, *, accept: bool, resources: Resources | None = None
) -> tuple[Experiment, list[Change]]:
    """Return the experiment with which a resume continues, and what has changed in it.

    Args:
        run: The run to resume.
        given: The experiment file again, if its pictures have moved; only its images and the files
            of its task are used.
        accept: Whether to adopt changes of resources, racing, sampling, logging and code.
        resources: The hardware to continue on; None for that of the experiment.

    Raises:
        InputError: If something has changed that must not, or that was not accepted.
    """
    from search.experiment.reading import validate

    path = run.folder / "experiment.yaml"
    recorded = run.attributes.experiment
    now = validate(read_yaml(path), str(path))
    if recorded is None:
        return now, []
    if given is not None:
        task = with_files(now.task, task_files(given.task)) if task_files(now.task) else now.task
        now = now.model_copy(update={"images": given.images, "task": task})
    if resources is not None:
        now = now.model_copy(update={"resources": resources})
    # Validated again: an older version recorded fewer keys.
    changes = _experiment_changes(validate(recorded, str(path)), now)
    changes += _code_changes(run)
    refused = [change for change in changes if not change.acceptable]
    if refused and all(change.key in ASKED_FOR for change in refused):
        options = " or ".join(ASKED_FOR[change.key] for change in refused)
        raise InputError(f"{_listed(refused)}: restore {path}, and ask for more by {options}")
    if refused:
        raise InputError(
            f"run {run.name!r} began with another experiment: {_listed(refused)}: restore it, or "
            "launch a new run"
        )
    if changes and not accept:
        raise InputError(
            f"run {run.name!r} began with other settings or code: {_listed(changes)}: restore "
            "them, or continue with --accept-changes, which records the changes in the run"
        )
    return now, changes


def without_effect(given: Experiment, now: Experiment) -> list[str]:
    """Return the keys in which an experiment that was given again differs to no effect."""
    keys = [change.key for change in _experiment_changes(now, given)]
    return [key for key in keys if key not in ("name", "search.learn_from")]


def refuse_changed_files(run: RunRecord, experiment: Experiment) -> None:
    """Raise InputError if a file that the task reads is not the one of when the run began."""
    for key, digest in file_digests(experiment.task).items():
        before = run.attributes.files.get(key, "none")
        if before != digest:
            raise InputError(
                f"task.{key} {task_files(experiment.task)[key]!r} is not what it was when run "
                f"{run.name!r} began (SHA-256 {before[:12]}… → {digest[:12]}…): restore it, or "
                "launch a new run"
            )


def unchanged_pictures(run: RunRecord, experiment: Experiment) -> dict[str, Picture]:
    """Return the pictures of a run; InputError if one has changed since the run began."""
    from search.experiment.prepare import load_pictures

    pictures = load_pictures(experiment)
    digests = run.attributes.pictures
    if [picture.digest for picture in pictures.values()] == list(digests.values()):
        # Renamed files, and labels by the rules of an older version.
        return dict(zip(digests, pictures.values(), strict=True))
    if list(pictures) != list(digests):
        raise InputError(
            f"run {run.name!r} began with the pictures {', '.join(digests)}, not "
            f"{', '.join(pictures)}: restore them, or launch a new run"
        )
    for label, picture in pictures.items():
        if digests[label] != picture.digest:
            read = picture.source.readings if picture.source else ""
            raise InputError(
                f"picture {picture.name!r} is not what it was when run {run.name!r} began "
                f"(SHA-256 {digests[label][:12]}… → {picture.digest[:12]}…): restore it, or "
                "launch a new run"
                + (
                    f"; if the file is the same, an older version ignored something of {read}, "
                    "and scores of both readings cannot be mixed"
                    if read
                    else ""
                )
            )
    return pictures


def _listed(changes: list[Change]) -> str:
    words = [str(change) for change in changes[:5]]
    more = f" (and {len(changes) - 5} more)" if len(changes) > 5 else ""
    return "; ".join(words) + more


def _experiment_changes(before: Experiment, now: Experiment) -> list[Change]:
    old, new = (_flat(each.model_dump(mode="json")) for each in (before, now))
    then, files = task_files(before.task), task_files(now.task)
    # Their content is compared elsewhere; `#page=2` says which part of it is read.
    by_content = {
        f"task.{key}"
        for key in then.keys() & files
        if _options_of(then[key]) == _options_of(files[key])
    }
    changes = []
    for key in dict.fromkeys([*old, *new]):
        if key == "images" or key in by_content:
            continue
        was, is_now = old.get(key), new.get(key)
        if key == "candidates":
            was, is_now = _names(was), _names(is_now)
        if was == is_now:
            continue
        # The trials of runs that it learns from were copied when this one began.
        is_fixed = key in ASKED_FOR or key == "search.learn_from"
        acceptable = key.startswith(ACCEPTABLE) and not is_fixed
        changes.append(Change(key, _word(was), _word(is_now), acceptable))
    return changes


def _code_changes(run: RunRecord) -> list[Change]:
    before = run.attributes.code
    now = {**versions(), "dipstage": code_digest()}
    return [
        Change(f"code {name}", str(before[name]), str(now.get(name)), acceptable=True)
        for name in NUMBERS_DEPEND_ON
        if name in before and before[name] != now.get(name)
    ]


def record_changes(run: RunRecord, now: Experiment, changes: list[Change]) -> None:
    """Record the adopted changes, in the study first because it is the source of truth."""
    attributes = run.attributes
    recorded = attributes.experiment
    moved = recorded is not None and (
        now.images != recorded["images"]
        or task_files(now.task) != task_files(task_of(recorded["task"]))
    )
    if recorded is None or not (changes or moved):
        return
    if changes:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        accepted = Accepted(date, [str(change) for change in changes])
        write(
            run.study,
            accepted=[*attributes.accepted, accepted],
            code={**versions(), "dipstage": code_digest()},
        )
    write(run.study, experiment=now.model_dump(mode="json"))
    write_whole(run.folder / "experiment.yaml", now.yaml())


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted key; a list counts as one value."""
    if not isinstance(content, dict):
        return {prefix.rstrip("."): content}
    return {
        key: value
        for name, part in content.items()
        for key, value in _flat(part, f"{prefix}{name}.").items()
    }


def _options_of(picture: str) -> dict[str, int]:
    try:
        return split_options(picture)[1]
    except InputError:  # A name such as mask#v=2.png, of a file that has moved.
        return {}


def _names(candidates: Any) -> list[str]:
    """Return the names of candidates, without folders: the study holds the files' content."""
    return [Path(entry).stem if "/" in entry else entry for entry in candidates or []]


def _word(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-29:]}"  # Paths differ at their ends.
