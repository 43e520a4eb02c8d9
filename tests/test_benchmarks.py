"""The documentation holds what the benchmarks' raw numbers say, and nothing older."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that writes the tables."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks/tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_tables_are_made_of_the_numbers_that_are_kept(tables: ModuleType) -> None:
    marks = []
    for path in tables.PAGES:
        page = path.read_text()
        assert tables.refreshed(page) == page, f"{path.name}: run python benchmarks/tables.py"
        assert not re.search(r"[A-Z]+_WORDS", page)
        marks += re.findall(r"<!-- table: ([a-z-]+) -->", page)
    assert sorted(marks) == sorted(tables.TABLES)


def test_a_changed_number_changes_the_page(tables: ModuleType) -> None:
    page = "<!-- table: packing -->\nold\n<!-- end -->\n"
    assert "old" not in tables.refreshed(page)
    assert "64/32/4" in tables.refreshed(page)


def test_every_script_is_on_the_page_of_the_benchmarks() -> None:
    page = (ROOT / "benchmarks/README.md").read_text()
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert f"`{path.name}`" in page, path.name


def test_the_table_of_restored_photographs_is_made_of_its_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("restore")
    page = script.PAGE.read_text()
    assert script.refreshed(page) == page, "run python benchmarks/restore.py"
    assert "| astronaut | png, 8 bits |" in page
