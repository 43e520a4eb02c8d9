"""Pictures of a run that has begun: theirs by content, whatever labels and files are called."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from fake_runs import experiment
from written_pictures import save_png

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from search.store.changes import unchanged_pictures


def begun(pictures: dict[str, str]) -> Any:
    """A run, as far as its pictures go."""
    return SimpleNamespace(name="old", attributes=SimpleNamespace(pictures=pictures))


def test_labels_of_a_run_that_has_begun_stay_its_own(tmp_path: Path) -> None:
    """Version 0.1 gave A.png and a.png the labels A and a."""
    moon = load_picture("skimage:moon", size=32, multiple=2)
    save_png(tmp_path / "A.png", moon.pixels)
    save_png(tmp_path / "a.png", 1 - moon.pixels)
    images = [str(tmp_path / name) for name in ("A.png", "a.png")]
    digests = [load_picture(image, multiple=2).digest for image in images]
    run = begun(dict(zip(("A", "a"), digests, strict=True)))
    assert list(unchanged_pictures(run, experiment(images=images, size=None))) == ["A", "a"]


def test_a_picture_that_older_versions_read_otherwise_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    pixels = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, bitspersample=10, extratags=[(274, 3, 1, 6, True)])
    with pytest.raises(InputError, match=r"older version ignored .*orientation 6, 10 bits"):
        unchanged_pictures(begun({"a": "0" * 64}), experiment(images=[str(path)], size=None))
