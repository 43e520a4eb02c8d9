"""YAML that is plain data, and files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

from dipstage.errors import InputError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML 1.2 file, plain data only; InputError names the file and the line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    content = parse_yaml(data, str(path))
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected keys and values, found {kind}")
    return content


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Plain data of YAML 1.2; InputError begins with `where`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = str(error.problem).split("with value")[0].strip()
        raise InputError(f"{where}, line {line}: {problem}: keep one") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line_words = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{where}{line_words}: not YAML: {error.problem}") from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: not YAML: {reason}") from None


def yaml_text(content: dict[str, Any]) -> str:
    """Plain data as YAML that reads back exactly, floats included; keys keep their order."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write aside, flush to the disk, rename: readers see the old file or the new one."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
