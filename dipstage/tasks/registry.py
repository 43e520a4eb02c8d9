"""The tasks that there are, as plain data: those of this package, and those of installed ones.

An installed package adds a task by an entry point of the group `dipstage.tasks`, whose name is the
task's kind and whose object is a frozen dataclass with the methods of `Task`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from dipstage.arguments import check_text
from dipstage.documents.plain_yaml import parse_yaml
from dipstage.documents.records import from_plain, to_plain
from dipstage.errors import InputError
from dipstage.pictures.images import expand_path, split_options
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.inpaint import Inpaint
from dipstage.tasks.problem import ReadsFiles, Task
from dipstage.tasks.super_resolve import SuperResolve

GROUP = "dipstage.tasks"
"""Group of the entry points of tasks."""
OWN: dict[str, type[Task]] = {kind.kind: kind for kind in (Denoise, Inpaint, SuperResolve)}
"""The tasks of this package by their kinds."""


def task_kind(name: str) -> type[Task]:
    """Return the class of a kind of task.

    Args:
        name: Its kind, such as `inpaint`. Kinds of this package cannot be replaced.

    Raises:
        InputError: There is no such task, or its package cannot be loaded.
    """
    if name in OWN:
        return OWN[name]
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in installed:
        known = ", ".join([*OWN, *sorted(installed.keys() - OWN)])
        raise InputError(
            f"kind must be one of {known}, got {name!r}: an installed package can add others"
        )
    return _loaded(installed[name])


@cache
def _loaded(entry: EntryPoint) -> type[Task]:
    try:
        found = entry.load()
    except Exception as error:
        raise InputError(
            f"the task {entry.name} cannot be loaded from {entry.value}: "
            f"{type(error).__name__}: {error}"
        ) from error
    is_task = isinstance(found, type) and dataclasses.is_dataclass(found)
    if not is_task or not hasattr(found, "observe") or getattr(found, "kind", "") != entry.name:
        raise InputError(
            f"the task {entry.name} of {entry.value} must be a dataclass with the method observe "
            f"and kind {entry.name!r}"
        )
    kind: type[Task] = found
    return kind


def task_of(content: Any) -> Task:
    """Return a task as it stands in experiment files; this is the inverse of `plain_task`.

    Args:
        content: A mapping with `kind`, which is `denoise` by default, and the values of that kind.

    Raises:
        InputError: A key or a value is wrong; the message names it.
    """
    if not isinstance(content, Mapping):
        raise InputError(
            "has no value: write one, or leave the key out"
            if content is None
            else f"must be keys and values, got {content!r}"
        )
    values = dict(content)
    name = values.pop("kind", Denoise.kind)
    if not isinstance(name, str):
        raise InputError(
            f"kind must be a text, got {name!r}" if name is not None else "kind has no value"
        )
    return from_plain(task_kind(name), values, {})


def plain_task(task: Task) -> dict[str, Any]:
    """Return a task as plain data for YAML and JSON."""
    plain: dict[str, Any] = {"kind": task.kind, **to_plain(task, {})}
    return plain


_OPTION = re.compile(
    r"""
    (?: ^ | , )
    ( (?: = \s* " (?: \\. | [^"\\] )* " | = \s* ' (?: '' | [^'] )* ' | \[ [^]]* \] | [^,] )* )
    """,
    re.VERBOSE,
)
"""A KEY=VALUE of a task's text. Its commas are in brackets, or in quotes around the value."""


def parse_task(text: str) -> Task:
    """Read a task that is written in one line.

    Args:
        text: `KIND` or `KIND:KEY=VALUE,…`, such as `inpaint:missing=0.8`. A value with a comma is
            in quotes, as in `inpaint:mask="a,b.png"`, or in brackets.

    Raises:
        InputError: The kind, a key or a value is wrong.
    """
    check_text("a task", text)
    kind, colon, options = text.partition(":")
    content: dict[str, Any] = {"kind": kind}
    for option in _OPTION.findall(options) if colon else []:
        key, _, value = option.partition("=")
        if not (key.strip() and value.strip()):
            hint = (
                "; a value with a comma needs quotes of its own, as in 'inpaint:mask=\"a,b.png\"'"
                if len(content) > 1
                else ""
            )
            raise InputError(f"task {text!r}: {option!r} must be KEY=VALUE{hint}")
        if key in content:
            raise InputError(f"task {text!r} gives {key} twice: keep one")
        content[key] = parse_yaml(value, f"task {text!r}")
    try:
        return task_of(content)
    except InputError as error:
        raise InputError(f"task {text!r}: {error}") from None


