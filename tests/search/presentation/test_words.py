"""Intervals in words: an end that excludes no difference does not look as if it touched it."""

import math

from search.presentation.words import interval, ratio_interval
from search.report.advice import _range, _time_words
from search.verification.statistics import Difference
from search.verification.verdicts import Comparison


def near(low: float, high: float) -> Difference:
    """Differences on two pictures whose 95 % interval is about [low, high]."""
    middle, half = (low + high) / 2, (high - low) / 2
    apart = half / 12.7062047  # Student's 97.5 % quantile with one degree of freedom
    return Difference(((middle - apart,), (middle + apart,)))


def test_an_end_that_excludes_0_has_another_digit() -> None:
    assert interval(near(-0.1134, -0.0034), 2) == "-0.06 [-0.11, -0.003]"
    assert interval(near(0.0034, 0.1034), 2) == "+0.05 [+0.003, +0.10]"
    assert interval(near(-0.4, 20.4), 0) == "+10 [-0.4, +20]"
    assert interval(near(-0.1, 0.1), 2) == "+0.00 [-0.10, +0.10]"


def test_an_end_that_excludes_a_ratio_of_1_has_another_digit() -> None:
    difference = near(math.log(0.8), math.log(0.9972))
    assert ratio_interval(difference) == "0.89 [0.80, 0.997]"


def test_the_report_writes_the_same_ends() -> None:
    psnr_db, ratio = near(-0.1134, -0.0034), near(math.log(0.8), math.log(0.9972))
    each = Comparison("trial 2", "plain DIP", "smoothed", psnr_db, psnr_db, ratio, 30.0, 0, 0, 0)
    assert _range(psnr_db, 2) == " (95 % interval -0.11 to -0.003)"
    assert _time_words(each).endswith("0.89 times the time (95 % interval 0.80 to 0.997)")
