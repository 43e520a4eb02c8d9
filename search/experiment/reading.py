"""Read experiment files: overrides, former names, absolute paths, and errors that name the key."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipstage.documents.plain_yaml import parse_yaml, read_yaml
from dipstage.errors import InputError
from dipstage.pictures.images import expand_path
from dipstage.renamed import warn_former_name
from dipstage.schedules.presets import is_preset
from dipstage.tasks.registry import task_kind
from search.experiment.model import Experiment
from search.experiment.packaged import experiment_file, packaged_experiments

SWITCHES = ("yes", "no", "on", "off", "y", "n")
"""Texts, which YAML 1.1 took for true and false."""


def load_experiment(path: Path | str, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment file.

    Args:
        path: the experiment file, or the name of an experiment that comes with the package, such
            as quickstart. Paths in the file are relative to its folder.
        overrides: values that replace those of the file, as KEY=VALUE with dots between the groups
            of KEY and YAML in VALUE. Paths in them are relative to the current folder.

    Returns:
        The experiment, with absolute paths.

    Raises:
        InputError: if the file cannot be read, or if a key or value is wrong. The message names
            the file and the key.
    """
    if not isinstance(path, str | Path) or path == "":
        raise InputError(f"an experiment is given by its file or its name, got {path!r}")
    if not isinstance(overrides, list | tuple) or not all(isinstance(o, str) for o in overrides):
        raise InputError(f"overrides must be a list of texts KEY=VALUE, got {overrides!r}")
    given, path = str(path), experiment_file(Path(path))
    content = read_yaml(path)
    if {"format", "stages"} <= content.keys():
        raise InputError(f"{path} is a schedule file: name it in candidates of an experiment")
    _resolve(content, path.parent)
    for key, value in _parse_overrides(overrides):
        _set_key(content, key, value)
        _resolve(content, Path())  # What the file names is absolute by now.
    is_packaged = given != str(path) and path in packaged_experiments().values()
    where = given if is_packaged else str(path)
    where += f" with {', '.join(overrides)}" * bool(overrides)
    try:
        experiment = validate(content, where)
    except InputError as error:
        mistyped = [": unknown key ", *(f": {each.partition('=')[0]}: " for each in overrides)]
        if not is_packaged or any(words in str(error) for words in mistyped):
            raise
        raise InputError(
            f"{error} (change {given} with --set KEY=VALUE, or write it to a file to edit with "
            f"dipsearch init {given})"
        ) from None
    if is_packaged:
        _check_packaged(experiment, given, path.parent)
    return experiment


def as_experiment(given: Experiment | Path | str) -> Experiment:
    """Return an experiment that is given as such, by its file or by its name.

    Its paths are absolute. Those of an experiment as such are relative to the current folder.
    """
    if not isinstance(given, Experiment):
        return load_experiment(given)
    content = given.model_dump(mode="json", exclude_unset=True)
    if Experiment(**content) != given:  # A list was changed in place.
        content = given.model_dump(mode="json")
    _resolve(content, Path())
    return Experiment(**content)


def _check_packaged(experiment: Experiment, name: str, folder: Path) -> None:
    """Raise InputError if a packaged experiment needs pictures that are not part of the package."""
    for image in experiment.images:
        if image.startswith(f"{folder}{os.sep}") and not os.path.lexists(image):
            raise InputError(
                f"{name} needs pictures that are not part of the package, such as "
                f"{Path(image).name}: name others with --set images=[…], or write the experiment "
                f"to a file with dipsearch init {name}, whose comments say where to put them"
            )


def validate(content: dict[str, Any], where: str) -> Experiment:
    """Return the model, or raise InputError with the first error and the number of others.

    where: the file that `content` comes from, for the message.
    """
    if (key := next((key for key in content if not isinstance(key, str)), None)) is not None:
        known = ", ".join(Experiment.model_fields)
        raise InputError(f"{where}: {key}: unknown key: known are {known}")
    try:
        return Experiment(**content)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def with_resources(experiment: Experiment, overrides: tuple[str, ...]) -> Experiment:
    """Return an experiment on other hardware, by keys of the group `resources` as KEY=VALUE.

    Raises:
        InputError: if a key is not one of `resources`, or if a value is wrong.
    """
    content = experiment.model_dump(mode="json")
    for key, value in _parse_overrides(overrides):
        if not key.startswith("resources."):
            raise InputError(
                f"--set {key}: only keys of resources can differ from the search's, such as "
                "resources.device"
            )
        _set_key(content, key, value)
    return validate(content, "--set")


