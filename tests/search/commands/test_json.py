"""--json of every command that prints a table: JSON, the documented keys, and nothing else."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from played_verification import compared, gains, searched, verified
from written_pictures import save_png

from dipstage.terminal.cli import main as dipstage
from dipstage.terminal.console import echo_json, json_option
from search import Run
from search.cli import main as dipsearch
from search.store.paths import curve_path
from search.verification.confirmation import confirmed_candidates
from search.verification.parts import CONFIRMATION
from search.verification.plan import comparison

DOCUMENT = Path(__file__).parents[3] / "docs" / "json.md"
NO_TABLE = {
    "dipsearch": {
        "docs", "init", "plot", "report", "dashboard", "export", "remove", "submit", "logs", "stop",
        "fetch",
    },
    "dipstage": set[str](),
}  # fmt: skip
MAINS: dict[str, click.Group] = {"dipsearch": dipsearch, "dipstage": dipstage}
TINY = ["--width", "4", "--scales", "1", "--iterations", "20", "--size", "16"]
IMAGES = [f"skimage:{name}" for name in ("coins", "moon", "grass", "page", "gravel", "brick")]


def curved(run: Run) -> Run:
    """The run with a curve of each replicate."""
    for trial in run.records():
        for key in trial.replicates:
            path = curve_path(run.folder, trial.number, key)
            curve = np.linspace(0, 20, 30, dtype=np.float32)
            np.savez_compressed(path, psnr_gt_raw_db=curve, psnr_gt_smoothed_db=curve)
    return run


COMMANDS: dict[str, tuple[str, list[str]]] = {
    "dipsearch launch": ("dipsearch", ["launch", "e.yaml"]),
    "dipsearch resume": ("dipsearch", ["resume", "tiny"]),
    "dipsearch confirm": ("dipsearch", ["confirm", "tiny"]),
    "dipsearch verify": ("dipsearch", ["verify", "tiny"]),
    "dipsearch list": ("dipsearch", ["list"]),
    "dipsearch status": ("dipsearch", ["status", "tiny"]),
    "dipsearch trials": ("dipsearch", ["trials", "tiny"]),
    "dipsearch trials --replicates": ("dipsearch", ["trials", "tiny", "--replicates"]),
    "dipsearch pareto": ("dipsearch", ["pareto", "tiny"]),
    "dipsearch pareto --budget": ("dipsearch", ["pareto", "tiny", "--budget", "20"]),
    "dipsearch compare": ("dipsearch", ["compare", "tiny", "copy"]),
    "dipstage run": ("dipstage", ["run", "a.png", *TINY]),
    "dipstage restore": ("dipstage", ["restore", "a.png", *TINY, "--truth", "a.png", "--compare"]),
    "dipstage check": ("dipstage", ["check", "a.png"]),
    "dipstage schedules": ("dipstage", ["schedules"]),
}


def test_every_command_that_prints_a_table_has_json() -> None:
    for name, main in MAINS.items():
        tables = {
            command
            for command, found in main.commands.items()
            if any("--json" in parameter.opts for parameter in found.params)
        }
        assert tables == set(main.commands) - NO_TABLE[name]
        assert tables == {words[0] for program, words in COMMANDS.values() if program == name}


def documented(name: str) -> set[str]:
    """The keys that the page lists for a command."""
    for section in DOCUMENT.read_text().split("\n## ")[1:]:
        heading, rest = section.split("\n", 1)
        if name in heading.split(", "):
            cells = re.findall(r"^\|([^|]*)\|", rest, re.MULTILINE)
            return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
    raise AssertionError(f"docs/json.md has no section {name}")


@pytest.mark.ray  # The module that trains imports it.
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_json_is_all_that_is_printed_and_its_keys_are_documented(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, words = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    save_png(tmp_path / "a.png", np.random.default_rng(0).random((3, 32, 32), dtype=np.float32))
    if program == "dipsearch":
        run = curved(searched(tmp_path / "runs"))
        if words[0] == "compare":
            shutil.copytree(run.folder, tmp_path / "runs" / "copy")
        elif words[0] == "confirm":
            plan = comparison(run, CONFIRMATION, images=IMAGES, seeds=[2, 3])
            found = gains(trial_5=(1.0, -5))
            compared(run, CONFIRMATION, plan, confirmed_candidates(run, 8), found)
        elif words[0] == "verify":
            verified(run, gains(trial_5=(1.0, -5)))
        elif words[0] == "launch":
            Path("e.yaml").write_text(run.experiment.yaml())
            monkeypatch.setattr("search.execution.driver.launch", lambda *_, **__: run)
    result = CliRunner().invoke(MAINS[program], [*words, "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout, parse_constant=pytest.fail)
    [row, *_] = content if isinstance(content, list) else [content]
    keys = set(row) | {key for each in row.values() for key in _keys(each)}
    known = documented(name)
    assert known
    of_version_01 = {"max_psnr_gt_db_p", "steps_to_max_p"}
    by_ssim = {"raw_ssim_censored", "smoothed_ssim_censored"}
    assert known - {"feasible"} - of_version_01 - by_ssim <= keys
    if name != "dipsearch verify":  # Its rows are those of verification.csv.
        known |= documented("dipsearch trials") if "on_front" in known else set()
        named = {key.removesuffix("_std") for key in keys if not key.startswith("param_")}
        assert named <= known


def _keys(value: Any) -> set[str]:
    """The keys of rows inside a row."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set(value[0])
    return set(value) if isinstance(value, dict) else set()


def test_what_json_lacks_is_null_and_other_output_is_on_standard_error() -> None:
    @click.command()
    @json_option
    def command(as_json: bool) -> None:
        click.echo("progress")
        if as_json:
            numbers = [math.nan, math.inf, np.float32(0.5), np.int64(3)]
            echo_json({"numbers": numbers, "nested": ({"a": -math.inf},), 1: None})

    result = CliRunner().invoke(command, ["--json"])
    assert json.loads(result.stdout) == {
        "numbers": [None, None, 0.5, 3], "nested": [{"a": None}], "1": None,
    }  # fmt: skip
    assert result.stderr == "progress\n"
    assert CliRunner().invoke(command, []).stdout == "progress\n"


NUMBERS = [
    (main, command, parameter.opts[0])
    for main in MAINS.values()
    for command, found in main.commands.items()
    for parameter in found.params
    if parameter.type.name == "float" or isinstance(parameter.type, click.FloatRange)
]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("main", "command", "option"), NUMBERS)
def test_options_take_finite_numbers_only(
    main: click.Group, command: str, option: str, value: str
) -> None:
    result = CliRunner().invoke(main, [command, option, value])
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"{option} must be a finite number in plain digits, got '{value}'\n"
    )
