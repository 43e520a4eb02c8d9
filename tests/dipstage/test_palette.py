"""One palette: no figure and no page has colours of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dipstage.terminal import palette

ROOT = Path(__file__).parents[2]
HEX = re.compile(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b(?=[\"';, ])")


def test_colours_are_written_in_the_palette_alone() -> None:
    sources = [ROOT / "docs" / "figures.py"]
    for folder in ("dipstage", "search"):
        sources += [
            p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".css", ".js", ".jinja"}
        ]
    assert len(sources) > 100
    found = {path.name for path in sources if HEX.search(path.read_text())}
    assert found == {"palette.py"}


def test_both_themes_name_the_same_colours() -> None:
    light, dark = palette.THEMES["light"], palette.THEMES["dark"]
    assert list(light) == list(dark)


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", sorted(palette.THEMES))
@pytest.mark.parametrize("name", ["ink", "quiet", "blue", "orange", "green", "purple"])
def test_text_on_a_page_has_a_contrast_of_at_least_4_5(theme: str, name: str) -> None:
    colours = palette.THEMES[theme]
    levels = sorted(luminance(colours[each]) for each in ("paper", name))
    assert (levels[1] + 0.05) / (levels[0] + 0.05) >= 4.5
