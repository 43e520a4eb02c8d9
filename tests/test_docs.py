"""The documentation: it builds without a warning, its links lead somewhere, nothing is left out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

import dipstage
import search
from dipstage.errors import InputError
from dipstage.schedules.examples import EXAMPLES
from dipstage.schedules.published import nearest_published
from dipstage.schedules.settings import TrainerSettings
from dipstage.terminal.cli import main as dipstage_main
from dipstage.terminal.devices import refuse_too_large
from dipstage.training.memory import estimated_bytes
from search.cli import main as dipsearch_main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
MAINS = {"dipstage": dipstage_main, "dipsearch": dipsearch_main}

FOLDERS = ("dipstage", "search", "tests", "docs", "benchmarks")
PLACEHOLDERS = {"FIGURE", "GROUP", "NAME", "plot_NAME"}
"""What stands for a name of your own in a recipe."""

BUILD = """
import socket, sys
def refuse(*_):
    raise OSError("documentation is built without a network")
socket.socket.connect = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a warning, such as a link within them that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "-W", "--keep-going", "-q", "-b", "html", "-d",
         str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_every_page_is_built_and_in_the_index(site: Path) -> None:
    index = (site / "index.html").read_text()
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html").as_posix()
        assert (site / name).is_file(), name
        assert name == "index.html" or f'href="{name}"' in index, name


def test_nothing_is_fetched_from_elsewhere_to_show_a_page(site: Path) -> None:
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text()):
            assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page}: {tag}"


def test_every_command_and_option_is_on_the_site(site: Path) -> None:
    for main, (name, command) in commands():
        page = (site / "commands" / f"{main}.html").read_text()
        assert f'id="{"-".join(name.split())}"' in page, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                anchor = f"cmdoption-{'-'.join(name.split())}-{parameter.opts[0].lstrip('-')}"
                assert f'id="{anchor}"' in page, f"{name} {parameter.opts[0]}"


def test_every_public_name_is_on_the_site(site: Path) -> None:
    page = (site / "python-api.html").read_text()
    for package in (dipstage, search):
        for name in package.__all__:
            assert f'id="{package.__name__}.{name}"' in page, name


def commands() -> Iterator[tuple[str, tuple[str, click.Command]]]:
    """Each program with each of its commands, by the words that a person types."""
    for main, group in MAINS.items():
        for name, command in group.commands.items():
            yield main, (f"{main} {name}", command)


@pytest.mark.parametrize(("name", "command"), [found for _, found in commands()])
def test_every_command_and_option_has_a_help_text(name: str, command: click.Command) -> None:
    assert command.help, name
    assert command.help.strip().endswith("."), name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"


def test_the_tables_list_every_command() -> None:
    for main, (name, _) in commands():
        text = (DOCS / "commands" / f"{main}.md").read_text()
        assert re.search(rf"^\| `{name}\b", text, re.MULTILINE), name


def test_the_table_of_examples_has_their_iterations() -> None:
    text = (DOCS / "tasks.md").read_text()
    for name, settings in EXAMPLES.items():
        row = rf"^\| `{name}`[^|]*\|[^|]*\| {settings.iterations} \|"
        assert re.search(row, text, re.MULTILINE), name
    assert f"`denoising` (default, but with {TrainerSettings().iterations} iterations)" in text


def test_the_memory_of_a_megapixel_is_what_the_command_estimates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = " ".join((DOCS / "restore.md").read_text().split())
    published = nearest_published(1000)
    assert published is not None
    settings = published.measured.trainer
    wanted = estimated_bytes(settings, 1000, 1000)
    words = f"about {wanted / 1e9:.0f} GB of memory for each megapixel with a network of width"
    assert f"{words} {settings.width}," in text
    limits = r"with (\d+) GB free, a photograph of more than ([\d.]+) megapixels"
    [(free_gb, limit)] = re.findall(limits, text)
    monkeypatch.setattr("dipstage.training.memory.free_bytes", lambda device: int(free_gb) * 10**9)
    fits, fits_not = (round(1000 * (float(limit) + more)) for more in (0, 0.1))
    refuse_too_large(estimated_bytes(settings, 1000, fits), settings, 1000, fits, "cpu")
    with pytest.raises(InputError, match=f"and {free_gb}.0 GB are free on cpu"):
        refuse_too_large(estimated_bytes(settings, 1000, fits_not), settings, 1000, fits_not, "cpu")


LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)\)")


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page, code left out."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return LINK.findall(re.sub(r"`[^`\n]*`", "`", text))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    folders, endings = "dipstage|search|tests|benchmarks|deploy", "py|md|yaml|json|sh|tar.xz"
    named = re.findall(rf"(?<![\w/.])(?:{folders})/[\w/-]+\.(?:{endings})\b", page.read_text())
    named = [name for name in named if not re.search("NAME|GROUP", name)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ("http", "https"), link
            assert parts.netloc, link
            continue
        target = page.parent / parts.path if parts.path else page
        assert target.exists(), f"{page.name}: {link}"
        if parts.fragment:
            assert parts.fragment in anchors(_with_included(target)), f"{page.name}: {link}"


def _with_included(page: Path) -> Path:
    """The file that a page shows in its place, if it is one that only includes another."""
    match = re.match(r"```\{include\} (\S+)", page.read_text())
    return page if match is None else page.parent / match[1]


def test_links_are_found_at_all() -> None:
    assert sum(len(links(page)) for page in PAGES) > 50
    assert "verdicts" in anchors(DOCS / "verification.md")


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_and_names_in_the_code_exist(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", text)
    sources = [file for name in FOLDERS for file in (ROOT / name).rglob("*.py")]
    known = [f"/{file.relative_to(ROOT)}" for file in [*sources, *ROOT.glob("*.py")]]
    for path in (span for span in spans if re.fullmatch(r"[a-z\d_./]+\.py", span)):
        assert any(each.endswith(f"/{path}") for each in known), f"{page} names {path}"
    words = set(re.findall(r"\w+", "".join(file.read_text() for file in sources)))
    for name in (span for span in spans if re.fullmatch(r"[A-Z]\w+(\.\w+)?|_?[a-z]+_\w+", span)):
        missing = {*name.split(".")} - words - PLACEHOLDERS
        assert not missing, f"{page} names {name}"
