"""Every command with an output that is full, closed, or read by nobody."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from every_command import COMMANDS, EVERY, GOING_ON, NAMES, RUN, end_of, verified_search

from dipstage.terminal.cli import main as dipstage
from search import Run
from search.cli import main as dipsearch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return verified_search(tmp_path_factory.mktemp("runs"))


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
    # A report says what of the run it cannot show, on the other channel.
    said = "".join(line for line in said.splitlines() if not line.startswith("not shown: "))
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


STREAMS = ["ascii", "closed", "full"]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", EVERY)
def test_no_command_ends_with_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Whatever the commands are: those of a later version are tested, too."""
    monkeypatch.chdir(tmp_path)
    buffer: Any = io.BytesIO()
    if kind == "closed":
        reader, writer = os.pipe()
        os.close(reader)
        buffer = os.fdopen(writer, "wb")
    elif kind == "full":
        if not Path("/dev/full").exists():
            pytest.skip("there is no device that is always full")
        buffer = open("/dev/full", "wb")  # noqa: SIM115
    stdout = io.TextIOWrapper(buffer, encoding="ascii")
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert "Traceback" not in said
    if kind == "ascii" or not name.endswith("--help"):
        assert code == (0 if name.endswith("--help") else 2)
    assert not list(tmp_path.iterdir())
    stdout.close()


CODES = """
import json, os, sys
closed = sys.stdout is None
from dipstage.terminal.cli import main as dipstage
from search.cli import main as dipsearch
programs, codes = {"dipstage": dipstage, "dipsearch": dipsearch}, {}
for program, *line in json.loads(sys.argv[1]):
    if closed:  # Each command is the first of its process.
        sys.stdout = None
        os.closerange(1, 2)
    try:
        programs[program](line)
    except SystemExit as end:
        codes[" ".join([program, *line])] = end.code
open(sys.argv[2], "w").write(json.dumps(codes))
"""


@pytest.mark.long
@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_a_standard_error_that_cannot_be_written_changes_no_exit_code(
    tmp_path: Path, streams: str
) -> None:
    if "full" in streams and not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    lines = {
        title: [title.split()[0], *line]
        for title, (_, line) in EVERY.items()
        if not (title.endswith("--help") and title.startswith("dipsearch"))
    }
    expected = {title: 0 if title.endswith("--help") else 2 for title in lines}
    assert codes(tmp_path, lines, streams)[0] == expected


def codes(folder: Path, lines: dict[str, list[str]], streams: str) -> tuple[dict[str, object], str]:
    """Exit codes of commands in a process with redirected streams, and what it says on stderr."""
    written = folder / "codes.json"
    program = [sys.executable, "-c", CODES, json.dumps([*lines.values()]), str(written)]
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *program],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, check=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    found = json.loads(written.read_text())
    return {title: found[" ".join(line)] for title, line in lines.items()}, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("streams", [">&-", "<&- >&-", "<&- >&- 2>&-", "1</dev/null"])
def test_a_closed_output_is_an_error_of_what_would_be_printed(
    run: Run, tmp_path: Path, streams: str
) -> None:
    own = ["--runs-dir", str(run.folder.parent)]
    lines = {
        title: [title.split()[0], *line]
        for title, (_, line) in EVERY.items()
        if not title.endswith("--help")
    }
    wanted: dict[str, object] = dict.fromkeys(lines, 2)
    for name, (main, line) in COMMANDS.items():
        if name in ("help", "version", "status", "trials", "pareto", "pareto --json", "check",
                    "schedules", "one schedule", "schedules --json"):  # fmt: skip
            filled = [run.name if part == RUN else part for part in line]
            program = "dipstage" if main is dipstage else "dipsearch"
            lines[name], wanted[name] = [program, *filled, *(own if RUN in line else [])], 1
    found, said = codes(tmp_path, lines, streams)
    assert found == wanted
    if "2>" not in streams:
        assert said.count("the output cannot be written: Bad file descriptor") == 10
        assert "Traceback" not in said


@pytest.mark.parametrize("name", ["trials --json", "schedules --json", "trials"])
def test_the_output_that_cannot_be_written_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    monkeypatch.setitem(COMMANDS, "trials --json", (dipsearch, ["trials", RUN, "--json"]))
    stdout = io.TextIOWrapper(open("/dev/full", "wb"), encoding="utf-8")  # noqa: SIM115
    code, said = end_of(run, tmp_path, monkeypatch, name, stdout)
    assert code == 1
    assert "the output cannot be written: No space left on device" in said
    stdout.close()
