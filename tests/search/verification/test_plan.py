"""What a verification may be made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from fake_runs import experiment, new_run, play
from PIL import Image

from dipstage.errors import InputError
from dipstage.images import Picture, load_picture
from dipstage.likeness import SAME, SIMILAR, likeness
from search.verification.plan import refuse_seen


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_a_copy_of_a_searched_picture_counts_as_seen(tmp_path: Path, suffix: str) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    picture = Image.fromarray(skimage.data.chelsea())
    if suffix == ".png":  # Half the size, with a palette.
        picture = picture.resize((226, 150)).convert("P")
    path = tmp_path / f"copy{suffix}"
    picture.save(path)

    def loaded(name: str) -> dict[str, Picture]:
        size = run.experiment.size
        return {"p": load_picture(name, size=size, multiple=run.experiment.trainer.multiple)}

    with pytest.raises(InputError, match=r"has seen pictures .*\(a copy of skimage:chelsea\)"):
        refuse_seen(run, [9], loaded(str(path)), allowed=False)
    [words] = refuse_seen(run, [9], loaded(str(path)), allowed=True) or []
    assert "a copy of skimage:chelsea" in words
    assert refuse_seen(run, [9], loaded("skimage:coffee"), allowed=False) is None


def test_a_picture_that_is_like_a_searched_one_gets_a_notice(tmp_path: Path) -> None:
    """A blend of two pictures, with the share at which the likeness lies between both limits."""
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10))
    one, other = (
        load_picture(f"skimage:{name}", size=16, multiple=2) for name in ("chelsea", "coffee")
    )
    blends = (share * one.pixels + (1 - share) * other.pixels for share in np.linspace(0, 1, 101))
    pixels = next(each for each in blends if likeness(each, one.pixels) > SIMILAR + 0.02)
    assert likeness(pixels, one.pixels) < SAME
    pictures = {"p": replace(other, name="mine.png", pixels=pixels)}
    assert refuse_seen(run, [9], pictures, allowed=False) is None
    assert "mine.png is like skimage:chelsea of the search" in pictures["p"].notices[-1]
