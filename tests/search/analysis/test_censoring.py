"""A budget that cuts off every maximum is named, with the key to raise."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import KEYS, experiment, new_run, outcome

from dipstage.schedules.settings import TrainerSettings
from dipstage.training.outcome import Stop
from search import Run
from search.analysis.censoring import cut_off, cuts_off
from search.analysis.status import status_of
from search.execution.ledger import Ledger
from search.report.advice import advise
from search.terminal.tables import print_findings


def played(
    tmp_path: Path, censored: list[bool], stop: Stop = Stop.BUDGET, by_ssim: bool | None = None
) -> Run:
    """A run with one finished replicate for each value; the first four are plain DIP.

    by_ssim: whether the maxima of SSIM are censored; None if PSNR is optimised.
    """
    metric = "psnr" if by_ssim is None else "ssim"
    run = new_run(tmp_path, experiment(objective={"metric": metric}))
    ledger = Ledger(run.study, run.experiment, KEYS)
    for begin in range(0, len(censored), len(KEYS)):
        work = ledger.next()
        assert work is not None
        for key, cut in zip(KEYS, censored[begin:], strict=False):
            made = outcome(25, 29, cut)
            scores = replace(made.raw, ssim_censored=by_ssim)
            ledger.record(work.number, key, replace(made, stop=stop, raw=scores))
            if key == KEYS[-1]:
                ledger.finish(work.number, None)
    return run


def test_it_shows_once_a_second_schedule_is_cut_off_too(tmp_path: Path) -> None:
    for n, shows in ((1, False), (4, False), (5, True), (8, True)):
        run = played(tmp_path / str(n), [True] * n)
        words = cut_off(run, run.records())
        assert (words is not None) == shows
        if words:
            assert words.startswith(f"all {n} maxima are censored: ")
            assert "trainer.patience (5)" in words
            assert words.endswith("raise trainer.iterations (30)")


def test_one_maximum_within_the_budget_is_enough(tmp_path: Path) -> None:
    run = played(tmp_path, [True] * 7 + [False])
    assert cut_off(run, run.records()) is None


def test_a_stopping_rule_that_ends_trainings_is_not_cured_by_a_longer_budget(
    tmp_path: Path,
) -> None:
    run = played(tmp_path, [True] * 4, Stop.PEAK)
    assert cut_off(run, run.records()) is None


@pytest.mark.parametrize("by_ssim", [False, True])
def test_where_ssim_is_optimised_its_maxima_are_looked_at(tmp_path: Path, by_ssim: bool) -> None:
    run = played(tmp_path, [not by_ssim] * 8, by_ssim=by_ssim)
    assert (cut_off(run, run.records()) is not None) == by_ssim
    assert [trial.censored("raw") for trial in run.records()] == [4 * by_ssim] * 2


def test_the_summary_and_the_report_begin_with_it(tmp_path: Path) -> None:
    run = played(tmp_path, [True] * 8)
    lines: list[object] = []
    print_findings(run, lambda *parts, **_: lines.extend(parts))
    assert "warning: all 8 maxima are censored" in str(lines[0])
    records = run.records()
    advice = advise(run, records, status_of(run, records), None, driver=False)
    assert advice.headline == "No maximum lies within the budget: raise trainer.iterations"
    assert advice.sure[0].startswith("All 8 maxima are censored")


def test_settings_that_must_censor_everything_are_seen_before_the_first_training() -> None:
    assert cuts_off(TrainerSettings(iterations=30, patience=29)) is None
    words = cuts_off(TrainerSettings(iterations=30, patience=30))
    assert words is not None
    assert "trainer.patience (30) is not below trainer.iterations (30)" in words
