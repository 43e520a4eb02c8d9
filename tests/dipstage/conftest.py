"""Reading bytes as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dipstage.pictures.images import Picture, load_picture


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Picture]:
    """Loads bytes as a picture."""

    def load(data: bytes, options: str = "", **settings: Any) -> Picture:
        (tmp_path / "picture").write_bytes(data)
        return load_picture(f"{tmp_path}/picture{options}", **{"multiple": 2, **settings})

    return load
