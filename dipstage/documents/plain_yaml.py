"""YAML 1.2 restricted to plain data, with limits that keep untrusted files harmless."""

from __future__ import annotations

import codecs
import io
import math
import os
import re
import shlex
import unicodedata
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from dipstage.documents.whole_files import read_regular
from dipstage.errors import InputError

DOCUMENT_BYTES = 500_000
"""Largest YAML file."""
VALUES = 20_000
"""Most keys and values: ten thousand seeds and a thousand pictures fit, and are read in seconds."""
DEPTH = 16
"""Deepest nesting; a schedule file has five levels."""
WHOLE = 2**63
"""Whole numbers must be below, as databases and arrays hold 64 bits."""

_PLAIN = "not plain YAML"
_NUMBER = re.compile(
    r"[-+]?((0|[1-9]\d*)|(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN)",
    re.ASCII,
)
"""Numbers that every version of YAML reads alike: not 1_000, 0o17, 0x1F, 0b11 or 017."""
_NAMES = {type(None): "nothing", str: "a text", bool: "true or false", list: "a list"}
_PROBLEMS = {
    "found another document": "keep one document",
    "'\\t' that cannot start any token": "a tab stands where only spaces may: replace it by spaces",
    "mapping values are not allowed": "a second colon: put a value that contains one in quotes",
    "could not find expected ':'": "a key without a colon and a space behind it",
    "that cannot start any token": "a value that begins with @, % or ` must be in quotes",
    "end of stream": "a quote or bracket is not closed",
    "<stream end>": "a quote or bracket is not closed",
    "<block end>": "this does not go on as the lines before began: check spaces and quotes",
    "escape": "a backslash in double quotes: take single ones",
}
"""Complaints of the parser in other words."""
_FORBIDDEN = {"Cc": "a control character", "Cs": "half a character"} | dict.fromkeys(
    ("Zl", "Zp"), "a line break"
)
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""Encodings by the byte order mark that a file begins with; one of UTF-32 begins like UTF-16's."""
_UNREADABLE = re.compile("[^\\t\\n\\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow."""


def forbidden_in(text: str) -> str | None:
    """Name what in a text would break lines, terminals or encodings; None if nothing does."""
    categories = ("Zl" if c in "\n\r" else unicodedata.category(c) for c in text)
    found = (words for each in categories if (words := _FORBIDDEN.get(each)))
    return next(found, "an invisible character" if _INVISIBLE.search(text) else None)


def remedy_for(text: str) -> str:
    """Say what to do about what `forbidden_in` finds; it may be in the name of a file."""
    if not os.path.lexists(text):
        return "leave it out"
    written = ""
    for c in text:
        is_byte = "\udc80" <= c <= "\udcff"  # Of a name that is no text in the system's encoding.
        escape = f"\\x{ord(c) - 0xDC00:02x}" if is_byte else f"\\u{ord(c):04x}"
        written += escape if forbidden_in(c) is not None or c in "'\\" else c
    kept = "".join(c for c in text if forbidden_in(c) is None)
    return f"rename the file, with mv -- $'{written}' {shlex.quote(kept or 'new')}"


def decoded_otherwise(text: str) -> str | None:
    """Return a text from the system as UTF-8; None if that is no other text without what hides.

    A locale that is not the file system's turns the name of a file into other characters.
    """
    try:
        found = os.fsencode(text).decode()
    except UnicodeError:
        return None
    return found if found != text and forbidden_in(found) is None else None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML 1.2 file; InputError names the file and the line."""
    content = parse_yaml(read_regular(path, DOCUMENT_BYTES, str(path)), str(path))
    if not isinstance(content, dict):
        kind = _NAMES.get(type(content), "a number")
        raise InputError(f"{path}: expected keys and values, found {kind}")
    return content


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Parse YAML 1.2 into plain data, within the limits above; InputError begins with `where`.

    Anchors, aliases and tags are refused, so nothing is expanded and only plain data is made.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    text = _decoded(text, where)
    if re.match(r"(\s*#[^\n]*\n|\s*\n)*%YAML\s+(?!1\.2\s)", text):
        raise InputError(f"{where}: only YAML 1.2 is read: leave out the %YAML line")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _plain_composer()
    try:
        with warnings.catch_warnings(action="ignore"):
            content = yaml.load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = str(error.problem).split("with value")[0].strip()
        raise InputError(f"{where}, line {line}: {problem}: keep one") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line_words = f", line {mark.line + 1}" if mark else ""
        words = _PLAIN if error.context == _PLAIN else "not YAML"
        problem = next(
            (ours for theirs, ours in _PROBLEMS.items() if theirs in str(error.problem)),
            str(error.problem),
        )
        raise InputError(f"{where}{line_words}: {words}: {problem}") from None
    except Exception as error:  # Readers of scalars raise errors of many kinds.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: not YAML: {reason}") from None
    return content


def _decoded(data: str | bytes, where: str) -> str:
    """Return text in UTF-8, or in another encoding that a byte order mark names."""
    if isinstance(data, bytes):
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
        if encoding == "utf-8" and b"\0" in data:
            raise InputError(f"{where} is not text in UTF-8: name a YAML file, or save it as UTF-8")
        try:
            data = data.decode(encoding)
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{where}, line {line}: not text in {encoding.upper()}: save the file as UTF-8"
            ) from None
    data = data.removeprefix("\ufeff")
    if (found := _UNREADABLE.search(data)) is not None:
        line = data.count("\n", 0, found.start()) + 1
        words = forbidden_in(found[0]) or "a character that YAML does not allow"
        raise InputError(f"{where}, line {line}: {words}, {found[0]!r}: leave it out")
    return data


@cache
def _plain_composer() -> type[Any]:
    from ruamel.yaml.composer import Composer, ComposerError
    from ruamel.yaml.events import AliasEvent
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    class PlainComposer(Composer):
        """Refuses YAML that is more than plain data, and names the line."""

        level = 0
        values = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """Compose one value and what it contains."""
            event = self.parser.peek_event()
            problem = None
            if isinstance(event, AliasEvent) or event.anchor is not None:
                problem = "anchors and aliases are not read: write the value itself"
            elif event.ctag is not None:
                problem = "tags are not read: write the value without"
            elif self.level >= DEPTH:
                problem = f"more than {DEPTH} lists and groups of keys within each other"
            elif self.values >= VALUES:
                problem = f"more than {VALUES:,} keys and values"
            if problem is not None:
                raise ComposerError(_PLAIN, None, problem, event.start_mark)
            self.level, self.values = self.level + 1, self.values + 1
            node = super().compose_node(parent, index)
            is_key = isinstance(parent, MappingNode) and index is None
            if isinstance(node, ScalarNode):
                problem = _unplain(node.tag, node.value, is_key=is_key)
                if problem and is_key and parent.flow_style and _NUMBER.fullmatch(node.value):
                    problem += "; if it follows a decimal comma, write a point instead"
            elif is_key:
                problem = "a list or group of keys where a key is expected: write a text"
            if problem is not None:
                raise ComposerError(_PLAIN, None, problem, event.start_mark)
            self.level -= 1
            return node

    return PlainComposer


def _unplain(tag: str | None, text: str, *, is_key: bool) -> str | None:
    """Say why a key or value is not plain, or could be read otherwise than meant; None if fine."""
    kind = (tag or "").rpartition(":")[2]
    if kind == "str":
        found = forbidden_in(text)
        return None if found is None else f"{found} in the text {text!r}: {remedy_for(text)}"
    if is_key and kind != "merge":
        return f"the key {text} is no text: put it in quotes" if text else "a key has no name"
    if kind == "timestamp":
        return f"{text} is read as a date, which no value is: put a text in quotes"
    if kind in ("merge", "value"):
        return f"{text} has a meaning in old versions of YAML only: put it in quotes"
    if kind not in ("int", "float"):
        return None
    if not _NUMBER.fullmatch(text):
        return f"{text} is a text to some readers: write a number in plain digits, a text in quotes"
    is_infinite = "n" not in text.lower() and math.isinf(float(text))
    if is_infinite or (kind == "int" and not -WHOLE <= int(text) < WHOLE):
        return f"{text} is larger than any number here, 64 bits"
    return None


def plain_number(text: str) -> int | float | None:
    """Return the number that a text is in these files, spaces around it aside; None if it is none.

    Nothing else is a number on a command line either: not 1_0, 0x10, 010, nan or digits of another
    script.
    """
    text = text.strip(" ")
    if not _NUMBER.fullmatch(text) or "n" in text.lower():
        return None
    return int(text) if text.lstrip("-+").isdigit() and len(text) <= 300 else float(text)


def yaml_text(content: dict[str, Any]) -> str:
    """Write plain data as YAML that reads back exactly, floats included; keys keep their order."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _plain_representer()
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


@cache
def _plain_representer() -> type[Any]:
    from ruamel.yaml.representer import SafeRepresenter

    class PlainRepresenter(SafeRepresenter):
        """Writes no aliases, and quotes what ruamel.yaml 0.19 would not read back, as in [?a]."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_text(self, text: str) -> Any:
            style = None if text[:1].isalnum() or text[:1] in "/._" else '"'
            return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    PlainRepresenter.add_representer(str, PlainRepresenter.represent_text)
    return PlainRepresenter
