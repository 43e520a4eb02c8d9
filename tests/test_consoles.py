"""Every command with consoles of every encoding, and with output that nobody reads."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
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
    "check": (dipstage, ["check", "skimage:camera"]),
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


def _filled(parameter: click.Parameter) -> list[str]:
    """Something that a command takes for a required parameter, and that it cannot do."""
    value = "größe"
    if isinstance(parameter.type, click.Choice):
        value = str(parameter.type.choices[0])
    elif parameter.name == "address":
        value = "http://127.0.0.1:1"
    return [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]


def _lines() -> Iterator[tuple[click.Group, list[str]]]:
    """Every command of both programs: its help, a wrong option, and what it cannot do."""
    for main in (dipsearch, dipstage):
        for name, command in main.commands.items():
            needs = [part for p in command.params if p.required for part in _filled(p)]
            yield from ((main, [name, *line]) for line in (["--help"], ["--größe"], needs) if line)


def _title(main: click.Group, line: list[str]) -> str:
    program = "dipstage" if main is dipstage else "dipsearch"
    return " ".join([program, *line])


EVERY = {_title(main, line): (main, line) for main, line in _lines()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that is played, verified, and has another to be compared with."""
    runs_dir = tmp_path_factory.mktemp("runs")
    searched(runs_dir, name="other")
    run = searched(runs_dir)
    verified(run, lambda name, key: (25.0 + len(name) / 10, 20))
    return run


MARKS = {"resume": pytest.mark.ray} | dict.fromkeys(
    ("verify", "report", "plot", "status --watch"), pytest.mark.long
)
NAMES = [pytest.param(name, marks=MARKS[name]) if name in MARKS else name for name in COMMANDS]


def end_of(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, stdout: io.TextIOWrapper
) -> tuple[object, str]:
    """Run a command with this stdout; return its exit code and what it says on stderr."""
    main, arguments = {**COMMANDS, **EVERY}[name]
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


@pytest.mark.long
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
    known = {
        name: line for name, line in COMMANDS.items() if name not in GOING_ON and "help" not in name
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


@pytest.mark.parametrize("text", ["", " "])
@pytest.mark.parametrize("main", [dipsearch, dipstage])
def test_no_command_takes_an_empty_argument(
    capsys: pytest.CaptureFixture[str], main: click.Group, text: str
) -> None:
    for name, command in main.commands.items():
        values = [p.opts[0] for p in command.params if not getattr(p, "is_flag", False)]
        options = [option for option in values if option.startswith("--")]
        lines = [(option, [name, option, text]) for option in options]
        lines += [(option, [name, f"{option}={text}"]) for option in options]
        for what, line in [*lines, (f"the argument after '{name}'", [name, text])]:
            with pytest.raises(SystemExit) as ended:
                main(line)
            assert ended.value.code == 2
            assert f"{what} is empty: give a value, or leave it out" in capsys.readouterr().err


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


@pytest.mark.parametrize("character", "\x1b\x07\x9b\u202e\u2066\u200b\u2028")
@pytest.mark.parametrize("main", [dipsearch, dipstage])
def test_an_argument_that_would_rewrite_the_terminal_is_refused(
    capsys: pytest.CaptureFixture[str], main: click.Group, character: str
) -> None:
    for command in main.commands:
        with pytest.raises(SystemExit) as ended:
            main([command, f"a{character}b"])
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert character not in said
        assert "in the argument 'a" in said


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


@pytest.mark.parametrize("program", [dipsearch, dipstage])
@pytest.mark.parametrize("level", ["program", "command"])
def test_what_click_refuses_is_one_sentence_too(program: click.Group, level: str) -> None:
    commands = [[]] if level == "program" else [[name] for name in program.commands]
    for command in commands:
        result = CliRunner().invoke(program, [*command, "--nonsense"], prog_name="prog")
        assert result.exit_code == 2
        name = " ".join(["prog", *command])
        assert re.fullmatch(
            rf"{name}: no such option '--nonsense'( \(did you mean .*\?\))?; see {name} --help\n",
            result.output,
        )
    result = CliRunner().invoke(program, ["nonsense"], prog_name="prog")
    assert result.output == "prog: no such command 'nonsense'; see prog --help\n"
    assert "Usage" in CliRunner().invoke(program, []).output


@pytest.mark.parametrize("program", [dipsearch, dipstage])
def test_an_option_without_its_value_names_the_help_of_its_command(program: click.Group) -> None:
    for name, command in program.commands.items():
        options = [p for p in command.params if isinstance(p, click.Option) and not p.is_flag]
        for option in (each.opts[0] for each in options):
            result = CliRunner().invoke(program, [name, option], prog_name="prog")
            assert result.exit_code == 2
            assert result.output == (
                f"prog {name}: option '{option}' requires an argument; see prog {name} --help\n"
            )


@pytest.mark.parametrize("program", [dipsearch, dipstage])
def test_a_working_folder_that_has_been_removed_is_said(
    program: click.Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for arguments in (["init"], ["list"]) if program is dipsearch else (["schedules"],):
        result = CliRunner().invoke(program, arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "the working folder has been removed: change to another" in result.stderr