def _parse_overrides(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """Return keys and values; InputError if one is none, or if a key is given twice."""
    parsed = [_parse_override(override) for override in overrides]
    counts = Counter(key for key, _ in parsed)
    if twice := [key for key, n in counts.items() if n > 1]:
        raise InputError(f"--set {twice[0]} is given twice: leave one out")
    return parsed


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or "" in key.split("."):
        raise InputError(f"--set must be KEY=VALUE, got {override!r}")
    if not text.strip():
        raise InputError(f"--set {override} has no value: give one, or null")
    return key, parse_yaml(text, f"--set {override}")


def _resolve(content: dict[str, Any], folder: Path) -> None:
    """Make paths absolute, join presets, and give keys their current names.

    Values of a wrong type are left for validation to refuse.
    """
    _join_presets(content)
    search, logging = content.get("search"), content.get("logging")
    for group, key in ((content, "images"), (content, "candidates"), (search, "learn_from")):
        if isinstance(group, dict) and isinstance(entries := group.get(key), list):
            group[key] = [
                entry
                if not isinstance(entry, str) or _is_name(key, entry)
                else _absolute(entry, folder)
                for entry in entries
            ]
    if isinstance(logging, dict):
        _make_mlflow_absolute(logging, folder)
    _make_task_absolute(content, folder)
    if isinstance(space := content.get("space"), dict):
        _rename_max_level(space.get("noise"))


def _absolute(entry: str, folder: Path) -> str:
    """Return an absolute path; `~` and variables are expanded unless a file has the name itself."""
    if not entry.strip():
        return entry  # Validation refuses it.
    if not os.path.lexists(folder / entry):
        entry = expand_path(entry)
    return str((folder / entry).absolute())


def _join_presets(content: dict[str, Any]) -> None:
    """Join presets that YAML split at their commas, as in `[sharp-linear:stages=5,x=10]`."""
    entries = content.get("candidates")
    if not isinstance(entries, list):
        return
    joined: list[Any] = []
    for entry in entries:
        before = joined[-1] if joined else None
        is_parameter = isinstance(entry, str) and re.fullmatch(r"\w+=[^/]*", entry)
        if is_parameter and isinstance(before, str) and ":" in before and is_preset(before):
            joined[-1] = f"{before},{entry}"
        else:
            joined.append(entry)
    content["candidates"] = joined


def _make_mlflow_absolute(logging: dict[str, Any], folder: Path) -> None:
    """Make a folder absolute. An address without a scheme is a folder, except `databricks`."""
    address = logging.get("mlflow")
    if address in SWITCHES:
        raise InputError(f"logging.mlflow must be a folder or an address, got {address!r}")
    if isinstance(address, str) and address and ":" not in address and address != "databricks":
        logging["mlflow"] = str((folder / address).absolute())


def _make_task_absolute(content: dict[str, Any], folder: Path) -> None:
    """Make the paths of the task's files absolute."""
    task = content.get("task")
    if not isinstance(task, dict) or not isinstance(kind := task.get("kind"), str):
        return
    try:
        keys = getattr(task_kind(kind), "files", ())
    except InputError:
        return  # Validation says what is wrong.
    for key in keys:
        if isinstance(name := task.get(key), str) and not name.startswith("skimage:"):
            task[key] = _absolute(name, folder)


def _is_name(key: str, entry: str) -> bool:
    """Return whether an entry is no path: an address, a picture of scikit-image, a run, a preset.

    A mistyped preset is one, too.
    """
    if "://" in entry:
        return True
    if key == "images":
        return entry.startswith("skimage:")
    if key == "learn_from":
        return "/" not in entry
    return is_preset(entry) or not ("/" in entry or "." in entry)


def _rename_max_level(noise: Any) -> None:
    """Give a key its current name. If both names are present, validation refuses the former."""
    if isinstance(noise, dict) and "heaviest" in noise and "max_level" not in noise:
        warn_former_name("space.noise.heaviest", "space.noise.max_level")
        noise["max_level"] = noise.pop("heaviest")


def _set_key(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise InputError(f"--set {key}: {parent} is not a group of keys")
    content[last] = value
