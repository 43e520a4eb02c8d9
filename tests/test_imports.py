"""The import graph: packages import downwards only, and no module is part of a cycle.

Imports inside functions and under `TYPE_CHECKING` count: they are dependencies all the same.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from internals import tree

ROOT = Path(__file__).parents[1]
FLOORS = {
    "dipstage": [
        "documents", "schedules", "pictures", "tasks", "training", "restoration", "terminal",
    ],
    "search": [
        "experiment", "store", "analysis", "plots", "execution", "verification", "presentation",
        "terminal", "report", "dashboard", "remote", "commands",
    ],
}  # fmt: skip
"""The packages of each from the ground up.

Single modules of `search` stand above its packages, and those of `dipstage` below, except for
`__main__`.
"""


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules that a file imports, at any depth; a package only where no module of it is named."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


@functools.cache
def graph() -> dict[str, set[str]]:
    """What each module of both packages imports."""
    known = modules("dipstage") | modules("search")
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def room(module: str) -> str:
    """The package that a module belongs to; its own name where it stands alone."""
    return module.split(".")[1] if "." in module else module


def cycle_of(dependencies: Mapping[str, set[str]]) -> list[str]:
    """One cycle, or nothing."""
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_is_part_of_a_cycle() -> None:
    assert cycle_of(graph()) == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_packages_import_downwards_only(package: str) -> None:
    height = {name: floor for floor, name in enumerate(FLOORS[package])}
    single = -1 if package == "dipstage" else len(height)
    upwards = [
        f"{name} imports {other}"
        for name, others in graph().items()
        if name.startswith(f"{package}.") and room(name) != "__main__"
        for other in sorted(others)
        if other.startswith(f"{package}.")
        if height.get(room(other), single) > height.get(room(name), single)
    ]
    assert upwards == []


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_package_has_its_floor(package: str) -> None:
    packages = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert packages == set(FLOORS[package])


def test_nothing_inside_imports_the_public_facade() -> None:
    users = [name for name, others in graph().items() if {"search.api", "search"} & others]
    assert users == []


def test_the_graph_sees_local_and_type_checking_imports(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from a.b import C\n"
        "def f():\n    import a.d\n    from a import e\n"
    )
    known = dict.fromkeys(["a", "a.b", "a.d", "a.e"], file)
    assert set(imported(file, known)) == {"a.b", "a.d", "a.e"}
    assert cycle_of({"x": {"y"}, "y": {"x"}}) != []
