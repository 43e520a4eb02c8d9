"""Files that nobody vouches for, and what reading them may end in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, currently_in_test_context, event, settings
from hypothesis import strategies as st

from dipstage.errors import MESSAGE_CHARS, InputError

T = TypeVar("T")
Path_ = tuple[str | int, ...]

NASTY = [
    "1e999", "-1e999", ".nan", "-.inf", "9" * 400, "9" * 5000, "1" + "0" * 15, str(2**63),
    str(-(2**63) - 1), "1e308", "5e-324", "-0.0", "0x7fffffffffffffff", "0o17", "1_0", "true", "~",
    "[]", "{}", "[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]", '"\\0"', '"\\e[31m"', '"\\ud800"',
    '"\\u2028"', "!!python/object/apply:os.getcwd []", "!!binary aGk=", "!!set {a}", "!x 1",
    "2020-01-01", "2020-99-01", "2020-01-01T00:00:00Z", "&a [1]", "*a", "{<<: {a: 1}}", "{1: 2}",
    "{null: 1}", "{[1]: 2}", "? [a]", "=", "../x", ".", '"x\\n"', "a" * 5000, "|\n  x\n",
    "/dev/zero", "- 1", "é", "\x85", "\ufeff", "%YAML 1.1\n---\n", "'", '"', "#", "\t", "\0",
    "\x1b[2J", "\u202e",
]  # fmt: skip
"""Scalars and fragments that break readers."""


def examples(count: int) -> settings:
    """`count` times DIPSEARCH_EXAMPLES, 1 where it is not set; drawn anew where it is."""
    factor = float(os.environ.get("DIPSEARCH_EXAMPLES", "1"))
    return settings(
        max_examples=max(1, round(count * factor)),
        derandomize=factor == 1,
        database=None,
        suppress_health_check=[*HealthCheck],
    )


def result(path: Path, read: Callable[[Path], T]) -> T | None:
    """What a file is read as, or None where it is refused in one short line that names it."""
    value: T | None
    try:
        value = read(path)
    except InputError as error:
        message = str(error)
        assert path.name in message
        assert len(message) <= MESSAGE_CHARS
        assert message.isprintable()
        assert "Traceback" not in message
        value = None
    if currently_in_test_context():
        event("refused" if value is None else "read")
    return value


@st.composite
def mutations(draw: st.DrawFn, documents: list[bytes]) -> bytes:
    """A valid document after one to four accidents."""
    data = draw(st.sampled_from(documents))
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(ACCIDENTS))(draw, data, documents)
    return data


def _flip(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _cut(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _drop_a_line(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = draw(st.integers(0, len(lines) - 1))
    return b"".join(lines[:at] + lines[at + 1 :])


def _double_a_line(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = draw(st.integers(0, len(lines) - 1))
    return b"".join(lines[: at + 1] + lines[at:])


def _replace_a_word(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    words = [*re.finditer(rb"[^\s:,\[\]{}]+", data)]
    if not words:
        return data
    word = draw(st.sampled_from(words))
    nasty = draw(st.sampled_from(NASTY)).encode()
    return data[: word.start()] + nasty + data[word.end() :]


def _insert(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(NASTY)).encode() + data[at:]


def _splice(draw: st.DrawFn, data: bytes, documents: list[bytes]) -> bytes:
    other = draw(st.sampled_from(documents))
    return data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]


ACCIDENTS: list[Callable[[st.DrawFn, bytes, list[bytes]], bytes]] = [
    _flip, _cut, _drop_a_line, _double_a_line, _replace_a_word, _replace_a_word, _insert, _splice,
]  # fmt: skip
BYTE_ACCIDENTS = [_flip, _cut, _splice]

YAML_TEXTS = st.lists(
    st.sampled_from([*NASTY, *":-[]{},?&*!|>'\"%@`#=~ \n", ": ", "- ", "\n  ", "a", "<<", "0"])
    | st.text(max_size=3),
    max_size=30,
).map("".join)
"""Text of YAML's own characters."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, 30, 10**15, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "raw", "log10", "free", "../x", "x\n", "\x1b[31m", "\ud800"])
)


def values(keys: list[str]) -> st.SearchStrategy[Any]:
    """Plain data of any shape, often with keys that mean something."""
    names = st.sampled_from(keys) | st.text(max_size=4)
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )


@st.composite
def altered(draw: st.DrawFn, contents: list[dict[str, Any]]) -> bytes:
    """A valid document's content with up to three of its parts replaced, as JSON, which is YAML."""
    content = json.loads(json.dumps(draw(st.sampled_from(contents))))
    keys = sorted({str(path[-1]) for path in _paths(content)})
    for _ in range(draw(st.integers(0, 3))):
        *parents, last = draw(st.sampled_from(_paths(content)))
        inner = content
        for parent in parents:
            inner = inner[parent]
        old = inner[last]
        near = type(old) in (int, float) and 0 <= old < 10**6
        inner[last] = draw(st.integers(0, 3 * int(old) + 2) if near else values(keys))
        if not _paths(content):
            break
    return json.dumps(content).encode()


def _paths(content: Any, prefix: Path_ = ()) -> list[Path_]:
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    return [path for key, item in items for path in [(*prefix, key), *_paths(item, (*prefix, key))]]
