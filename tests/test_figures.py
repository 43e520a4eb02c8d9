"""docs/figures.py draws what the product gives, and the pages show what it draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dipstage import Streams, load_picture, observe, parse_preset
from dipstage.schedules.presets import PRESETS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_staircases_are_those_of_the_presets(figures: ModuleType) -> None:
    for axes, name in zip(figures.presets(600).axes, PRESETS, strict=True):
        schedule = parse_preset(name).schedule(600)
        [line] = axes.get_lines()
        assert list(line.get_xdata()) == [*schedule.starts, 600]
        assert list(line.get_ydata()) == [*(s.alpha_bar for s in schedule.stages), 1.0]


def test_targets_end_on_the_observation_and_begin_with_noise(figures: ModuleType) -> None:
    picture = load_picture(figures.PICTURE, size=64, multiple=16)
    observation = observe(picture.tensor(), figures.SIGMA_255, Streams(picture.digest, 0))
    shown = [axes.get_images()[0].get_array() for axes in figures.targets(64).axes]
    wanted = np.moveaxis(observation[0].numpy(), 0, -1)
    assert np.array_equal(np.asarray(shown[-1]), wanted)
    likeness = [np.corrcoef(np.asarray(each).ravel(), wanted.ravel())[0, 1] for each in shown]
    assert likeness == sorted(likeness)
    assert likeness[0] < 0.3


@pytest.mark.long
def test_every_parameter_of_the_family_has_a_panel_in_which_it_alone_varies(
    figures: ModuleType,
) -> None:
    for axes in figures.family(600).axes:
        drawn = {tuple(line.get_ydata()) + tuple(line.get_xdata()) for line in axes.get_lines()}
        assert len(drawn) == 3, axes.get_title()


def test_every_picture_is_shown_and_no_other() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    text = "".join(page.read_text() for page in pages)
    shown = set(re.findall(r"images/([\w-]+\.(?:png|webp))", text))
    assert shown == {path.name for path in (DOCS / "images").iterdir() if path.suffix != ".svg"}
