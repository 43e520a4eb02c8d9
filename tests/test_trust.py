"""Nothing that is read can run: no pickles, no evaluation, no shell."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "dipstage").rglob("*.py"), *(ROOT / "search").rglob("*.py")])
UNPICKLING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
EVALUATING = {"eval", "exec", "compile", "__import__"}
NEEDED = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}


def dangers(source: str) -> list[str]:
    """What a program does that a file could use to run code, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0]}
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {words}" for words in _of_call(node)]
        found += [f"{node.lineno}: {name}" for name in names & UNPICKLING]  # type: ignore[attr-defined]
    return found


def _of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func).replace("numpy.", "np.")
    given = {
        word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)
    }
    found = []
    if name in EVALUATING or name in ("os.system", "os.popen", "pd.read_pickle"):
        found.append(name)
    if any(word.arg == "shell" for word in call.keywords) and given.get("shell") is not False:
        found.append("shell")
    if name in NEEDED and given.get(NEEDED[name][0]) is not NEEDED[name][1]:
        found.append(f"{name} without {NEEDED[name][0]}={NEEDED[name][1]}")
    if name == "YAML" and not (given.get("typ") == "safe" and given.get("pure") is True):
        found.append("YAML that is not safe")
    if name.startswith("yaml.") and name not in ("yaml.load", "yaml.dump"):
        found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
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
    ],
)  # fmt: skip
def test_every_danger_is_seen(source: str) -> None:
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "np.load(f, allow_pickle=False)", "torch.load(f, weights_only=True)", "network.eval()",
        "YAML(typ='safe', pure=True)", "subprocess.run(x)", "json.load(f)", "re.compile(x)",
    ],
)  # fmt: skip
def test_what_is_safe_passes(source: str) -> None:
    assert not dangers(source)
