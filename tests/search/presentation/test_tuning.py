"""Remarks on the tuning of plain DIP: censored maxima, and references above the tuned one."""

from dataclasses import replace
from pathlib import Path

import pytest
from played_verification import censor, gains, searched, verified

from dipstage.schedules.recipe import Recipe
from dipstage.schedules.settings import TrainerSettings
from search.presentation.remarks import remarks
from search.presentation.tuning import Tuning
from search.verification.parts import TUNING
from search.verification.references import tuned_name
from search.verification.result import Verification

pytestmark = pytest.mark.long


def test_censored_maxima_of_the_tuning_are_counted_in_a_remark(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains(trial_2=(0.5, -10)))
    assert not any("in the tuning" in line for line in remarks(verification))
    censor(run, TUNING, 0)
    found = Verification.open(run)
    assert found is not None
    chosen = "plain DIP, highest PSNR and fastest (rate 0.01, input noise 0.0333, ema 0.99)"
    assert [line for line in remarks(found) if "in the tuning of plain DIP" in line] == [
        "the end of training may have cut off 4 of 12 raw maxima in the tuning of plain DIP "
        f"(censored), among them these of the references: {chosen} 4 of 4. Trained for more than "
        "30 iterations, another recipe may be better than the chosen ones"
    ]
    older = replace(found, plan=replace(found.plan, declared=None))
    assert any("cut off 4 of 12 raw maxima in the tuning" in line for line in remarks(older))


def test_a_reference_with_another_network_was_not_tuned() -> None:
    tuned = Recipe(learning_rate=0.01).completed(TrainerSettings())
    tuning = Tuning({tuned_name(tuned): [True]}, "smoothed", 30)
    other = replace(tuned, width=8)
    assert tuned_name(other) == tuned_name(tuned)
    assert "among them these of the references: tuned 1 of 1" in next(
        tuning.remarks({"tuned": tuned, "plain DIP as trial 5": other})
    )
    assert "of the references" not in next(tuning.remarks({"plain DIP as trial 5": other}))


def test_a_reference_above_the_one_tuned_for_the_highest_psnr_is_named(tmp_path: Path) -> None:
    run = searched(tmp_path)

    def score(name: str, key: str) -> tuple[float, int] | str:
        return (26.0 if name.startswith("plain DIP as trial 2, av") else 25.0), 30

    found = list(remarks(verified(run, score, claims={2: "time"})))
    [line] = [line for line in found if "in the tuning" in line]
    assert line.startswith(
        "on the pictures of the verification, these references have a higher PSNR than plain DIP, "
        "highest PSNR and fastest (rate 0.01, "
    )
    assert ": plain DIP as trial 2, averaged from" in line
    assert line.endswith(" +1.00 [+1.00, +1.00] dB")
