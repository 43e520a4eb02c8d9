"""What the README and the documentation show as code is code that works."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from dipstage.documents.plain_yaml import parse_yaml, yaml_text
from dipstage.schedules.schedule_file import read_schedule_file
from dipstage.terminal.cli import main as dipstage_main
from search.cli import main as dipsearch_main
from search.experiment.packaged import packaged_experiments
from search.experiment.reading import load_experiment, validate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAINS: dict[str, click.Group] = {"dipstage": dipstage_main, "dipsearch": dipsearch_main}
SMALL = (
    "size=32", "trainer.iterations=40", "trainer.width=4", "trainer.scales=2", "space.ramp.high=20",
    "search.trials=1", "candidates=[baseline]", "resources.concurrent=1",
)  # fmt: skip
"""What makes the experiment that snippets launch one of seconds."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `info` is what stands behind the fence."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """In a language, in their order."""
    found, text = [], page.read_text()
    for match in re.finditer(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
        indent, name, info, content = match.groups()
        if name == language:
            lines = [line.removeprefix(indent) for line in content.splitlines()]
            found.append(Block(page, text[: match.start()].count("\n") + 1, info, "\n".join(lines)))
    return found


def of_all_pages(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]


PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs(
    page: Path, one_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page, one after the other, where a small quickstart lies in its place."""
    small = load_experiment("quickstart", SMALL)
    (tmp_path / "quickstart").write_text(small.yaml())  # A file goes before what is packaged.
    monkeypatch.chdir(tmp_path)
    module = ModuleType("snippet")
    monkeypatch.setitem(sys.modules, "snippet", module)
    for block in blocks(page, "python"):
        if block.info:
            assert re.fullmatch(r" notest: .+", block.info), f"{block}: say why, notest: …"
            continue
        exec(compile("\n" * block.line + block.text, str(page), "exec"), module.__dict__)


def test_snippets_are_found_at_all() -> None:
    assert len(of_all_pages("python")) >= 6
    assert len(typed()) >= 15


def typed() -> list[tuple[str, str]]:
    """Lines of sh blocks that begin with one of the programs, and where they stand."""
    found = []
    for block in of_all_pages("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip().startswith(tuple(MAINS)):
                found.append((line.strip(), str(block)))
    return found


@pytest.mark.parametrize(("line", "where"), typed())
def test_lines_of_shell_parse(line: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the program would, with every option known and every value of its type."""
    monkeypatch.setenv("DIPSEARCH_ADDRESS", "http://localhost:8265")
    words = shlex.split(line, comments=True)
    program, name, *arguments = words[: words.index("|")] if "|" in words else words
    command = MAINS[program].commands[name]
    with command.make_context(name, [word for word in arguments if word != "…"]):
        pass


INLINE = re.compile(r"`((?:dipstage|dipsearch) [a-z]+[^`]*)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist_with_their_options(page: Path) -> None:
    for typed_text in INLINE.findall(page.read_text()):
        program, name, *words = typed_text.split()
        command = MAINS[program].commands.get(name)
        assert command is not None, typed_text
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, typed_text


LAUNCHED = re.compile(
    r"(?:dipsearch (?:launch|submit)|deploy/slurm\.sh RUN) (experiments/[\w-]+\.yaml|[\w-]+)"
    r"(?=[ `\n])([^`\n]*)"
)


def launched() -> list[tuple[str, str]]:
    """Packaged experiments that the pages launch or submit, by their names or files, and how."""
    packaged = packaged_experiments()
    known = {*packaged, *(f"experiments/{name}.yaml" for name in packaged)}
    texts = [page.read_text().replace("\\\n", " ") for page in PAGES]
    found = [match for text in texts for match in LAUNCHED.findall(text)]
    return [(experiment, options) for experiment, options in found if experiment in known]


@pytest.mark.parametrize(("experiment", "options"), launched())
def test_packaged_experiments_take_the_options_that_they_are_launched_with(
    experiment: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search itself is left out."""
    begun: list[Path] = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        "search.commands.searching._run_search", lambda start, folder, *_: begun.append(folder)
    )
    words = shlex.split(options, comments=True)
    result = CliRunner().invoke(dipsearch_main, ["launch", experiment, *words])
    assert result.exit_code == 0, result.output
    assert len(begun) == 1


def test_launches_of_packaged_experiments_are_found_at_all() -> None:
    assert len(launched()) >= 5


BASE = load_experiment(ROOT / "experiments" / "quickstart.yaml").model_dump(mode="json")


@pytest.mark.parametrize("block", of_all_pages("yaml"), ids=str)
def test_yaml_is_an_experiment_a_part_of_one_or_a_schedule(block: Block, tmp_path: Path) -> None:
    content = parse_yaml(block.text, str(block))
    if "format" in content:
        told = {key: value for key, value in content.items() if value != {"…": None}}
        path = tmp_path / "schedule.yaml"
        path.write_text(yaml_text(told))
        assert read_schedule_file(path).schedule.iterations == content["iterations"]
    elif "images" in content:
        path = tmp_path / "experiment.yaml"
        path.write_text(block.text)
        assert load_experiment(path).name == content["name"]
    else:
        validate({**BASE, **content}, str(block))


def test_a_line_with_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        dipsearch_main.commands["pareto"].make_context("pareto", ["RUN", "--budgets", "3"])
