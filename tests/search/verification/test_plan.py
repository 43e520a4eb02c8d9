"""What a verification may be made of."""

from pathlib import Path

import pytest
import skimage.data
from fake_runs import experiment, new_run, play
from PIL import Image

from dipstage.errors import InputError
from dipstage.images import Picture, load_picture
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
