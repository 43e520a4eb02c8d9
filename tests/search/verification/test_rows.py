"""The rows of a verification: how far the search's gain shrank, and p."""

from dataclasses import replace
from pathlib import Path

import pytest
from played_verification import gains, searched, verified

from search.verification.rows import verification_rows

pytestmark = pytest.mark.long


def test_shrinkage_is_taken_within_the_search_s_budget(tmp_path: Path) -> None:
    """The search saw 30 of 45 iterations; trial 5 and plain DIP reach their maxima later."""
    run = searched(tmp_path)
    verification = verified(run, gains(trial_5=(2.0, 10)))
    [row] = [
        r for r in verification_rows(verification)
        if (r["schedule"], r["output"], r["role"]) == ("trial 5", "raw", "found")
        and r["shrinkage_db"] is not None
    ]  # fmt: skip
    # In the search: 27 dB against plain DIP's 25.2.
    assert row["search_max_psnr_gt_db_difference"] == pytest.approx(1.8)
    assert row["max_psnr_gt_db_difference"] == pytest.approx(2.0, abs=0.02)
    gain = row["search_max_psnr_gt_db_difference"] - row["shrinkage_db"]
    assert gain < 0
    assert verification.plain is not None
    plain = verification.at_budgets(verification.plain, "raw")[-1]
    assert plain < 24.8
    assert row["psnr_gt_db_by_30"] == pytest.approx(plain + gain)


def test_p_in_the_csv_is_that_of_the_claim_or_by_the_older_rule_of_each_difference(
    tmp_path: Path,
) -> None:
    verification = verified(
        searched(tmp_path), gains(trial_2=(0.5, -10)), claims={2: "time", 5: "psnr"}
    )
    rows = verification_rows(verification)
    plain = verification.plain
    assert plain is not None
    psnr, time = (
        {
            r["schedule"]: r[key]
            for r in rows
            if (r["reference"], r["output"]) == (plain.name, "raw")
        }
        for key in ("max_psnr_gt_db_p_holm", "time_ratio_p_holm")
    )
    assert psnr["trial 2"] is time["trial 5"] is None
    assert time["trial 2"] < 0.05 < psnr["trial 5"]
    # Its name before the time was judged by its ratio.
    assert all(row["steps_to_max_p_holm"] == row["time_ratio_p_holm"] for row in rows)
    assert not {"max_psnr_gt_db_p", "steps_to_max_p"} & set(rows[0])
    older = replace(verification, plan=replace(verification.plan, declared=None))
    rows = verification_rows(older)
    assert all(0 < row["steps_to_max_p"] <= row["steps_to_max_p_holm"] <= 1 for row in rows)
    assert "time_ratio_p_holm" not in rows[0]
