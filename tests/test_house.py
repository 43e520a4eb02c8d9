"""Who may import what, and what `--help` may not wait for."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from internals import private_attributes, private_imports, tree
from needs import COMMANDS

from search.cli import main

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "dipstage").rglob("*.py"), *(ROOT / "search").rglob("*.py")])
ALLOWED = {
    "ray": {
        "execution/cluster.py",
        "execution/loggers.py",
        "execution/ray_internals.py",
        "execution/resources.py",
        "execution/trainable.py",
        "execution/tuning.py",
        "remote/jobs.py",
    },
    "optuna": {
        "analysis/importance.py",
        "dashboard/mirror.py",
        "execution/budget.py",
        "execution/ledger.py",
        "execution/sampler.py",
        "execution/work.py",
        "experiment/space.py",
        "store/attributes.py",
        "store/optuna_internals.py",
        "store/records.py",
        "store/rows.py",
        "store/run.py",
        "store/storage.py",
        "store/study.py",
    },
}

ADAPTERS = {
    "optuna": ROOT / "search" / "store" / "optuna_internals.py",
    "ray": ROOT / "search" / "execution" / "ray_internals.py",
}
ATTRIBUTES = {
    "store/attributes.py": "names and reads them all",
    "store/rows.py": "copies the rows of all attributes, whatever they are",
    "store/storage.py": "makes Optuna's own methods wait for a server",
    "dashboard/mirror.py": "answers the dashboard with what it put into its own copy",
}
"""Modules that may touch user attributes, and why."""


@functools.cache
def imports(path: Path) -> set[str]:
    """First names of all imports in a file, at any depth."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_dipstage_never_imports_search() -> None:
    for path in SOURCES:
        if "dipstage" in path.relative_to(ROOT).parts:
            assert not {"search", "ray", "optuna", "pydantic"} & imports(path), path.name


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_ray_and_optuna_stay_in_their_rooms(package: str) -> None:
    importers = {
        path.relative_to(ROOT / "search").as_posix() for path in SOURCES if package in imports(path)
    }
    assert importers == ALLOWED[package]


@pytest.mark.parametrize("package", sorted(ADAPTERS))
def test_what_is_private_of_ray_and_optuna_stands_behind_one_adapter(package: str) -> None:
    adapter = ADAPTERS[package].relative_to(ROOT)
    for path in SOURCES:
        if path not in ADAPTERS.values():
            used = [*private_imports(path, package), *private_attributes(path, own=False)]
            assert not used, (
                f"{path.relative_to(ROOT)} uses {', '.join(used)}: what is private of {package} "
                f"belongs into {adapter}"
            )


def test_user_attributes_are_read_and_written_in_one_module() -> None:
    for path in sorted((ROOT / "search").rglob("*.py")):
        name = path.relative_to(ROOT / "search").as_posix()
        for node in ast.walk(tree(path)):
            used = node.attr if isinstance(node, ast.Attribute) else ""
            assert "user_attr" not in used or name in ATTRIBUTES, (
                f"search/{name} uses .{used}: read and write attributes of studies and trials "
                "through search/store/attributes.py"
            )


def test_replicate_keys_are_built_and_parsed_in_one_module() -> None:
    for path in sorted((ROOT / "search").rglob("*.py")):
        if path.name != "replicate.py":
            texts = {
                node.value
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert not {"-seed", "replicate:"} & texts or path.name == "attributes.py", (
                f"{path.relative_to(ROOT)} builds or parses a replicate's key: use "
                "search.store.replicate.ReplicateKey"
            )


NEVER_FIRST = {
    "As", "At", "By", "For", "From", "How", "If", "In", "Of", "On", "To", "What", "When", "Where",
    "Whether", "Which", "Who", "Why", "With",
}  # fmt: skip


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Docstrings of modules, classes, functions and of what is assigned."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield text


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    for path in SOURCES:
        for text in docstrings(tree(path)):
            assert text.split(maxsplit=1)[0] not in NEVER_FIRST, (
                f"{path.relative_to(ROOT)}: begin with an imperative verb or a noun phrase: "
                f"{text[:60]!r}"
            )


def loaded(program: str) -> set[str]:
    """Top-level modules in a process after it ran a program."""
    report = f"import sys\n{program}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HELP = """
from {package} import main
try:
    main(["--help"])
except SystemExit:
    pass
"""


@pytest.mark.parametrize("package", ["dipstage.terminal.cli", "search.cli"])
def test_help_imports_nothing_heavy(package: str) -> None:
    heavy = {"torch", "ray", "optuna", "pandas", "matplotlib", "skimage", "numpy", "rich"}
    assert not heavy & loaded(HELP.format(package=package))


def test_analysis_imports_neither_torch_nor_ray_nor_pandas() -> None:
    modules = (
        "search.store.run, search.terminal.tables, search.terminal.progress, "
        "search.analysis.status, search.verification.export, search.analysis.pareto"
    )
    heavy = {"torch", "ray", "pandas", "matplotlib", "skimage", "pydantic"}
    assert not heavy & loaded(f"import {modules}")


def test_commands_that_start_ray_need_its_marker() -> None:
    starting = {
        name
        for name, command in main.commands.items()
        if any(
            option.name == "address" and option.metavar == "ADDRESS" for option in command.params
        )
    }
    assert starting == {name for name, marker in COMMANDS.items() if marker == "ray"}


@pytest.mark.parametrize("package", ["dipstage", "search"])
def test_folders_of_tests_mirror_packages(package: str) -> None:
    folders = {
        path.parent.relative_to(ROOT / "tests")
        for path in (ROOT / "tests" / package).rglob("test_*.py")
    }
    assert len(folders) > 1
    assert [folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_tests_that_the_docs_name_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = set(re.findall(r"test_[a-z_]+\.py", text))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(named) >= 3
    assert named <= there


def test_tests_that_the_docs_call_slow_are_marked() -> None:
    rows = (ROOT / "docs" / "reliability.md").read_text().splitlines()
    slow = [row for row in rows if row.startswith("|") and "slow)" in row]
    named = {name for row in slow for name in re.findall(r"test_[a-z_]+\.py", row)}
    marked = {
        path.name for path in (ROOT / "tests").rglob("test_*.py") if "mark.slow" in path.read_text()
    }
    assert len(named) >= 3
    assert named <= marked


def test_no_file_names_a_registry_or_a_machine_s_path() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    assert tracked, "the test reads what git tracks"
    forbidden = ("index-" + "url", "files.python" + "hosted", "/ro" + "ot/", "/wo" + "rk/")
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".png", ".webp", ".svg", ".gz", ".xz") or not path.is_file():
            continue
        for word in forbidden:
            assert word not in path.read_text(), f"{name} holds {word}"
