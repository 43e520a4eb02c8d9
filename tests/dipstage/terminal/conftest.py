"""What commands of dipstage are spared, and schedules that they find."""

from pathlib import Path

import pytest
from published_schedules import publish


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the plot, which takes longer than a small run."""
    monkeypatch.setattr("dipstage.terminal.plots.save_figure", lambda *_, **__: None)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published schedules in the place of the package's."""
    publish(tmp_path / "published")
    monkeypatch.setattr("dipstage.schedules.published.FOLDER", tmp_path / "published")
