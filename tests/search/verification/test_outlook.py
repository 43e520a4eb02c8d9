"""What is said of the number of pictures after nothing was shown."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from played_verification import IMAGES, gains, searched, verified

from search.cli import main

pytestmark = pytest.mark.long


def test_after_not_shown_the_pictures_that_are_needed_are_named(tmp_path: Path) -> None:
    verified(searched(tmp_path), gains(), claims={2: "time"})
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    shown = " ".join(shown.split())
    assert "trial 2 is not shown to be better. 2 pictures would show the smallest" in shown
    assert "smallest effect of interest, a time ratio of 0.85, with 80 % power" in shown


def test_a_single_picture_gets_no_number_of_pictures_for_its_unknown_spread(tmp_path: Path) -> None:
    verified(searched(tmp_path), gains(), claims={2: "time"}, images=IMAGES[:1])
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    shown = " ".join(shown.split())
    assert "so no schedule can be better: verify anew on at least two (--restart --images)" in shown
    assert "pictures would show" not in shown
    assert "--seeds" not in shown
