"""YAML that is plain data, and files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
import uuid
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from dipstage.errors import InputError

DOCUMENT_BYTES = 500_000
"""Of a YAML file."""
VALUES = 20_000
"""Keys and values in it: ten thousand seeds and a thousand pictures fit, read in seconds."""
DEPTH = 16
"""Lists and groups of keys within each other; a schedule file has five."""
WHOLE = 2**63
"""Whole numbers lie below, as in any database and array that they are kept in."""

_PLAIN = "not plain YAML"
_FORBIDDEN = {"Cc": "a control character", "Cs": "half a character"} | dict.fromkeys(
    ("Zl", "Zp"), "a line break"
)


def read_regular(path: Path, most_bytes: int, what: str) -> bytes:
    """A file's content; InputError, beginning with `what`, for all but a regular file of that size.

    Not waiting on opening, and looking at what was opened, keeps pipes and devices from hanging.
    Object storage, whose paths are no `Path`, holds nothing but files.
    """
    remote = not isinstance(path, Path)
    try:
        with path.open("rb") if remote else open(path, "rb", opener=_open_without_waiting) as file:
            if not remote and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{what} cannot be read: it is not a regular file")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{what} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except ValueError as error:  # A path that no system call takes: NUL, half a character.
        raise InputError(f"{what} cannot be read: {error}") from None
    if len(data) > most_bytes:
        raise InputError(f"{what} has more than {most_bytes:,} bytes: it is too large to be read")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def forbidden_in(text: str) -> str | None:
    """What a text holds that would break lines, terminals or encodings; None for nothing."""
    return next((words for c in text if (words := _FORBIDDEN.get(unicodedata.category(c)))), None)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML 1.2 file, plain data only; InputError names the file and the line."""
    content = parse_yaml(read_regular(path, DOCUMENT_BYTES, str(path)), str(path))
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected keys and values, found {kind}")
    return content


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Plain data of YAML 1.2, within the limits above; InputError begins with `where`.

    Anchors, aliases and tags are refused: nothing is expanded, nothing but plain data is made.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

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
        raise InputError(f"{where}{line_words}: {words}: {error.problem}") from None
    except Exception as error:  # The scalars' readers raise errors of many kinds.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: not YAML: {reason}") from None
    _refuse_unplain(content, where)
    return content


@cache
def _plain_composer() -> type[Any]:
    from ruamel.yaml.composer import Composer, ComposerError
    from ruamel.yaml.events import AliasEvent

    class PlainComposer(Composer):
        """Refuses what makes YAML more than plain data, at the line where it stands."""

        level = 0
        values = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """One value and what it holds."""
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
            self.level -= 1
            return node

    return PlainComposer


def _refuse_unplain(content: Any, where: str) -> None:
    """Content is a tree, since nothing in it was an alias."""
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
                f"{where}: {value!r} is read as a {type(value).__name__}: put it in quotes"
            )


def yaml_text(content: dict[str, Any]) -> str:
    """Plain data as YAML that reads back exactly, floats included; keys keep their order."""
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


def write_whole(path: Path, content: bytes | str) -> None:
    """Write aside, flush to the disk, rename: readers see the old file or the new one.

    Object storage, whose paths are no `Path`, shows a file once all of it is there.
    """
    data = content.encode() if isinstance(content, str) else content
    if not isinstance(path, Path):
        try:
            path.write_bytes(data)
        except Exception as error:  # Clients of object stores raise errors of many kinds.
            raise OSError(None, str(error) or type(error).__name__, str(path)) from None
        return
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
