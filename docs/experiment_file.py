"""Generate docs/experiment-file.md from the model, so that the page always agrees with the code.

`python docs/experiment_file.py docs/experiment-file.md` writes the page. The description of
a key is the text below it in `search.experiment.model`, or the `help` of its field if the group is
a dataclass.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types as bounds
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dipstage.documents.records import choices
from dipstage.documents.whole_files import write_whole
from dipstage.tasks.denoise import Denoise
from dipstage.tasks.problem import Task
from dipstage.tasks.registry import OWN
from search.experiment.model import Experiment
from search.experiment.names import RUN_NAME, RUN_NAME_WORDS
from search.experiment.searched import FloatRange, IntRange, Within

_NAMES = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
_LEAST = {"at least 1": 1, "not negative": 0}
_RANGES = {IntRange: "range of whole numbers", FloatRange: "range of numbers"}

_INTRO = """\
# The experiment file

<!-- Made by `python docs/experiment_file.py docs/experiment-file.md`: edit the model. -->

An experiment file is a YAML file that describes a search. `dipsearch launch EXPERIMENT` checks the
whole file before anything starts, and keeps a copy with the run. An unknown key or a value that is
out of range is refused with an error that names the file and the key.

```yaml
# The question that this search answers, its hardware and its duration.
name: first
images: [skimage:astronaut, skimage:chelsea]
size: 64
trainer: {iterations: 600, width: 32, scales: 4}
space:
  stages: {low: 2, high: 30, log: true}
  exponent: {low: 0.2, high: 5.0, log: true}
  ramp: {low: 5, high: 350, log: true}
  split: [power, free]
  noise: {beta: [linear, cosine, sigmoid], max_level: {low: 0.1, high: 1.0}}
candidates: [baseline, sharp-linear]
search: {trials: 10}
```

