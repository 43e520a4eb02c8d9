"""YAML 1.2 restricted to plain data, with limits that keep untrusted files harmless."""

from __future__ import annotations

import io
import math
import os
import re
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
    r"|\.(nan|NaN|NAN)"
)
"""Numbers that every version of YAML reads alike: not 1_000, 0o17, 0x1F, 0b11 or 017."""
_FORBIDDEN = {"Cc": "a control character", "Cs": "half a character"} | dict.fromkeys(
    ("Zl", "Zp"), "a line break"
)
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def forbidden_in(text: str) -> str | None:
    """Name what in a text would break lines, terminals or encodings; None if nothing does."""
    found = (words for c in text if (words := _FORBIDDEN.get(unicodedata.category(c))))
    return next(found, "an invisible character" if _INVISIBLE.search(text) else None)


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
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected keys and values, found {kind}")
    return content


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Parse YAML 1.2 into plain data, within the limits above; InputError begins with `where`.

    Anchors, aliases and tags are refused, so nothing is expanded and only plain data is made.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    head = text if isinstance(text, bytes) else text.encode(errors="replace")
    if re.match(rb"(\xef\xbb\xbf)?(\s*#[^\n]*\n|\s*\n)*%YAML\s+(?!1\.2\s)", head):
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
        problem = str(error.problem).replace("but found another", "keep one")
        raise InputError(f"{where}{line_words}: {words}: {problem}") from None
    except Exception as error:  # Readers of scalars raise errors of many kinds.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: not YAML: {reason}") from None
    _refuse_unplain(content, where)
    return content


@cache
def _plain_composer() -> type[Any]:
    from ruamel.yaml.composer import Composer, ComposerError
    from ruamel.yaml.events import AliasEvent
    from ruamel.yaml.nodes import ScalarNode

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
            if isinstance(node, ScalarNode) and (problem := _ambiguity(node.tag or "", node.value)):
                raise ComposerError(_PLAIN, None, problem, event.start_mark)
            self.level -= 1
            return node

    return PlainComposer


def _ambiguity(tag: str | None, text: str) -> str | None:
    """Say why a value could be read otherwise than it was meant; None if it could not."""
    kind = (tag or "").rpartition(":")[2]
    if kind in ("merge", "value"):
        return f"{text} has a meaning in old versions of YAML only: put it in quotes"
    if kind not in ("int", "float"):
        return None
    if not _NUMBER.fullmatch(text):
        return f"{text} is a text to some readers: write a number in plain digits, a text in quotes"
    if "n" not in text.lower() and math.isinf(float(text)):
        return f"{text} is larger than any number here, 64 bits"
    return None


def _refuse_unplain(content: Any, where: str) -> None:
    """Refuse values that are not plain. The content is a tree, as aliases are refused."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend([*value, *value.values()])
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            if (found := forbidden_in(value)) is not None:
                raise InputError(f"{where}: {found} in the text {value!r}: leave it out")
        elif isinstance(value, int):
            if not -WHOLE <= value < WHOLE:
                raise InputError(f"{where}: a whole number is larger than any number here, 64 bits")
        elif not isinstance(value, float | None):
            raise InputError(
                f"{where}: {value} is read as a {type(value).__name__}: put it in quotes"
            )


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