def task_text(task: Task) -> str:
    """Return a task in one line; this is the inverse of `parse_task`."""
    plain = plain_task(task)
    kind = plain.pop("kind")
    values = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    return f"{kind}:{','.join(values)}" if values else str(kind)


def loaded(task: Task, size: int | None, multiple: int) -> Task:
    """Return a task that needs no files any more: see `ReadsFiles.loaded`."""
    return task.loaded(size, multiple) if isinstance(task, ReadsFiles) else task


def notices_of(task: Task) -> tuple[str, ...]:
    """Return sentences that say how the files of a loaded task were read."""
    return tuple(getattr(task, "notices", ()))


def task_files(task: Task) -> dict[str, str]:
    """Return the names of the files that a task reads, by their keys."""
    keys = task.files if isinstance(task, ReadsFiles) else ()
    named = {key: str(getattr(task, key)) for key in keys if getattr(task, key) is not None}
    return {key: name for key, name in named.items() if not name.startswith("skimage:")}


def file_digests(task: Task) -> dict[str, str]:
    """Return the hexadecimal SHA-256 of the files that a task reads, by their keys.

    Raises:
        InputError: A file cannot be read.
    """
    digests = {}
    for key, name in task_files(task).items():
        try:
            content = Path(expand_path(split_options(name)[0])).read_bytes()
        except OSError as error:
            raise InputError(f"task.{key} {name!r} cannot be read: {error.strerror}") from None
        digests[key] = hashlib.sha256(content).hexdigest()
    return digests


def with_files(task: Task, files: Mapping[str, str]) -> Task:
    """Return a task with other paths of its files, by their keys."""
    return task_of({**plain_task(task), **files})


def without_folders(task: Task) -> Task:
    """Return a task whose files have no folders: what is passed on does not show them."""
    return with_files(task, {key: Path(name).name for key, name in task_files(task).items()})


def by_content(task: Task, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return a task as plain data, equal to that of another task whose files have the same content.

    Args:
        task: The task.
        digests: What `file_digests` returned of it. A file that is not there keeps its path.
    """
    plain = plain_task(task)
    for key, name in task_files(task).items():
        if key in digests:
            _, mark, options = Path(name).name.partition("#")
            plain[key] = f"SHA-256 {digests[key][:12]}…{mark}{options}"
    return plain


def in_words(plain: Mapping[str, Any]) -> str:
    """Return a task in words, such as `inpaint, missing 0.5` or `denoise, sigma 25`.

    Args:
        plain: What `plain_task` returns; its kind need not be installed. What is off, such as noise
            of sigma 0, is left out.
    """
    words = [str(plain.get("kind", Denoise.kind))]
    for key, value in plain.items():
        if key == "kind" or value is None or (key == "sigma_255" and not value):
            continue
        if isinstance(value, bool):
            words += [] if value else [f"no {key}"]
            continue
        shown = f"{value:g}" if isinstance(value, int | float) else Path(str(value)).name
        words.append(f"{'sigma' if key == 'sigma_255' else key.replace('_', ' ')} {shown}")
    return ", ".join(words)


def used_elsewhere(measured: Mapping[str, Any] | None, task: Task) -> str:
    """Say that a schedule is used on another task than it was measured on.

    Args:
        measured: The task that it was measured on, as plain data; None for any.
        task: The task that it is used on.

    Returns:
        Words; empty if the tasks differ in nothing but the strength of Gaussian noise, to which
        schedules are rescaled.
    """
    used = plain_task(without_folders(task))
    if measured is None or _but_noise(_completed(measured)) == _but_noise(used):
        return ""
    return f"measured on another task ({in_words(measured)}) than this one ({in_words(used)})"


def _completed(plain: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task with the defaults of its kind, or as it is if the kind is not installed."""
    try:
        return plain_task(task_of(plain))
    except InputError:
        return plain


def _but_noise(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key != "sigma_255"}
