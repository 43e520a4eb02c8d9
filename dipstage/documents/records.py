"""Frozen dataclasses to plain data and back, exactly; unknown keys and wrong types are refused."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dipstage.arguments import built_in, point_for_comma
from dipstage.documents.plain_yaml import WHOLE, plain_number
from dipstage.errors import InputError
from dipstage.renamed import former_names, warn_former_name, warn_no_effect

T = TypeVar("T")
Kinds = Mapping[str, type]
"""Names of the members of a union of dataclasses; plain data stores the name as `kind`.

One member may have no name; plain data without `kind` is read as that one."""

_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def described(default: Any, rule: str = "", *, help: str) -> Any:
    """Make a field of a dataclass that keeps its meaning and its rule, for the reference."""
    return dataclasses.field(default=default, metadata={"help": help, "rule": rule})


def to_plain(value: Any, kinds: Kinds) -> Any:
    """Turn dataclasses into mappings without their None entries, and tuples into lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next((name for name, kind in kinds.items() if type(value) is kind), None)
        content = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        plain = {key: to_plain(v, kinds) for key, v in content.items() if v is not None}
        return plain if name is None else {"kind": name, **plain}
    if isinstance(value, list | tuple):
        return [to_plain(item, kinds) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item, kinds) for key, item in value.items()}
    return built_in(value)


def from_plain(kind: type[T], value: Any, kinds: Kinds) -> T:
    """Invert `to_plain`; InputError names the key, the rule and the value."""
    result: T = _read(kind, value, "", kinds)
    return result


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; finding them takes longer than checking values."""
    return get_type_hints(kind)


def check_types(kind: type, content: Mapping[str, Any]) -> None:
    """Raise TypeError if a value read from JSON has not the type of its field, by its name.

    Costs a microsecond for ten values. Unknown names are passed over, and numbers may be whole.
    """
    known = _json_types(kind)
    for name, value in content.items():
        if name in known and type(value) not in known[name]:
            raise TypeError(f"{name} is {value!r:.80}")


@functools.cache
def _json_types(kind: type) -> dict[str, set[type]]:
    found = {}
    for name, hint in hints(kind).items():
        is_union = get_origin(hint) in (Union, types.UnionType)
        found[name] = {_json_type(each) for each in (get_args(hint) if is_union else (hint,))}
        if found[name] & {int, float}:
            found[name] |= {int, float}
    return found


def _json_type(hint: Any) -> type:
    plain = get_origin(hint) or hint
    if issubclass(plain, Mapping) or dataclasses.is_dataclass(plain):
        return dict
    if issubclass(plain, Enum):
        return str
    return list if issubclass(plain, Sequence) and plain is not str else plain


def is_whole(value: Any) -> bool:
    """Return whether a value is a floating-point number without a fraction, such as 6e1."""
    return isinstance(value, float) and value.is_integer() and abs(value) < WHOLE


def as_count(value: Any) -> Any:
    """Return a number without a fraction as an int, and anything else as it is."""
    value = built_in(value)
    return int(value) if is_whole(value) else value


def choices(kind: Any) -> list[str]:
    """Return the values of a Literal as they stand in files."""
    return [word if isinstance(word, str) else str(word).lower() for word in get_args(kind)]


def is_choice(kind: Any, value: Any) -> bool:
    """Return whether a value is one of a Literal; 3.0 is not 3, and 1 is not True."""
    return any(type(value) is type(word) and value == word for word in get_args(kind))


def _read(kind: Any, value: Any, where: str, kinds: Kinds) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not types.NoneType]
        if value is None and len(members) < len(arguments):
            return None
        if len(members) > 1:
            return _read_tagged(members, value, where, kinds)
        return _read(members[0], value, where, kinds)
    if value is None:
        raise InputError(f"{where} has no value: write one, or leave the key out".lstrip())
    if origin is Literal:
        if not is_choice(kind, value):
            raise InputError(f"{where} must be {' or '.join(choices(kind))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where, kinds)
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list, got {value!r}")
        return origin(
            _read(arguments[0], item, f"{where}[{i}]", kinds) for i, item in enumerate(value)
        )
    if origin is dict:
        _refuse_non_mapping(value, where)
        if (other := next((key for key in value if not isinstance(key, str)), where)) != where:
            raise InputError(f"{where}.{other} must be a text as key, in quotes")
        return {
            key: _read(arguments[1], item, f"{where}.{key}", kinds) for key, item in value.items()
        }
    whole_as_float = kind is float and isinstance(value, int)
    if isinstance(value, bool) != (kind is bool) or not (isinstance(value, kind) or whole_as_float):
        quotes = ", in quotes" if kind is str else ""
        if isinstance(value, str) and (kind is bool or plain_number(value) is not None):
            quotes = ", without quotes"
        hint = f": write {value:.0f}" if is_whole(value) and kind is int else ""
        hint = point_for_comma(value) if kind is float else hint
        raise InputError(f"{where} must be {_NAMES[kind]}{quotes}, got {value!r}{hint}")
    try:
        return kind(value)
    except OverflowError:
        raise InputError(f"{where} is larger than any number here") from None


def _read_tagged(members: list[type], value: Any, where: str, kinds: Kinds) -> Any:
    _refuse_non_mapping(value, where)
    known = [name for name, kind in kinds.items() if kind in members]
    name = value.get("kind")
    unnamed = [member for member in members if member not in kinds.values()]
    if name is None and unnamed:
        return _read(unnamed[0], value, where, kinds)
    if name not in known:
        raise InputError(f"{where}.kind must be one of {', '.join(known)}, got {name!r}")
    content = {key: item for key, item in value.items() if key != "kind"}
    return _read(kinds[name], content, where, kinds)


def _read_dataclass(kind: Any, value: Any, where: str, kinds: Kinds) -> Any:
    _refuse_non_mapping(value, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    value = _with_current_names(kind, value, prefix)
    for key in value:
        if key not in fields:
            raise InputError(f"unknown key {prefix}{key}: known are {', '.join(fields)}")
    for name, field in fields.items():
        if name not in value and field.default is dataclasses.MISSING:
            raise InputError(f"{prefix}{name} is missing")
    kind_of = hints(kind)
    content = {
        key: _read(kind_of[key], item, f"{prefix}{key}", kinds) for key, item in value.items()
    }
    try:
        return kind(**content)
    except InputError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from None


def _with_current_names(kind: Any, value: dict[str, Any], prefix: str) -> dict[str, Any]:
    renamed = {former: name for former, name in former_names(kind).items() if former in value}
    for former, name in renamed.items():
        if name in value:
            raise InputError(f"{prefix}{former} is the former name of {prefix}{name}: keep one")
        warn_former_name(f"{prefix}{former}", f"{prefix}{name}")
    dropped: Mapping[str, str] = getattr(kind, "dropped", {})
    for key in dropped.keys() & value.keys():
        if value[key] not in ("auto", "off", False):
            warn_no_effect(f"{prefix}{key}", dropped[key])
    return {renamed.get(key, key): item for key, item in value.items() if key not in dropped}


def _refuse_non_mapping(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be keys and values, got {value!r}".lstrip())
