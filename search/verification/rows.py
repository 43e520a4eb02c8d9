"""Rows of a verification, as in verification.csv, and of a confirmation."""

from __future__ import annotations

from typing import Any

from search.store.records import Trial
from search.verification.confirmation import Confirmation
from search.verification.result import Verification
from search.verification.verdicts import Comparison


def verification_rows(verification: Verification) -> list[dict[str, Any]]:
    """Return the rows of verification.csv, with the same columns in each."""
    trials = {trial.name: trial for trial in verification.held_out.records()}
    return [_row(verification, comparison, trials) for comparison in verification.comparisons]


def _row(verification: Verification, each: Comparison, trials: dict[str, Trial]) -> dict[str, Any]:
    trial, objective = trials[each.schedule], verification.run.objective
    is_first = verification.plain is not None and each.reference == verification.plain.name
    as_searched = is_first and each.output == objective.output
    search = verification.search_gains.get(each.schedule) if as_searched else None
    whole = verification.verdict_of(each.schedule, each.output)
    cells: dict[str, Any] = {
        "schedule": each.schedule,
        "role": verification.role(trial),
        "trial": verification.source(trial),
        "verdict_of_schedule": whole.word.value if whole else None,
        "reference": each.reference,
        "output": each.output,
        "pictures": each.psnr_db.pictures,
        "replicates": each.psnr_db.n,
        "missing": each.missing,
        "verdict": each.verdict.word.value,
        "verdict_psnr": each.verdict.psnr.value,
        verification.rule.time_column: each.verdict.time.value,
    }
    for name, difference, p_holm, better in (
        ("max_psnr_gt_db", each.psnr_db, each.p_psnr, each.psnr_db.above),
        (objective.cost.key, each.steps, each.p_time, 1 - each.steps.above),
    ):
        cells |= {
            f"{name}_difference": difference.mean,
            f"{name}_low": difference.low,
            f"{name}_high": difference.high,
            f"{name}_p_holm": p_holm,
            f"{name}_probability_better": better,
        }
        if each.log_ratio is None:
            cells[f"{name}_p"] = difference.signed_rank_p
    there = verification.arrival(each.schedule, each.output) if is_first else None
    if each.log_ratio is not None:
        cells |= {**_ratio_cells(each), "time_ratio_p_holm": each.p_time}
    cells |= {
        "reference_steps": each.reference_steps,
        "steps_to_reference_max": there.steps if there else None,
        "replicates_that_reach_it": there.reached if there else None,
        "censored": trial.censored(each.output),
        "reference_censored": trials[each.reference].censored(each.output),
        "search_max_psnr_gt_db_difference": search.psnr_db.mean if search else None,
        "shrinkage_db": verification.shrinkage_db(each.schedule) if search else None,
    }
    attained = verification.at_budgets(trial, each.output)
    cells |= {
        f"psnr_gt_db_by_{budget}": value
        for budget, value in zip(verification.budgets, attained, strict=bool(attained))
    }
    cells["iterations"] = verification.plan.baseline_iterations
    cells["seen_by_the_search"] = "; ".join(verification.plan.seen or [])
    return cells


def _ratio_cells(each: Comparison) -> dict[str, float | None]:
    """Return the ratio of times, where it was judged."""
    if each.log_ratio is None:
        return {}
    names = ("time_ratio", "time_ratio_low", "time_ratio_high")
    return dict(zip(names, each.log_ratio.ratios, strict=True))


def confirmation_rows(confirmation: Confirmation) -> list[dict[str, Any]]:
    """Return one row for each schedule of a confirmation, with its differences to plain DIP."""
    return [
        {
            "schedule": each.schedule,
            "trial": confirmation.source.get(each.schedule),
            "pictures": each.psnr_db.pictures,
            "replicates": each.psnr_db.n,
            "max_psnr_gt_db_difference": each.psnr_db.mean,
            "max_psnr_gt_db_low": each.psnr_db.low,
            "max_psnr_gt_db_high": each.psnr_db.high,
            "max_psnr_gt_db_probability_better": each.psnr_db.above,
            **_ratio_cells(each),
        }
        for each in confirmation.comparisons
    ]
