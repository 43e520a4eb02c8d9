"""What commands of dipstage are spared, and what they find: schedules and a photograph."""

from pathlib import Path

import pytest
from published_schedules import publish
from typed_restorations import write_photograph


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the plot, which takes longer than a small run."""
    monkeypatch.setattr("dipstage.terminal.plots.save_figure", lambda *_, **__: None)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published schedules in the place of the package's."""
    publish(tmp_path / "published")
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path / "published")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person stands: with a photograph, its clean version and a mask."""
    monkeypatch.chdir(tmp_path)
    write_photograph()
    return tmp_path
