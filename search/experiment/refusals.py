"""Errors of the model in the words of experiment files: key, rule, value, remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dipstage.arguments import point_for_comma
from dipstage.documents.plain_yaml import plain_number
from dipstage.documents.records import is_whole
from dipstage.errors import InputError
from search.experiment.names import RUN_NAME_WORDS

_RULES = {
    "missing": "is missing",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "model_type": "must be keys and values",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:,}",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than": "must be below {lt:,}",
    "less_than_equal": "must be at most {le:,}",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length:,} entries",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": f"must be {RUN_NAME_WORDS}",
}
"""Rules by pydantic's types of errors, with the names of its context. Others keep its words."""
_UNKNOWN = ("extra_forbidden", "invalid_key")
_PICTURES = ("images", "task.mask")
"""Keys that name picture files."""


def as_in_a_file(value: Any, key: str = "") -> Any:
    """Return a value as a file would hold it: NumPy's numbers and arrays, tuples, ranges, paths.

    Args:
        value: Content of an experiment, or a part of it.
        key: Key of the part; empty for the whole content.

    Raises:
        InputError: If there are pixels where a picture file must be named.
    """
    inside = f"{key}." if key else ""
    if isinstance(value, dict):
        return {name: as_in_a_file(each, f"{inside}{name}") for name, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [as_in_a_file(each, f"{inside}{i}") for i, each in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if key.startswith(_PICTURES) and getattr(value, "ndim", 0) > 1:
        raise InputError(
            f'{key} holds pixels: save them, as by skimage.io.imsave("picture.png", array), and '
            "name the file"
        )
    return value.tolist() if hasattr(value, "tolist") else value


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first error in one sentence, and the number of the others.

    Unknown keys go first: a misspelt key is also missing under its right name.
    """
    found: dict[str, list[Any]] = {}
    errors = error.errors(include_url=False)
    for each in sorted(errors, key=lambda each: each["type"] not in _UNKNOWN):
        found.setdefault(_key(each["loc"]), []).append(each)
    (key, of_key), *others = found.items()
    more = f" (and {len(others)} more)" if others else ""
    sentence = _sentence(of_key, model)
    return f"{key}: {sentence}{more}" if key else f"{sentence}{more}"


def _key(location: Sequence[int | str]) -> str:
    """Return a key without the names of union members and validators, which mean nothing here."""
    kept = (part for part in map(str, location) if not part.startswith(("literal", "constrained")))
    return ".".join(kept)


def _sentence(errors: Sequence[Any], model: type[BaseModel]) -> str:
    """Describe the errors of one key: several if it may be one thing or another."""
    kinds, given = [each["type"] for each in errors], errors[0]["input"]
    location = errors[0]["loc"]
    if kinds[0] in _UNKNOWN:
        return f"unknown key: known are {', '.join(_group(location[:-1], model).model_fields)}"
    if given is None and kinds[0] not in ("missing", "value_error"):
        return "has no value: write one" + _or_leave_out(location, model)
    if kinds[0] == "value_error":
        return str(errors[0]["msg"]).removeprefix("Value error, ")
    words = " or ".join(dict.fromkeys(map(_rule, errors))).replace(" or must be ", " or ")
    if kinds[0] == "missing":
        return words
    return f"{words}, got {_shown(given)}{_remedy(kinds, given)}"


def _rule(error: Mapping[str, Any]) -> str:
    context = dict(error.get("ctx", {}))
    context["expected"] = str(context.get("expected", "")).replace("'", "")
    whole = {key: int(value) if is_whole(value) else value for key, value in context.items()}
    words = _RULES.get(error["type"], str(error["msg"]))
    if context.get("class_name") in ("IntRange", "FloatRange"):
        return "must be a range such as {low: 1, high: 2}"
    return words.format_map(whole).replace("1 entries", "1 entry")


def _shown(given: Any) -> str:
    """Return a value as a file shows it."""
    if isinstance(given, list | tuple) and len(given) > 20:
        return f"{len(given):,}"
    return json.dumps(given) if isinstance(given, bool) else "none" if given == [] else repr(given)


def _remedy(kinds: Sequence[str], given: Any) -> str:
    """Say what to write instead; empty where the rule says it."""
    if "string_type" in kinds:
        word = "…" if isinstance(given, float) else json.dumps(given, default=str)
        return f': write "{word}", in quotes' if isinstance(given, int | float) else ""
    if "bool_type" in kinds:
        return ": write true or false, without quotes"
    if isinstance(given, str) and {"int_type", "float_type"} & {*kinds}:
        if plain_number(given) is not None:
            return ": write a number without quotes"
        return point_for_comma(given) if "float_type" in kinds else ""
    if "int_type" in kinds and is_whole(given):
        return f": write {given:.0f}"
    if "list_type" in kinds and not isinstance(given, dict):
        if not isinstance(given, str | int | float):
            return ""
        if (ends := re.fullmatch(r"(\d+) *(?:-|\.\.) *(\d+)", str(given))) is not None:
            first, last = int(ends[1]), int(ends[2])
            numbers = [*map(str, range(first, min(last, first + 9) + 1))]
            if last > first + 9:
                numbers[2:] = ["…", str(last)]
            given = ", ".join(numbers)
        is_quoted = isinstance(given, str) and given[:1] == "["
        return f": write {given if is_quoted else f'a list, as in [{given}]'}"
    return ""


def _or_leave_out(location: Sequence[int | str], model: type[BaseModel]) -> str:
    if isinstance(location[-1], int):
        return ", or remove the entry"
    *parents, name = (part for part in location if _key([part]))
    field = _group(parents, model).model_fields.get(str(name))
    return "" if field is None or field.is_required() else ", or leave the key out"


def _group(location: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """Return the group of keys at a location."""
    group = model
    for part in location:
        kind = group.model_fields[str(part)].annotation
        members = get_args(kind) or (kind,)
        group = next(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))
    return group
