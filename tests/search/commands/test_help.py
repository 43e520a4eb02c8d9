"""The help of both programs, and what a shell completes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from dipstage.terminal.cli import main as dipstage
from dipstage.terminal.console import Commands
from search.cli import main as dipsearch

MAINS = {"dipsearch": dipsearch, "dipstage": dipstage}
EVERY = [(name, command) for name, main in MAINS.items() for command in main.commands]


@pytest.mark.parametrize("name", MAINS)
def test_every_command_is_in_one_section_of_the_help(name: str) -> None:
    main = MAINS[name]
    assert isinstance(main, Commands)
    listed = [command for commands in main.sections.values() for command in commands]
    assert sorted(listed) == sorted(main.commands)
    text = CliRunner().invoke(main, ["--help"]).output
    places = [text.index(f"\n{title}:\n") for title in main.sections]
    assert places == sorted(places)
    for command in main.commands:
        assert f"\n  {command} " in text


@pytest.mark.parametrize("name", MAINS)
def test_the_list_of_commands_is_whole_in_80_columns(name: str) -> None:
    _, *lines = CliRunner().invoke(MAINS[name], ["--help"]).output.splitlines()
    assert [line for line in lines if line.endswith("...")] == []


@pytest.mark.parametrize(("name", "command"), EVERY)
def test_no_option_has_a_limit_that_is_none(name: str, command: str) -> None:
    assert "None" not in CliRunner().invoke(MAINS[name], [command, "--help"]).output


def test_the_help_says_where_to_begin() -> None:
    text = CliRunner().invoke(dipsearch, ["--help"]).output
    assert "Begin with:\n    dipsearch launch quickstart\n    dipsearch docs first-search\n" in text
    assert CliRunner().invoke(dipsearch, ["docs"]).output.endswith("dipsearch docs first-search\n")
    assert CliRunner().invoke(dipsearch, ["docs", "first-search"]).exit_code == 0


@pytest.mark.parametrize(("name", "command"), EVERY)
def test_every_command_has_an_example_that_click_accepts(name: str, command: str) -> None:
    text = CliRunner().invoke(MAINS[name], [command, "--help"]).output
    [example] = text.split("\n  Example:\n")[1:]
    [program, given, *arguments] = shlex.split(example)
    assert (program, given) == (name, command)
    MAINS[name].commands[command].make_context(command, arguments).close()
    assert "\n" not in example.strip()


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("name", MAINS)
def test_the_completion_of_each_shell_is_printed(name: str, shell: str) -> None:
    def run(**variables: str) -> str:
        module = "dipsearch" if name == "dipsearch" else "dipstage"
        environment = {**os.environ, **variables}
        done = subprocess.run(
            [sys.executable, "-m", module], env=environment, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout

    variable = f"_{name.upper()}_COMPLETE"
    assert variable in run(**{variable: f"{shell}_source"})
    words = {"COMP_WORDS": f"{name} r", "COMP_CWORD": "r" if shell == "fish" else "1"}
    completed = run(**{variable: f"{shell}_complete"}, **words)
    for command in MAINS[name].commands:
        assert (command in re.split(r"[\s,]", completed)) == command.startswith("r")
