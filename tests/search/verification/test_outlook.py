"""What is said of the number of pictures after nothing was shown."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from played_verification import IMAGES, censor, gains, searched, verified

from search.cli import main
from search.presentation.remarks import remarks
from search.verification.parts import HELD_OUT
from search.verification.result import Verification

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


def test_censored_maxima_are_named_where_they_are_why_nothing_is_shown(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains(trial_2=(0.5, -10)), claims={2: "time"})
    assert not any("to be better" in line for line in remarks(verification))
    [plain, *_] = verification.plains
    censor(run, HELD_OUT, plain.number)
    found = Verification.open(run)
    assert found is not None
    assert [line for line in remarks(found) if "to be better" in line] == [
        f"more than a tenth of the raw maxima of {plain.name} are censored, which alone keeps "
        "trial 2 from being shown to be better. Longer trainings are needed: --restart with more "
        "--baseline-iterations verifies on new pictures alone"
    ]


def test_a_gain_that_is_also_too_small_needs_pictures_as_well(tmp_path: Path) -> None:
    run = searched(tmp_path)
    [plain, *_] = verified(run, gains(), claims={2: "time"}).plains
    censor(run, HELD_OUT, plain.number)
    found = Verification.open(run)
    assert found is not None
    censored, too_small = [line for line in remarks(found) if "to be better" in line]
    assert f"maxima of {plain.name} are censored" in censored
    assert too_small.startswith("trial 2 is not shown to be better. 2 pictures would show")
