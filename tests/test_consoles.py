"""Every command with consoles of every encoding, and with output that nobody reads."""

import io
import os
import sys
from pathlib import Path

import pytest
from played_verification import searched, verified

from dipstage.terminal.cli import main as dipstage
from search import Run
from search.cli import main as dipsearch

RUN, RUNS_DIR, FOLDER = "{run}", "{runs_dir}", "{folder}"
COMMANDS = {
    "help": (dipsearch, ["--help"]),
    "version": (dipsearch, ["--version"]),
    "help of a command": (dipsearch, ["pareto", "--help"]),
    "an unknown option": (dipsearch, ["pareto", "--größe"]),
    "an unknown run": (dipsearch, ["status", "größe"]),
    "resume": (dipsearch, ["resume", RUN]),
    "verify": (dipsearch, ["verify", RUN]),
    "status": (dipsearch, ["status", RUN]),
    "status --json": (dipsearch, ["status", RUN, "--json"]),
    "status --watch": (dipsearch, ["status", RUN, "--watch"]),
    "trials": (dipsearch, ["trials", RUN]),
    "pareto": (dipsearch, ["pareto", RUN]),
    "pareto --json": (dipsearch, ["pareto", RUN, "--json"]),
    "compare": (dipsearch, ["compare", RUN, "other"]),
    "plot": (dipsearch, ["plot", RUN, "front", "--output", f"{FOLDER}/größe.svg"]),
    "export": (dipsearch, ["export", RUN]),
    "report": (dipsearch, ["report", RUN]),
    "schedules": (dipstage, ["schedules"]),
    "one schedule": (dipstage, ["schedules", "log10"]),
    "schedules --json": (dipstage, ["schedules", "--json"]),
    "run": (
        dipstage,
        [
            *("run", "skimage:camera", "--size", "32", "--width", "4", "--scales", "2"),
            *("--iterations", "11", "--output", f"{FOLDER}/größe"),
        ],
    ),
}
GOING_ON = {"resume": "report.html", "verify": "verification.csv", "run": "größe/curves.png"}
"""Commands that train: what they write although their output is no longer read."""
ENCODINGS = ["ascii", "latin-1", "cp437", "utf-16", "shift_jis", "cp037"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that is played, verified, and has another to be compared with."""
    runs_dir = tmp_path_factory.mktemp("runs")
    searched(runs_dir, name="other")
    run = searched(runs_dir)
    verified(run, lambda name, key: (25.0 + len(name) / 10, 20))
    return run


NAMES = [
    pytest.param(name, marks=pytest.mark.ray) if name == "resume" else name for name in COMMANDS
]


def end_of(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, stdout: io.TextIOWrapper
) -> tuple[object, str]:
    """Run a command with this stdout; return its exit code and what it says on stderr."""
    main, arguments = COMMANDS[name]
    runs_dir = run.folder.parent
    filled = [a.format(run=run.name, runs_dir=runs_dir, folder=folder) for a in arguments]
    if RUN in arguments or "größe" in arguments:
        filled += ["--runs-dir", str(runs_dir)]
    stderr = io.TextIOWrapper(io.BytesIO(), encoding=stdout.encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(SystemExit) as ended:
        main(filled)
    stderr.seek(0)
    return ended.value.code, stderr.read()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", NAMES)
def test_what_an_encoding_lacks_is_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    if encoding != "ascii" and name not in ("pareto", "compare", "one schedule", "export"):
        pytest.skip("one command of each way of printing is enough for the others")
    buffer = io.BytesIO()
    stdout = io.TextIOWrapper(buffer, encoding=encoding)
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert code == (2 if name.startswith("an unknown") else 0)
    assert len(buffer.getvalue() if code == 0 else said) > 10
    assert "Traceback" not in said


@pytest.mark.parametrize("name", NAMES)
def test_output_that_nobody_reads_is_not_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path if name == "run" else run.folder
    written = folder / GOING_ON.get(name, "")
    if name in GOING_ON:
        written.unlink(missing_ok=True)
    reader, writer = os.pipe()
    os.close(reader)
    stdout = io.TextIOWrapper(os.fdopen(writer, "wb"), encoding="utf-8")
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert code in (0, 1) or name.startswith("an unknown")
    assert said == "" or name.startswith("an unknown")
    assert written.exists()
    stdout.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_console_that_is_full_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    stdout = io.TextIOWrapper(open("/dev/full", "wb"), encoding="utf-8")  # noqa: SIM115
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert code in (0, 1, 2)
    assert "Traceback" not in said
    stdout.close()
