"""The rule for declared claims: what can be better, and what takes it away."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import outcome
from scipy import stats

from search.experiment.objectives import Objective
from search.verification.rules import ClaimRule, Endpoint, claim_p, hardest
from search.verification.statistics import holm, student_p
from search.verification.verdicts import Comparison, Entry, Verdict, Word, against_all, compare

PICTURES, LENGTH = 12, 1000
KEYS = [f"p{i}-seed0" for i in range(PICTURES)]


def entry(name: str, psnr_db: float = 26.0, time: float = 400, censored: int = 0) -> Entry:
    """A schedule that rises evenly to a maximum at some iteration; pictures differ a little."""
    draws = np.random.default_rng(sum(map(ord, name))).normal(0, 0.02, (PICTURES, 2))
    curves = {}
    replicates = {}
    for i, (key, (db, share)) in enumerate(zip(KEYS, draws.tolist(), strict=True)):
        top, at = psnr_db + db, time * (1 + share)
        curves[key] = np.minimum(10 + np.arange(LENGTH) * (top - 10) / at, top)
        both = outcome(top, round(at), censored=i < censored)
        replicates[key] = replace(both, smoothed=both.raw)
    return Entry(name, replicates, lambda key, output: curves[key])


def judged(
    ours: Entry, *references: Entry, endpoint: Endpoint = "time", family: int = 1
) -> list[Comparison]:
    """Comparisons of one claim in the smoothed output with all references."""
    names = frozenset(each.name for each in references)
    rule = ClaimRule({ours.name: endpoint}, {ours.name: names}, "smoothed", family)
    compared = [
        each
        for reference in references
        for each in compare([ours], reference, Objective(), with_times=True)
    ]
    return [each for each in rule.judge([compared]) if each.output == "smoothed"]


PLAIN = entry("plain")


@pytest.mark.parametrize(
    ("psnr_db", "time", "endpoint", "words"),
    [
        (26.0, 300, "time", ("not worse", "better")),
        (26.5, 300, "time", ("not worse", "better")),
        (26.5, 412, "time", ("not worse", "not worse")),
        (26.5, 412, "psnr", ("better", "not worse")),
        (26.5, 300, "psnr", ("better", "not worse")),
        (26.0, 300, "psnr", ("not worse", "not worse")),
        # A loss in the other quantity takes the gain away.
        (25.8, 300, "time", ("worse", "not worse")),
        (26.5, 500, "psnr", ("not worse", "worse")),
    ],
)
def test_only_the_declared_endpoint_can_be_better(
    psnr_db: float, time: float, endpoint: Endpoint, words: tuple[str, str]
) -> None:
    [each] = judged(entry("staged", psnr_db, time), PLAIN, endpoint=endpoint)
    assert (each.verdict.psnr, each.verdict.time) == words


def test_a_claim_must_hold_against_every_reference() -> None:
    ours = entry("staged", 26.3, 300)
    easy, hard = judged(ours, PLAIN, entry("fast", 26.3, 300))
    assert easy.p_time == hard.p_time, "the largest p counts for all"
    assert {easy.verdict.time, hard.verdict.time} == {Word.NOT_WORSE}
    alone = judged(ours, PLAIN)[0]
    assert alone.verdict.time is Word.BETTER


def test_a_reference_that_is_missing_leaves_no_claim() -> None:
    ours = entry("staged", 26.3, 300)
    rule = ClaimRule({"staged": "time"}, {"staged": frozenset({"plain", "gone"})}, "smoothed", 1)
    compared = rule.judge([compare([ours], PLAIN, Objective(), with_times=True)])
    assert Word.BETTER not in {each.verdict.time for each in compared}
    judged = [each for each in compared if each.output == "smoothed"]
    assert [c.p_time for c in judged] == [1.0]
    assert against_all(judged, {"plain"}) == judged
    assert against_all(judged, {"plain", "gone"}) == []


def test_another_output_or_an_undeclared_schedule_is_never_better() -> None:
    ours, other = entry("staged", 26.3, 300), entry("other", 26.3, 300)
    rule = ClaimRule({"staged": "time"}, {"staged": frozenset({"plain"})}, "smoothed", 1)
    compared = rule.judge([compare([ours, other], PLAIN, Objective(), with_times=True)])
    better = [(c.schedule, c.output) for c in compared if c.verdict.word is Word.BETTER]
    assert better == [("staged", "smoothed")]


@pytest.mark.parametrize("censored", [1, 2])
def test_more_than_a_tenth_of_censored_maxima_in_either_run_show_nothing(censored: int) -> None:
    shown = Word.BETTER if censored == 1 else Word.NOT_SHOWN
    ours, cut = entry("staged", 26.3, 300), entry("staged", 26.3, 300, censored)
    assert judged(cut, PLAIN)[0].verdict.word is shown
    assert judged(ours, entry("plain", censored=censored))[0].verdict.word is shown


def test_missing_replicates_show_nothing() -> None:
    ours = entry("staged", 26.3, 300)
    short = Entry("staged", dict(list(ours.replicates.items())[1:]), ours.curves)
    assert judged(short, PLAIN)[0].verdict == Verdict()


def test_all_declared_claims_count_in_the_correction() -> None:
    ours = entry("staged", 26.3, 300)
    p = [judged(ours, PLAIN, family=family)[0].p_time for family in (1, 8)]
    assert p[0] is not None
    assert p[1] == pytest.approx(8 * p[0])
    assert holm([0.02, 0.01], 4) == pytest.approx([0.06, 0.04])


def test_p_is_student_s_and_says_the_same_as_the_interval() -> None:
    means = np.random.default_rng(0).normal(0.1, 0.2, 9)
    two_sided = stats.ttest_1samp(means, 0).pvalue
    assert student_p(means) == pytest.approx(two_sided)
    assert student_p(-means) == 1, "the direction counts"
    low = stats.ttest_1samp(means, 0).confidence_interval(0.95).low
    assert student_p(means, low) == pytest.approx(0.05)
    assert student_p(means[:1]) == 1
    assert student_p(np.full(4, 0.25)) == 0
    assert student_p(np.zeros(4)) == 1


def test_the_p_of_a_claim_is_that_of_its_weaker_part() -> None:
    generator = np.random.default_rng(1)
    psnr, ratio = generator.normal(0.0, 0.1, 9), generator.normal(-0.4, 0.1, 9)
    expected = max(student_p(psnr, -0.1), student_p(-ratio))
    assert claim_p(psnr, ratio, "time") == expected
    expected = max(student_p(psnr), student_p(-ratio, -math.log(1.1)))
    assert claim_p(psnr, ratio, "psnr") == expected


def test_the_hardest_reference_is_the_one_over_which_the_claimed_gain_is_smallest() -> None:
    compared = judged(entry("ours", 26.5, 300), entry("slow", 26.0, 600), entry("quick", 25.5, 350))
    by_time, by_psnr = hardest(compared, "time"), hardest(compared, "psnr")
    assert by_time is not None
    assert by_psnr is not None
    assert (by_time.reference, by_psnr.reference) == ("quick", "slow")
    assert hardest([], "psnr") is None
