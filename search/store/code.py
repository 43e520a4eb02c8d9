"""Digest of the code that computes numbers, which a resume compares with the code of its run.

The digest covers the syntax trees of the modules of `dipstage` that training imports, directly or
indirectly. It does not depend on comments, docstrings, the text of errors and settings, or code
that only reads, writes or displays.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOTS = (
    "training.trainer", "pictures.images", "schedules.presets", "schedules.controls",
    "tasks.inpaint", "tasks.super_resolve",
)  # fmt: skip
"""Modules from which imports are followed: training, its pictures, named schedules and tasks."""
NO_NUMBERS = (
    "documents", "terminal", "errors", "renamed", "interrupts", "garbage", "arguments", "silence",
)  # fmt: skip
"""Packages and modules that training imports only for input, output and error messages."""
_TEXTS = ("help", "rule", "words")
"""Keyword arguments that hold text for users."""
_NO_MEANING = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of syntax trees that have no effect or are implied by other fields."""


def digest_of(package: Path) -> str:
    """Return the hexadecimal digest of the code that computes numbers, in the package's folder.

    Returns:
        16 hexadecimal digits, which do not depend on the version of Python.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(covered(package).items()):
        digest.update(f"{name}\0{content_of(tree)!r}\0".encode())
    return digest.hexdigest()[:16]


def covered(package: Path) -> dict[str, ast.Module]:
    """Return the syntax trees of the covered modules, by their dotted names within `package`."""
    found: dict[str, ast.Module] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found or name.split(".")[0] in NO_NUMBERS:
            continue
        path = package.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.is_file():
            found[name] = ast.parse(path.read_bytes())
            waiting.extend(_imported(found[name], package.name))
    return found


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names that a tree imports from the package; some may not be modules."""
    for node in _walk_run_time(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (
            name.removeprefix(f"{package}.") for name in names if name.startswith(f"{package}.")
        )


def _walk_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes except those that only type checkers read."""
    if _is_type_checking(node):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk_run_time(child)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def content_of(node: Any) -> Any:
    """Return the part of a syntax tree that affects numbers, as nested tuples."""
    if isinstance(node, list):
        return tuple(content_of(item) for item in node if not _computes_nothing(item))
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        (name, value)
        for name, value in ast.iter_fields(node)
        if name not in _NO_MEANING and value is not None and value != []
    ]
    if isinstance(node, ast.Call) and _makes_error(node):
        fields = [("func", node.func)]
    return (type(node).__name__, *((name, content_of(value)) for name, value in fields))


def _computes_nothing(node: Any) -> bool:
    """Return whether a list item is a docstring, a text for users or an uncovered import."""
    if isinstance(node, ast.FunctionDef):
        return node.name == "__repr__"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.keyword):
        return node.arg in _TEXTS
    if isinstance(node, ast.ImportFrom):
        parts = (node.module or "").split(".")
        return parts[0] == "dipstage" and len(parts) > 1 and parts[1] in NO_NUMBERS
    return _is_type_checking(node) if isinstance(node, ast.AST) else False


def _makes_error(call: ast.Call) -> bool:
    """Return whether a call creates an exception; its arguments are then only a message."""
    return ast.unparse(call.func).endswith(("Error", "SystemExit"))
