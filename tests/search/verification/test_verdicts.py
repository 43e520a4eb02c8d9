"""Differences, corrections and words, against closed forms and SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from fake_runs import outcome
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search.experiment.objectives import Objective
from search.verification.rules import SignedRankRule
from search.verification.statistics import Difference, holm
from search.verification.verdicts import (
    Arrival,
    Comparison,
    Entry,
    Verdict,
    Word,
    arrival,
    at_budgets,
    best_word,
    compare,
    worst,
)

PICTURES = {"a": [0.1, 0.3], "b": [0.2, 0.2], "c": [0.5, 0.1]}


def test_the_interval_is_student_s_over_the_pictures_means() -> None:
    found = Difference.of(PICTURES)
    expected = stats.ttest_1samp([0.2, 0.2, 0.3], 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(0.7 / 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.pictures, found.n) == (3, 6)


def test_more_seeds_of_one_picture_do_not_narrow_what_pictures_leave_open() -> None:
    few = Difference.of({"a": [0.0], "b": [1.0]})
    many = Difference.of({"a": [0.0] * 50, "b": [1.0] * 50})
    assert (few.low, few.high) == (many.low, many.high)


def test_the_p_value_is_wilcoxon_s_and_ties_are_left_out() -> None:
    values = [0.3, -0.1, 0.2, 0.5, 0.4, 0.05, 0.6, 0.7]
    assert Difference.of({"a": values}).signed_rank_p == stats.wilcoxon(values).pvalue
    assert Difference.of({"a": [*values, 0.0]}).signed_rank_p == stats.wilcoxon(values).pvalue
    assert Difference.of({"a": [0.0, 0.0], "b": [0.0]}).signed_rank_p == 1.0


def test_one_picture_has_no_interval_and_equal_ones_an_empty_one() -> None:
    alone = Difference.of({"a": [0.1, 0.2, 0.3]})
    assert (alone.low, alone.high) == (None, None)
    same = Difference.of({"a": [0.25], "b": [0.25]})
    assert (same.low, same.high) == (0.25, 0.25)


def test_the_share_above_counts_ties_half() -> None:
    assert Difference.of({"a": [1.0, -1.0], "b": [0.0, 2.0]}).above == 0.625


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))
    order = np.argsort(p_values, kind="stable")
    assert list(np.asarray(adjusted)[order]) == sorted(adjusted)


def entry(name: str, scores: dict[str, tuple[float, float]]) -> Entry:
    """Replicates with the same scores in both outputs."""
    return Entry(
        name,
        {
            key: replace(both := outcome(psnr, steps), smoothed=both.raw)
            for key, (psnr, steps) in scores.items()
        },
    )


KEYS = [f"p{i}-seed{s}" for i in range(4) for s in range(4)]


def old_rule(
    entries: list[Entry], reference: Entry, replicates: int | None = None
) -> list[Comparison]:
    """Compare and judge by the rule of earlier versions."""
    return SignedRankRule().judge([compare(entries, reference, Objective(), replicates)])


def judged(psnr: float, steps: float, spread: float = 0.01) -> Comparison:
    """A schedule against one of 26 dB at 400 steps; differences jitter by `spread`."""
    draws = np.random.default_rng(0).normal(0, spread, len(KEYS))
    jitter = dict(zip(KEYS, draws.tolist(), strict=True))
    ours = {key: (26 + psnr + jitter[key], 400 + steps + 100 * jitter[key]) for key in KEYS}
    reference = entry("plain", dict.fromkeys(KEYS, (26.0, 400.0)))
    return old_rule([entry("staged", ours)], reference)[0]


@pytest.mark.parametrize(
    ("psnr", "steps", "words", "whole"),
    [
        (0.3, -50, ("better", "better"), "better"),
        (0.3, 0, ("better", "not worse"), "better"),
        (0.0, -50, ("not worse", "better"), "better"),
        (0.0, 0, ("not worse", "not worse"), "not worse"),
        (0.3, 80, ("better", "worse"), "not shown (PSNR better, time worse)"),
        (-0.3, -80, ("worse", "better"), "not shown (PSNR worse, time better)"),
        (-0.3, 80, ("worse", "worse"), "not shown (PSNR worse, time worse)"),
    ],
)
def test_words(psnr: float, steps: float, words: tuple[str, str], whole: str) -> None:
    verdict = judged(psnr, steps).verdict
    assert (verdict.psnr, verdict.time) == words
    assert str(verdict).startswith(whole)


def test_noise_leaves_everything_not_shown() -> None:
    verdict = judged(0.05, -5, spread=0.5).verdict
    assert (verdict.psnr, verdict.time) == (Word.NOT_SHOWN, Word.NOT_SHOWN)
    assert str(verdict) == "not shown"


def test_the_margins_are_where_the_docs_say() -> None:
    assert judged(-0.03, 10).verdict.word is Word.NOT_WORSE
    assert judged(-0.08, 10).verdict.word is Word.NOT_SHOWN
    assert judged(-0.03, 25).verdict.word is Word.NOT_SHOWN


def test_better_needs_the_corrected_test_as_well_as_the_interval() -> None:
    keys = KEYS[::4]
    reference = entry("plain", dict.fromkeys(keys, (26.0, 400.0)))
    ours = entry("staged", {key: (26.3 + i / 1000, 400.0) for i, key in enumerate(keys)})
    alone = old_rule([ours], reference)[0]
    assert alone.psnr_db.low is not None
    assert alone.psnr_db.low > 0
    assert alone.p_psnr == 0.25, "four replicates allow no smaller p"
    assert alone.verdict.psnr is Word.NOT_WORSE


def test_the_correction_grows_with_the_number_of_schedules() -> None:
    reference = entry("plain", dict.fromkeys(KEYS, (26.0, 400.0)))
    same = [entry(str(i), dict.fromkeys(KEYS, (26.3, 400.0))) for i in range(3)]
    alone, among = old_rule(same[:1], reference), old_rule(same, reference)
    assert alone[0].p_psnr == pytest.approx(2 * alone[0].psnr_db.signed_rank_p)
    assert among[0].p_psnr == pytest.approx(6 * alone[0].psnr_db.signed_rank_p)


def test_one_picture_shows_nothing() -> None:
    keys = KEYS[:4]
    reference = entry("plain", dict.fromkeys(keys, (26.0, 400.0)))
    [raw, _] = old_rule([entry("staged", dict.fromkeys(keys, (27.0, 300.0)))], reference)
    assert raw.verdict.word is Word.NOT_SHOWN


def test_only_replicates_that_both_finished_are_compared() -> None:
    reference = entry("plain", dict.fromkeys(KEYS, (26.0, 400.0)))
    ours = entry("staged", dict.fromkeys(KEYS[:5], (27.0, 300.0)))
    assert old_rule([ours], reference)[0].psnr_db.n == 5
    assert old_rule([entry("failed", {})], reference) == []


def test_the_best_word_of_a_search() -> None:
    better = Verdict(Word.BETTER, Word.NOT_WORSE)
    equal = Verdict(Word.NOT_WORSE, Word.NOT_WORSE)
    trade = Verdict(Word.BETTER, Word.WORSE)
    assert best_word([trade, equal, better]) is Word.BETTER
    assert best_word([trade, equal]) is Word.NOT_WORSE
    assert best_word([trade]) is Word.NOT_SHOWN
    assert best_word([]) is Word.NOT_SHOWN


def test_curves_tell_when_the_reference_s_maximum_is_reached_and_what_a_budget_buys() -> None:
    curves = {"a-seed0": [1.0, 3.0, 5.0, 4.0], "b-seed0": [2.0, 2.5, 2.0, 1.0]}
    scores = {key: (max(curve), 0.0) for key, curve in curves.items()}
    staged = Entry(
        "staged",
        entry("staged", scores).replicates,
        lambda key, output: np.asarray(curves[key], np.float32),
    )
    reference = entry("plain", {"a-seed0": (3.0, 1.0), "b-seed0": (4.0, 1.0)})
    assert arrival(staged, reference, "raw") == Arrival(1, 2, 1.0)
    assert at_budgets(staged, "raw", [1, 2, 4, 9], curves) == [1.5, 2.75, 3.75, 3.75]
    out_of_reach = entry("plain", dict.fromkeys(curves, (99.0, 1.0)))
    assert arrival(staged, out_of_reach, "raw") == Arrival(0, 2, None)


def test_a_schedule_that_did_not_finish_its_replicates_shows_nothing() -> None:
    reference = entry("plain", dict.fromkeys(KEYS, (26.0, 400.0)))
    ours = entry("staged", dict.fromkeys(KEYS[:-1], (27.0, 300.0)))
    raw = old_rule([ours], reference)[0]
    assert (raw.missing, raw.verdict.word) == (1, Word.NOT_SHOWN)
    # Nor does any schedule where the reference itself did not.
    short = entry("plain", dict.fromkeys(KEYS[:8], (26.0, 400.0)))
    whole = entry("staged", dict.fromkeys(KEYS, (27.0, 300.0)))
    assert old_rule([whole], short)[0].verdict.word is Word.BETTER
    assert old_rule([whole], short, 16)[0].verdict.word is Word.NOT_SHOWN


@pytest.mark.parametrize(
    ("share", "psnr", "steps"), [(1 / 16, *["better"] * 2), (1 / 4, *["not shown"] * 2)]
)
def test_numbers_that_the_budget_cut_off_show_nothing_good(
    share: float, psnr: str, steps: str
) -> None:
    """The reference's maximum could be higher, and the schedule's steps more."""
    ours = entry("staged", dict.fromkeys(KEYS, (27.0, 300.0)))
    reference = entry("plain", dict.fromkeys(KEYS, (26.0, 400.0)))

    def cut(whole: Entry) -> Entry:
        replicates = {}
        for i, (key, each) in enumerate(whole.replicates.items()):
            scores = replace(each.raw, censored=i < share * len(KEYS))
            replicates[key] = replace(each, raw=scores, smoothed=scores)
        return Entry(whole.name, replicates)

    assert old_rule([ours], cut(reference))[0].verdict.psnr == psnr
    assert old_rule([ours], cut(reference))[0].verdict.time == "better"
    assert old_rule([cut(ours)], reference)[0].verdict.time == steps
    assert old_rule([cut(ours)], reference)[0].verdict.psnr == "better"


def test_against_several_references_the_worst_word_holds() -> None:
    one, other = Verdict(Word.BETTER, Word.NOT_WORSE), Verdict(Word.NOT_SHOWN, Word.BETTER)
    assert worst([one, other]) == Verdict(Word.NOT_SHOWN, Word.NOT_WORSE)
    assert worst([one]) == one
    assert worst([]).word is Word.NOT_SHOWN
    assert worst([one, Verdict(Word.WORSE, Word.WORSE)]) == Verdict(Word.WORSE, Word.WORSE)
