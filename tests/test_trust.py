"""Nothing that is read can run: no pickles, no evaluation, no shell."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [*(ROOT / "dipstage").rglob("*.py"), *(ROOT / "search").rglob("*.py"), ROOT / "dipsearch.py"]
)
UNPICKLING = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib",
    "read_pickle",
}  # fmt: skip
"""Forbidden as a part of any dotted name."""
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
}  # fmt: skip
SHELLS = {"sh", "bash", "dash", "ksh", "zsh", "csh", "fish", "cmd", "powershell", "pwsh"}
NEEDED = {"numpy.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}
USUAL = {"np": "numpy", "pd": "pandas"}


def dangers(source: str) -> list[str]:
    """What a program does that a file could use to run code, with its line."""
    tree = ast.parse(source)
    aliases = USUAL | {alias: name for _, alias, name in _imported(tree)}
    named = [(line, name) for line, _, name in _imported(tree)]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            named.append((node.lineno, _full_name(node, aliases)))
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {words}" for words in _of_call(node, aliases)]
        elif isinstance(node, ast.List | ast.Tuple) and _starts_a_shell(node):
            found.append(f"{node.lineno}: a shell")
    return found + [
        f"{line}: {name}"
        for line, name in named
        if name.removeprefix("builtins.") in FORBIDDEN or UNPICKLING & {*name.split(".")}
    ]


def _imported(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, name in the program and full name of all that is imported, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return a dotted name as if nothing had an alias; it begins with a dot if it has no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    first = node.id if isinstance(node, ast.Name) else ""
    return ".".join([aliases.get(first, first), *reversed(parts)])


def _starts_a_shell(command: ast.List | ast.Tuple) -> bool:
    match command.elts:
        case [ast.Constant(value=str(program)), *_]:
            return Path(program).name in SHELLS
    return False


def _of_call(call: ast.Call, aliases: dict[str, str]) -> list[str]:
    name = _full_name(call.func, aliases)
    given = {
        word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)
    }
    found = []
    if any(word.arg == "shell" for word in call.keywords) and given.get("shell") is not False:
        found.append("shell")
    if name in NEEDED and given.get(NEEDED[name][0]) is not NEEDED[name][1]:
        found.append(f"{name} without {NEEDED[name][0]}={NEEDED[name][1]}")
    is_safe = given.get("typ") == "safe" and given.get("pure") is True
    if name.split(".")[-1] == "YAML" and not is_safe:
        found.append("YAML that is not safe")
    if name.startswith("yaml.") and name not in ("yaml.load", "yaml.dump"):
        found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_can_run(path: Path) -> None:
    source = path.read_text()
    assert not dangers(source)
    # Only ruamel.yaml reads YAML, and only in one file.
    if "ruamel" in source:
        assert path.relative_to(ROOT) == Path("dipstage/documents/plain_yaml.py")
    assert not re.search(r"\bimport yaml\b", source)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from dill import loads", "eval('1')", "exec(text)", "YAML()",
        "YAML(typ='unsafe')", "YAML(typ='rt', pure=True)", "np.load(f)", "import shelve as s",
        "numpy.load(f, allow_pickle=True)", "torch.load(f)", "torch.load(f, weights_only=False)",
        "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)", "os.system(x)",
        "yaml.unsafe_load(f)", "def f():\n    import marshal",
        "from ray import cloudpickle", "import ray.cloudpickle", "ray.cloudpickle.loads(x)",
        "from numpy import load\nload(f, allow_pickle=True)", "from torch import load as l\nl(f)",
        "import numpy as n\nn.load(f)", "from os import system", "import os as o\no.popen(x)",
        "subprocess.run(['sh', '-c', x])", "subprocess.run(('/bin/bash', '-c', x))",
        "subprocess.getoutput(x)", "pandas.read_pickle(f)", "from pandas import read_pickle",
        "map(eval, x)", "from builtins import exec as e\ne(x)", "ruamel.yaml.YAML(typ='unsafe')",
    ],
)  # fmt: skip
def test_every_danger_is_seen(source: str) -> None:
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "np.load(f, allow_pickle=False)", "torch.load(f, weights_only=True)", "network.eval()",
        "YAML(typ='safe', pure=True)", "subprocess.run(x)", "json.load(f)", "re.compile(x)",
        "from re import compile", "import ruamel.yaml as y\ny.YAML(typ='safe', pure=True)",
        "from numpy import load\nload(f, allow_pickle=False)", "shells = [zsh, 'bash']",
    ],
)  # fmt: skip
def test_what_is_safe_passes(source: str) -> None:
    assert not dangers(source)