On the command line, `--set KEY=VALUE` replaces the value of a key. Dots separate groups and keys:
`dipsearch launch first.yaml --set trainer.iterations=900 --set 'seeds=[0, 1]'`. Paths in the file
are relative to the folder of the file; paths in `--set` are relative to the current folder. The
maximum sizes are listed under [limits](files.md#limits). `dipsearch init NAME`
copies one of the package's experiments to a file that you can edit.

## All keys
"""

_AFTER_RANGES = """\
A range such as `stages: {low: 2, high: 30, log: true}` gives the values that a parameter can take.
If `low` equals `high`, the parameter is fixed and not searched.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A row of a table, in Markdown; in `name`, dots separate groups and keys."""

    name: str
    values: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group of keys in the file; the outermost group has no name."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


def groups(kind: type = Experiment, name: str = "") -> Iterator[Group]:
    """Yield the outermost group, then each group in it, in the order of the model.

    ValueError if a key or a group has no description.
    """
    if kind is Task:
        yield from _tasks(name)
        return
    found = list(_fields(kind))
    keys = tuple(_key(name, each) for each in found)
    yield Group(name, _meaning_of(kind, name), keys)
    for each in found:
        if (inner := _group(each.kind)) is not None:
            yield from groups(inner, _join(name, each.name))


def _tasks(name: str) -> Iterator[Group]:
    """Yield the group of the task's kind, then one with the keys of each kind."""
    kinds = " or ".join(f"`{kind}`" for kind in OWN)
    meaning = "Kind of task, which determines the other keys."
    yield Group(
        name,
        _meaning_of(Task, name),
        (Key(f"{name}.kind", kinds, f"`{Denoise.kind}`", meaning),),
    )
    for kind, task in OWN.items():
        keys = tuple(_key(name, each) for each in _fields(task))
        yield Group(f"{name}: {kind}", _meaning_of(task, kind), keys)


def page() -> str:
    """Return the whole page."""
    parts = [_INTRO]
    for group in groups():
        if group.name:
            parts.append(f"\n## {group.name}\n\n{group.meaning}\n")
        parts.append(f"\n{_table(group.keys)}\n")
    of_a_range = sorted(_fields(IntRange), key=lambda field: field.name == "log")
    keys = tuple(_key("", each) for each in of_a_range)
    parts.append(f"\n## Ranges\n\n{_AFTER_RANGES}\n{_table(keys)}\n")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: Any
    limits: tuple[Any, ...]
    rule: str
    default: Any
    meaning: str


def _fields(kind: Any) -> Iterator[_Field]:
    """Yield the fields of a model or of a dataclass."""
    if issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            default = info.get_default(call_default_factory=True)
            meaning = " ".join((info.description or "").split())
            yield _Field(name, info.annotation, tuple(info.metadata), "", default, meaning)
        return
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        told = field.metadata
        rule, most = told.get("rule") or "", told.get("most")
        if most is not None:
            rule = f"{_LEAST[rule]} to {_number(most)}"
        yield _Field(field.name, hints[field.name], (), rule, field.default, told.get("help", ""))


def _key(group: str, field: _Field) -> Key:
    name = _join(group, field.name)
    inner = _group(field.kind)
    if inner is not None:
        meaning = " ".join(filter(None, [_meaning_of(inner, name), field.meaning]))
        default = _default(field.default) if field.default in (None, PydanticUndefined) else ""
        return Key(name, f"[group](#{_anchor(name)})", default, meaning)
    if not field.meaning:
        raise ValueError(f"the key {name} of an experiment has no description")
    values = ", ".join(filter(None, [_values(field.kind, field.limits), field.rule]))
    return Key(name, values, _default(field.default), field.meaning)


def _group(kind: Any) -> type | None:
    """Return the group that a key holds; None for a plain value or a range."""
    for member in get_args(kind) or (kind,):
        if (
            isinstance(member, type)
            and member not in _RANGES
            and (
                member is Task or dataclasses.is_dataclass(member) or issubclass(member, BaseModel)
            )
        ):
            return member
    return None


def _meaning_of(kind: type, name: str) -> str:
    text = (kind.__doc__ or "").partition("\n\n")[0]
    if not text or text.startswith(f"{kind.__name__}("):  # The default docstring of a dataclass.
        raise ValueError(f"the group {name} of an experiment has no description")
    return " ".join(text.split())


def _values(kind: Any, notes: tuple[Any, ...]) -> str:
    """Describe a type and its limits."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:  # Limits are given one by one, or together in a Field.
        inside = [n.metadata if isinstance(n, FieldInfo) else [n] for n in arguments[1:]]
        return _values(arguments[0], tuple(chain(*inside)))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in choices(kind))
    if origin in (Union, types.UnionType):
        members = [_values(member, notes) for member in arguments if member is not types.NoneType]
        return " or ".join(members + ["`null`"] * (types.NoneType in arguments))
    if origin is list:
        entry, _, limits = _values(arguments[0], ()).partition(", ")
        entries = f"list of {entry if '`' in entry else f'{entry}s'}{limits and f' ({limits})'}"
        return ", ".join([entries, *_limits(notes, "entries")])
    if kind in _RANGES:
        return ", ".join([f"[{_RANGES[kind]}](#ranges)", *_limits(notes)])
    if any(getattr(note, "pattern", None) == RUN_NAME for note in notes):
        return RUN_NAME_WORDS
    return ", ".join([_NAMES[kind], *_limits(notes)])


def _limits(notes: tuple[Any, ...], unit: str = "") -> Iterator[str]:
    low, high = "", ""
    for note in notes:
        match note:
            case bounds.Ge(ge=value) | bounds.MinLen(min_length=value):
                low = f"at least {_number(value)}"
            case bounds.Gt(gt=value):
                low = f"above {_number(value)}"
            case bounds.Le(le=value) | bounds.MaxLen(max_length=value):
                high = f"at most {_number(value)}"
            case bounds.Lt(lt=value):
                high = f"below {_number(value)}"
            case AfterValidator(func=Within() as within):
                yield within.words
    if low.startswith("at least") and high.startswith("at most"):
        yield f"{low.removeprefix('at least ')} to {high.removeprefix('at most ')} {unit}".rstrip()
        return
    for words in filter(None, (low, high)):
        yield f"{words} {'entry' if unit and words.endswith(' 1') else unit}".rstrip()


def _number(value: Any) -> str:
    """Format a number: thousands separated, large ones relative to a power of two."""
    if isinstance(value, int) and value > 2**30:
        power = round(math.log2(value))
        rest = value - 2**power
        return f"2^{power}" + (f" - {-rest}" if rest < 0 else "")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _default(value: Any) -> str:
    if value is PydanticUndefined or value is dataclasses.MISSING:
        return "required"
    if isinstance(value, float):
        return f"`{value:.4g}`"
    if isinstance(value, FloatRange):
        return f"`{{low: {value.low:g}, high: {value.high:g}}}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _join(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub and MyST give a heading: dots are dropped."""
    return heading.replace(".", "").lower()


def _table(keys: tuple[Key, ...]) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{k.name}` | {k.values} | {k.default} | {k.meaning} |" for k in keys]
    return "\n".join(lines)


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), page())
