"""Every command with consoles and locales of every encoding."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from every_command import COMMANDS, EVERY, GOING_ON, MARKS, RUN, end_of, verified_search

from dipstage.terminal.cli import main as dipstage
from search import Run

ENCODINGS = ["latin-1", "cp437", "utf-16", "shift_jis", "cp037"]
EACH_WAY = ["pareto", "compare", "one schedule", "export"]
"""One command of each way of printing: the others are tested with ASCII alone."""
CASES = [
    *(pytest.param(name, "ascii", marks=MARKS.get(name, ())) for name in COMMANDS),
    *(pytest.param(name, encoding) for name in EACH_WAY for encoding in ENCODINGS),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return verified_search(tmp_path_factory.mktemp("runs"))


@pytest.mark.long
@pytest.mark.parametrize(("name", "encoding"), CASES)
def test_what_an_encoding_lacks_is_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    buffer = io.BytesIO()
    stdout = io.TextIOWrapper(buffer, encoding=encoding)
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert code == (2 if name.startswith("an unknown") else 0)
    assert len(buffer.getvalue() if code == 0 else said) > 10
    assert "Traceback" not in said


ALL_AT_ONCE = """
import json, os, sys, traceback
from dipstage.terminal.cli import main as dipstage
from search.cli import main as dipsearch
programs, wrong = {"dipstage": dipstage, "dipsearch": dipsearch}, []
for program, line in json.load(sys.stdin):
    try:
        programs[program]([os.fsdecode(part.encode()) for part in line])
    except SystemExit as end:
        if end.code not in (0, 2):
            wrong.append([program, line, end.code])
    except BaseException:
        wrong.append([program, line, traceback.format_exc()])
print(json.dumps(wrong), file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1:strict"},
    ],
    ids=str,
)
def test_no_locale_ends_a_command_with_a_traceback(
    run: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    """In a process of its own, because the encoding of file names is fixed when it starts."""
    # Figures and pages do not depend on the locale, but for the names of their files, which only
    # one of these environments encodes otherwise.
    left_out = set(GOING_ON) | (set() if "PYTHONUTF8" in environment else {"plot", "report"})
    known = {
        name: line for name, line in COMMANDS.items() if name not in left_out and "help" not in name
    }
    lines = []
    for main, line in [*known.values(), *EVERY.values()]:
        program = "dipstage" if main is dipstage else "dipsearch"
        filled = [a.format(run=run.name, runs_dir=run.folder.parent, folder=tmp_path) for a in line]
        own = ["--runs-dir", str(run.folder.parent)] if RUN in line else []
        lines.append((program, filled + own))
    done = subprocess.run(
        [sys.executable, "-c", ALL_AT_ONCE], input=json.dumps(lines), cwd=tmp_path,
        capture_output=True, encoding="latin-1", check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
    )  # fmt: skip
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert len(done.stdout) > 10_000


def test_a_name_that_the_locale_decodes_otherwise_is_explained(tmp_path: Path) -> None:
    """In a process of its own, because the encoding of file names is fixed when it starts."""
    done = subprocess.run(
        [sys.executable, "-m", "dipstage", "check", "größe\u2019.png".encode()],
        check=False, capture_output=True, cwd=tmp_path, encoding="utf-8",
        env={
            **os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C",
        },
    )  # fmt: skip
    assert done.returncode == 2
    assert "set LC_ALL to a locale of UTF-8, such as C.UTF-8" in done.stderr
