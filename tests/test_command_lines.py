"""Arguments that no command takes, and where it is run."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dipstage.terminal.cli import main as dipstage
from search.cli import main as dipsearch


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
    several = CliRunner().invoke(dipstage, ["run", "--schedul", "fast"], prog_name="prog").output
    assert re.fullmatch(
        r"prog run: no such option '--schedul' \(did you mean one of: [^()]*\?\); .*\n", several
    )
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
