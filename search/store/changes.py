"""What has changed since a run began, and which of it a resume may take up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from search.store.attributes import Accepted, write
from search.store.versions import NUMBERS_DEPEND_ON, code_digest, versions

if TYPE_CHECKING:
    from search.experiment.model import Experiment
    from search.store.run import RunRecord

_ACCEPTABLE = ("resources.", "racing.", "search.", "logging.")
"""Keys of an experiment that change how a search goes on, and not what its numbers mean."""


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the experiment, or a package, that is not what it was."""

    key: str
    before: str
    now: str
    acceptable: bool

    def __str__(self) -> str:
        return f"{self.key} {self.before} → {self.now}"


def taken_up(
    run: RunRecord, given: Experiment | None, *, accept: bool
) -> tuple[Experiment, list[Change]]:
    """The experiment that a resume goes on with; InputError names what has changed and may not.

    given: the experiment again, where its pictures have moved: the rest of it is not looked at.
    accept: takes up changes of resources, racing, sampling, logging and code in the run's own file.
    """
    from search.experiment.model import validate

    path = run.folder / "experiment.yaml"
    recorded = run.attributes.experiment
    now = validate(read_yaml(path), str(path)) if given is None else run.experiment
    if recorded is None:
        return now, []
    if given is not None:
        now = now.model_copy(update={"images": given.images})
    # Not as it was recorded: an older version knew fewer keys.
    before = validate(recorded, str(path)).model_dump(mode="json")
    changes = [*_experiment_changes(before, now.model_dump(mode="json")), *_code_changes(run)]
    refused = [change for change in changes if not change.acceptable]
    if refused:
        raise InputError(
            f"run {run.name!r} began with another experiment: {_listed(refused)}: restore it, or "
            "launch a new run"
        )
    if changes and not accept:
        raise InputError(
            f"run {run.name!r} began with other settings or code: {_listed(changes)}: restore "
            "them, or go on with --accept-changes, which notes it in the run"
        )
    return now, changes


def _listed(changes: list[Change]) -> str:
    words = [str(change) for change in changes[:5]]
    more = f" (and {len(changes) - 5} more)" if len(changes) > 5 else ""
    return "; ".join(words) + more


def _experiment_changes(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    old, new = _flat(before), _flat(now)
    changes = []
    for key in dict.fromkeys([*old, *new]):
        if key == "images":
            continue  # Compared by content.
        was, is_now = old.get(key), new.get(key)
        if key == "candidates":
            was, is_now = _names(was), _names(is_now)
        if was == is_now:
            continue
        if key == "search.trials":
            raise InputError(f"{key} was {was}, now {is_now}: ask for more by --trials {is_now}")
        acceptable = key.startswith(_ACCEPTABLE)
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


def write_down(run: RunRecord, now: Experiment, changes: list[Change]) -> None:
    """Note what was taken up, in the study first: it is what counts."""
    attributes = run.attributes
    recorded = attributes.experiment
    if recorded is None or (not changes and now.images == recorded["images"]):
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
    """By dotted key; lists are values."""
    if not isinstance(content, dict):
        return {prefix.rstrip("."): content}
    return {
        key: value
        for name, part in content.items()
        for key, value in _flat(part, f"{prefix}{name}.").items()
    }


def _names(candidates: Any) -> list[str]:
    """Files by their names: what they held is in the study."""
    return [Path(entry).stem if "/" in entry else entry for entry in candidates or []]


def _word(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
