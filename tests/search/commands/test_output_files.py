"""Every option that names a file to write, given what people name by mistake and on purpose."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_runs import experiment, new_run, play

from search import Run
from search.cli import main
from search.commands.results import write_results
from search.store.paths import curve_path

OPTIONS: dict[str, tuple[list[str], str]] = {
    "trials --csv": (["trials"], "--csv"),
    "pareto --csv": (["pareto"], "--csv"),
    "pareto --plot": (["pareto"], "--plot"),
    "pareto --budget --csv": (["pareto", "--budget", "20"], "--csv"),
    "pareto --budget --plot": (["pareto", "--budget", "20"], "--plot"),
    "compare --csv": (["compare"], "--csv"),
    "compare --plot": (["compare"], "--plot"),
    "plot --output": (["plot", "front"], "--output"),
    "export --output": (["export"], "--output"),
    "report --output": (["report"], "--output"),
}
DRAWN = (
    "pareto --plot", "pareto --budget --plot", "compare --plot", "plot --output", "report --output",
)  # fmt: skip
LONG = pytest.mark.long
NAMES = [pytest.param(name, marks=LONG if name in DRAWN else ()) for name in OPTIONS]
KINDS = {"--csv": ".csv", "--plot": ".svg", "plot": ".pdf", "export": ".yaml", "report": ".html"}
OTHERS = {
    ".csv": b"name: mine\n",
    ".svg": b"\x89PNG\r\n\x1a\nmine",
    ".pdf": b"<svg>mine</svg>",
    ".yaml": b"name: an-experiment\nimages: [mine.png]\n",
    ".html": b"# mine\n",
}


PIXELS = b"\x89PNG\r\n\x1a\nSoftware\0written by dipstage: photograph"
BY_HAND = b"format: 2\niterations: 9\nstages:\n- {alpha_bar: 1.0, iterations: 9, share: 1.0}\n"
ALIKE = {
    ".csv": [b"day,psnr,steps\n1,2,3\n", b"trial\n1\n"],
    ".svg": [b"<svg><!-- Matplotlib v3.10 --></svg>"],
    ".pdf": [b"%PDF-1.4\nmine"],
    ".png": [b"\x89PNG\r\n\x1a\nmine", PIXELS],
    ".yaml": [
        b"format: mine\n",
        b"space: {stages: 3}\ntrainer: {iterations: 2}\n",
        BY_HAND,
        b"# provenance: mine\n" + BY_HAND + b"recipe: {ema: 0.9}\n",
    ],
    ".html": [b"<!doctype html>mine", b"<html><body>written by dipstage</body></html>"],
}
"""Files of users in the formats that commands write."""


def suffix_of(name: str) -> str:
    """The ending of the files that an option writes."""
    command, option = OPTIONS[name]
    return KINDS.get(option) or KINDS[command[0]]


def write(run: Run, name: str, path: Path | str) -> Result:
    """The command with its option, on a run."""
    (command, *rest), option = OPTIONS[name]
    names = [run.name, *(["other"] if command == "compare" else []), *rest]
    arguments = [command, *names, "--runs-dir", str(run.folder.parent), option, str(path)]
    return CliRunner().invoke(main, arguments)


def refused(result: Result) -> str:
    """The one sentence of a request that was refused."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def listing(folder: Path) -> list[Path]:
    """All files in a folder, but those that opening a database makes."""
    return sorted(folder.rglob("*"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A played run with the curves that a budget ranks by, and a second one to compare with."""
    runs_dir = tmp_path_factory.mktemp("runs")
    again = experiment(name="other", search={"trials": 4, "seed": 1})
    tiny, _ = (
        play(new_run(runs_dir, each), lambda number: (25.0 + number, 20 + number))
        for each in (experiment(), again)
    )
    for trial in tiny.records():
        for key in trial.replicates:
            curve = np.linspace(20, 25, 30, dtype=np.float32)
            path = curve_path(tiny.folder, trial.number, key)
            np.savez(path, psnr_gt_raw_db=curve, psnr_gt_smoothed_db=curve)
    return tiny


def test_every_output_option_is_tried() -> None:
    declared = {
        (command.name, parameter.opts[0])
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.metavar == "FILE"
    } - {("resume", "--experiment"), ("init", "--output")}  # One is read, one replaces nothing.
    assert declared == {(command[0], option) for command, option in OPTIONS.values()}


@pytest.mark.parametrize("name", NAMES)
def test_a_link_stays_and_its_target_is_written(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    suffix = suffix_of(name)
    for target in ("elsewhere/kept", "elsewhere/new"):
        link, real = tmp_path / f"link{suffix}", tmp_path / f"{target}{suffix}"
        if target.endswith("kept"):
            assert write(run, name, real).exit_code == 0
            real.write_bytes(real.read_bytes() + b"\n")
            real.chmod(0o600)
        link.unlink(missing_ok=True)
        link.symlink_to(real.relative_to(tmp_path))
        assert write(run, name, link).exit_code == 0
        assert link.is_symlink()
        assert not real.read_bytes().endswith(b"\n\n")
    assert stat.S_IMODE((tmp_path / f"elsewhere/kept{suffix}").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_is_written_to_and_stays(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"pipe{suffix_of(name)}"
    os.mkfifo(path)
    assert "no program reads" in refused(write(run, name, path))
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    while (result := write(run, name, path)).exit_code:
        assert "no program reads" in result.stderr
    reader.join()
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert len(read[0]) > 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")
@pytest.mark.parametrize("name", NAMES)
def test_a_device_stays_one(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"null{suffix_of(name)}"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    result = write(run, name, path)
    assert stat.S_ISCHR(path.stat().st_mode)
    assert result.exit_code == 0 or "cannot be written" in refused(result)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_meant_is_refused_and_nothing_is_destroyed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suffix = suffix_of(name)
    Path(f"folder{suffix}").mkdir()
    Path(f"other{suffix}").write_bytes(OTHERS[suffix])
    Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
    Path("a-file").write_text("words")
    words = {
        f"none/x{suffix}": "does not exist",
        f"folder{suffix}": "it is a folder",
        f"other{suffix}": "exists and is not a",
        f"loop{suffix}": "cannot be written",
        f"a-file/x{suffix}": "cannot be written",
        f"new{suffix}/": "must name a file",
        "x" * 300 + suffix: "cannot be written",
        "-": "must name a file",
        "": "is empty: give a value",
    }
    before = listing(tmp_path)
    for path, reason in words.items():
        assert reason in refused(write(run, name, path)), path
    assert listing(tmp_path) == before
    assert Path(f"other{suffix}").read_bytes() == OTHERS[suffix]


@pytest.mark.parametrize(
    ("name", "suffix", "content"),
    [
        pytest.param(name, suffix, content, marks=LONG if name in DRAWN else ())
        for name in OPTIONS
        for suffix in dict.fromkeys([suffix_of(name), *([".png"] if "pl" in name else [])])
        for content in ALIKE[suffix]
    ],
)
def test_a_file_of_the_same_format_that_no_command_wrote_is_kept(
    run: Run, tmp_path: Path, name: str, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(content)
    refused(write(run, name, path))
    assert path.read_bytes() == content


@pytest.mark.long
def test_results_of_earlier_versions_in_the_folder_of_a_run_are_replaced(run: Run) -> None:
    for file in ("front.png", "pareto.csv", "report.html"):
        (run.folder / file).write_bytes(ALIKE[Path(file).suffix][0])
    write_results(run)
    assert b"written by dipstage: figure" in (run.folder / "front.png").read_bytes()
    assert (run.folder / "pareto.csv").read_text().startswith("on_front,")
    assert run.report().read_bytes() != ALIKE[".html"][0]


@pytest.mark.parametrize("name", NAMES)
def test_earlier_results_and_empty_files_are_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / f"{'x' * 240}{suffix_of(name)}"
    path.touch()
    for _ in range(2):
        assert write(run, name, f"~/{path.name}").exit_code == 0
        assert path.stat().st_size > 20


@pytest.mark.parametrize("command", [["pareto"], ["pareto", "--budget", "20"], ["compare"]])
def test_a_table_and_a_figure_are_different_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link.csv").symlink_to("a.svg")
    runs = [run.name, *(["other"] if command == ["compare"] else [])]
    options = ["--runs-dir", str(run.folder.parent), "--csv", "link.csv", "--plot", "a.svg"]
    said = refused(CliRunner().invoke(main, [command[0], *runs, *command[1:], *options]))
    assert "--csv and --plot are the same file, a.svg: name two files" in said
    assert [path.name for path in tmp_path.iterdir()] == ["link.csv"]


@pytest.mark.parametrize("command", ["trials", "pareto", "compare"])
def test_json_and_a_table_are_not_mixed(run: Run, command: str) -> None:
    runs = [run.name, *(["other"] if command == "compare" else [])]
    options = ["--runs-dir", str(run.folder.parent), "--json", "--csv", "/dev/stdout"]
    result = CliRunner().invoke(main, [command, *runs, *options])
    assert "the output of --json and --csv are the same file, /dev/stdout" in refused(result)
    assert result.stdout == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_another_format_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own = suffix_of(name)
    for suffix in {".csv", ".yaml", ".html", ".json", ".xlsx", ".PNG" * (own != ".svg")} - {own}:
        if suffix and not (own == ".pdf" and suffix == ".PNG"):
            said = refused(write(run, name, f"x{suffix}"))
            assert "would hold" in said or "must end in" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_file_that_is_open_is_added_to(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.flush()
        subprocess.run(
            [
                *(sys.executable, "-m", "search", "export", run.name),
                *("--runs-dir", run.folder.parent, "--output", "/dev/stdout"),
            ],
            stdout=file,
            check=True,
            capture_output=False,
        )
    content = path.read_text()
    assert content.startswith("first\nformat: ")
    assert "written to" not in content


def test_a_full_disk_is_no_wrong_request(run: Run) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no such device")
    arguments = ["trials", run.name, "--runs-dir", str(run.folder.parent), "--csv", "/dev/full"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "/dev/full cannot be written: No space left on device" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plot", "tiny", "front", "--output", "-"], "got '-': add a file's name"),
        (["pareto", "tiny", "--plot", "-"], "got '-': add a file's name"),
        (["trials", "tiny", "--csv", "-"], "got '-': write /dev/stdout"),
    ],
)
def test_a_dash_is_refused_with_advice_that_works(
    run: Run, arguments: list[str], words: str
) -> None:
    result = CliRunner().invoke(main, [*arguments, "--runs-dir", str(run.folder.parent)])
    assert result.exit_code == 2
    assert words in result.stderr
