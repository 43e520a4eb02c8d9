"""The code digest changes with what computes numbers, and with nothing else."""

import ast
import shutil
from pathlib import Path

import pytest

import dipstage
from dipstage.tasks.registry import OWN
from search.store.code import content_of, covered, digest_of

PACKAGE = Path(dipstage.__file__).parent
MODULES = sorted(covered(PACKAGE))
DIGEST = digest_of(PACKAGE)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "dipstage"))


def path_of(package: Path, module: str) -> Path:
    return package.joinpath(*module.split(".")).with_suffix(".py")


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def test_it_covers_what_computes_numbers_and_nothing_else() -> None:
    assert {
        "randomness", "pictures.colours", "pictures.decoders", "pictures.files", "pictures.images",
        "schedules.controls", "schedules.noise", "schedules.presets", "schedules.schedule",
        "schedules.settings", "schedules.stopping", "training.arithmetic", "training.metrics",
        "training.network", "training.outcome", "training.trainer",
    } <= set(MODULES)  # fmt: skip
    assert {kind.__module__.removeprefix("dipstage.") for kind in OWN.values()} <= set(MODULES)
    rest = {"terminal", "documents", "errors", "interrupts", "renamed", "arguments", "silence"}
    assert not rest & {name.split(".")[0] for name in MODULES}


@pytest.mark.long
def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    for module, before in covered(PACKAGE).items():
        path = path_of(package, module)
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            match node:
                case ast.Expr(value=ast.Constant(value=str()) as docstring):
                    docstring.value = f"Reworded: {docstring.value!r}"
                case ast.Call(func=ast.Name(id="InputError")):
                    node.args = [ast.Constant("reworded")]
                case ast.keyword(arg="help" | "words"):
                    node.value = ast.Constant("reworded")
        edited = f"# A comment.\n{ast.unparse(tree)}\n"
        assert edited != path.read_text()
        assert content_of(ast.parse(edited)) == content_of(before), module
        path.write_text(edited)
    assert digest_of(package) == DIGEST


def in_messages(tree: ast.AST) -> set[ast.AST]:
    """Nodes inside the messages of errors."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return {
        inner
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id.endswith("Error")
        for inner in ast.walk(call)
    }


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_every_constant_and_operator_counts(package: Path, module: str) -> None:
    """Of a module's content, which is all of it that the digest is made of."""
    path = path_of(package, module)
    changed, edited = 0, ""
    tree = ast.parse(path.read_text())
    before, messages = content_of(tree), in_messages(tree)
    for node in ast.walk(tree):
        if node in messages:
            continue
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            kept, node.value = node.value, 7.25
            after, edited = content_of(tree), ast.unparse(tree) if not changed else edited
            node.value = kept
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            operator = node.op
            node.op = ast.Div()
            after, edited = content_of(tree), ast.unparse(tree) if not changed else edited
            node.op = operator
        else:
            continue
        assert after != before, ast.unparse(node)
        changed += 1
        if changed >= 8:
            break
    assert changed
    path.write_text(edited)
    assert digest_of(package) != DIGEST


@pytest.mark.long
def test_a_module_that_training_comes_to_import_is_covered_by_itself(package: Path) -> None:
    before = digest_of(package)
    (package / "novel.py").write_text("X = 1\n")
    assert digest_of(package) == before
    edit(
        package / "schedules/noise.py",
        "from dipstage.errors import InputError\n",
        "from dipstage.errors import InputError\nfrom dipstage import novel\n",
    )
    with_import = digest_of(package)
    assert "novel" in covered(package)
    (package / "novel.py").write_text("X = 2\n")
    assert len({before, with_import, digest_of(package)}) == 3


@pytest.mark.long
def test_what_only_reads_writes_or_shows_does_not_count(package: Path) -> None:
    before = digest_of(package)
    edit(package / "terminal" / "display.py", "cells = 30", "cells = 50")
    edit(package / "schedules/schedule.py", "<Schedule of ", "<A schedule of ")
    edit(package / "documents" / "plain_yaml.py", "DEPTH = 16", "DEPTH = 17")
    edit(package / "errors.py", "MESSAGE_CHARS = 480", "MESSAGE_CHARS = 500")
    assert digest_of(package) == before
