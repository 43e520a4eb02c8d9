"""What a page shows as printed is what the command above it prints today.

A block of text below `<!-- printed by COMMAND -->` must occur in what COMMAND prints of the
recorded quickstart; a line `…` stands for lines that are left out.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.long

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"<!-- printed by (.+?) -->\n+```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
PRINTED = [
    pytest.param(command, text, id=f"{page.name}-{command}")
    for page in sorted(DOCS.rglob("*.md"))
    for command, text in BLOCK.findall(page.read_text())
]


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that draws the pictures of the recorded run."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("samples")


@pytest.mark.parametrize(("command", "text"), PRINTED)
def test_pages_show_what_is_printed_today(
    command: str, text: str, samples: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    samples.unpack(Path())
    printed = "\n".join(line.rstrip() for line in samples.call(command).output.splitlines())
    for part in re.split(r"^ *…\n", text, flags=re.MULTILINE):
        assert part.rstrip() in printed, f"the page shows\n{part}\nand {command} prints\n{printed}"


def test_printed_blocks_are_found_at_all() -> None:
    assert len(PRINTED) >= 3
