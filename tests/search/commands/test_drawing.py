"""dipsearch plot as a person types it: every figure, every flag, every refusal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from curved_runs import LONG, curved
from fake_runs import experiment, new_run

from search import Run
from search.cli import main

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with curves."""
    return curved(tmp_path_factory.mktemp("curved"))


def plot(run: Run, figure: str, *options: str) -> Result:
    """The command on a run."""
    where = ["--runs-dir", str(run.folder.parent)]
    return CliRunner().invoke(main, ["plot", run.name, figure, *where, *options])


def drawn(run: Run, folder: Path, figure: str, *options: str) -> str:
    """The SVG that the command draws; matplotlib writes every text into a comment, too."""
    path = folder / "a.svg"
    done = plot(run, figure, "--output", str(path), *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{path} written: ")
    return path.read_text() + done.stdout


@pytest.mark.parametrize("figure", ["front", "curves", "schedules", "importance", "attainment"])
@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_every_figure_has_every_format(run: Run, tmp_path: Path, figure: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    assert plot(run, figure, "--output", str(path)).exit_code == 0
    magic = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    assert path.read_bytes().startswith(magic[suffix])


def test_style_paper_is_as_wide_as_a_column(run: Run, tmp_path: Path) -> None:
    assert 'width="244.8pt"' in drawn(run, tmp_path, "front", "--style", "paper")
    assert 'width="504pt"' in drawn(run, tmp_path, "front", "--style", "screen")


def test_trials_are_those_that_are_named_even_with_commas(run: Run, tmp_path: Path) -> None:
    svg = drawn(run, tmp_path, "curves", "--trials", f"8,{LONG},log10,steps")
    names = re.findall(r"<!-- (.+?)(?: \(knee\))?: [\d.]+ dB at \d+ -->", svg)
    assert names == ["trial 8", LONG, "log10", run.pick("steps").name]
    shown = re.findall(
        r"<!-- (log10|baseline) -->", drawn(run, tmp_path, "schedules", "--trials", "1")
    )
    assert shown == ["log10"]


def test_curves_of_says_which_output(run: Run, tmp_path: Path) -> None:
    assert "smoothed output" not in drawn(run, tmp_path, "curves")
    assert "smoothed output" in drawn(run, tmp_path, "curves", "--curves-of", "smoothed")
    assert "raw and smoothed output" in drawn(run, tmp_path, "curves", "--curves-of", "both")


def test_from_db_is_where_the_axis_begins(run: Run, tmp_path: Path) -> None:
    def lowest(svg: str) -> float:
        found = re.search(r'id="ytick_1">.*?<!-- ([-−.\d]+) -->', svg, re.DOTALL)
        assert found is not None
        return float(found[1].replace("−", "-"))

    assert lowest(drawn(run, tmp_path, "curves")) < 15
    assert lowest(drawn(run, tmp_path, "curves", "--from-db", "20")) >= 20
    assert "below 23.2 dB not shown" in drawn(run, tmp_path, "front", "--from-db", "23.2")


@pytest.mark.parametrize(
    ("level", "words"), [("stage", "stage"), ("alpha-bar", "noise level"), ("sigma", "noise added")]
)
def test_level_is_what_the_staircase_climbs(
    run: Run, tmp_path: Path, level: str, words: str
) -> None:
    assert re.search(f"<!-- {words}", drawn(run, tmp_path, "schedules", "--level", level))


@pytest.mark.parametrize("figure", ["front", "curves"])
def test_errors_says_what_bars_are(run: Run, tmp_path: Path, figure: str) -> None:
    assert "paired standard error" in drawn(run, tmp_path, figure)
    assert "± standard deviation" in drawn(run, tmp_path, figure, "--errors", "std")
    assert "±" not in drawn(run, tmp_path, figure, "--errors", "none")


def test_budget_is_what_the_best_is_best_for(run: Run, tmp_path: Path) -> None:
    assert "trial 3 is best within 10" in drawn(run, tmp_path, "attainment", "--budget", "10")
    assert "is best within 30" in drawn(run, tmp_path, "attainment")


REFUSALS = {
    "another format": (["front", "--output", "a.gif"], "--output must end in .png, .svg or .pdf"),
    "no format": (["front", "--output", "a"], "--output must end in .png, .svg or .pdf, got 'a'"),
    "a folder that is not there": (["front", "--output", "none/a.svg"], "cannot be written"),
    "an option of another figure": (
        ["front", "--output", "a.svg", "--level", "sigma"],
        "--level applies to schedules, not to front",
    ),
    "trials of a front": (
        ["front", "--output", "a.svg", "--trials", "1"],
        "--trials applies to curves and schedules, not to front",
    ),
    "curves of a schedule": (
        ["schedules", "--output", "a.svg", "--curves-of", "raw"],
        "--curves-of applies to curves, not to schedules",
    ),
    "no such trial": (["curves", "--output", "a.svg", "--trials", "99"], "has no trial '99'"),
    "an axis that no PSNR is on": (
        ["front", "--output", "a.svg", "--from-db", "-1e308"], "--from-db must be at least -1000",
    ),
    "an axis above all": (
        ["curves", "--output", "a.svg", "--from-db", "1e308"], "--from-db must be at most 1000",
    ),
    "an empty name": (["curves", "--output", "a.svg", "--trials", ""], "--trials is empty"),
    "a budget that was not trained": (
        ["attainment", "--output", "a.svg", "--budget", "31"], "--budget must be from 1 to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_sentence_and_leave_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = REFUSALS[case]
    refused = plot(run, *arguments)
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_runs_without_what_a_figure_needs_say_so(run: Run, tmp_path: Path) -> None:
    empty = new_run(tmp_path / "empty", experiment())
    refused = plot(empty, "front", "--output", str(tmp_path / "a.svg"))
    assert (refused.exit_code, refused.stderr.strip()) == (
        2, "main: run 'tiny' has no complete trial yet",
    )  # fmt: skip


def test_curves_that_cannot_be_read_are_named(played: Run, tmp_path: Path) -> None:
    refused = plot(played, "curves", "--output", str(tmp_path / "a.svg"))
    assert refused.exit_code == 2
    assert re.search(r"trial\d+-\w+-seed\d.npz cannot be read", refused.stderr)
    assert not (tmp_path / "a.svg").exists()


def test_matplotlib_says_nothing_of_its_own_folder(played: Run, tmp_path: Path) -> None:
    where = ["--runs-dir", str(played.folder.parent), "--output", str(tmp_path / "a.svg")]
    done = subprocess.run(
        [sys.executable, "-m", "search", "plot", played.name, "front", *where],
        env={**os.environ, "MPLCONFIGDIR": "/dev/null"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
