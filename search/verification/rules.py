"""The two rules that turn comparisons into verdicts: today's, and that of older verifications."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dipstage.schedules.stopping import OUTPUTS, Output
from search.verification.statistics import holm, student_p
from search.verification.verdicts import Comparison, Verdict, Word, against_all

Endpoint: TypeAlias = Literal["time", "psnr"]
SIGNIFICANCE = 0.05
CENSORED_SHARE = 0.1
"""Maximum share of censored replicates; above it, a comparison shows nothing."""
PSNR_MARGIN_DB = 0.1
TIME_MARGIN = 1.1
"""A schedule is not worse if it loses at most this: dB of max PSNR_GT, and ratio of times."""
OLD_PSNR_MARGIN_DB = 0.05
OLD_STEPS_MARGIN = 0.03
"""The same for older verifications: dB, and share of the reference's steps."""


def hardest(comparisons: Sequence[Comparison], endpoint: Endpoint) -> Comparison | None:
    """Return the comparison whose interval leaves the least of a gain; None without any."""

    def left(each: Comparison) -> float:
        difference = each.time if endpoint == "time" else each.psnr_db
        end = difference.high if endpoint == "time" else difference.low
        least = difference.mean if end is None else end
        return -least if endpoint == "time" else least

    return min(comparisons, key=left, default=None)


def claim_p(
    psnr_db: NDArray[np.floating[Any]], log_ratio: NDArray[np.floating[Any]], endpoint: Endpoint
) -> NDArray[np.float64]:
    """Return p of the claim that a schedule is better than one reference.

    The claim has two parts: a gain in the endpoint, and no loss beyond the margin in the other
    quantity. The larger of their p holds for both (intersection-union test, Berger 1982).

    Args:
        psnr_db: Mean difference of max PSNR_GT on each picture, (..., pictures).
        log_ratio: Mean log ratio of the times to the common target on each picture.
        endpoint: Where the gain is claimed.

    Returns:
        p, (...), by Student's test over pictures.
    """
    is_time = endpoint == "time"
    psnr = student_p(psnr_db, -PSNR_MARGIN_DB if is_time else 0.0)
    time = student_p(-log_ratio, 0.0 if is_time else -math.log(TIME_MARGIN))
    return np.maximum(psnr, time)


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One declared endpoint for each claim, judged against all of its references at once.

    Only the endpoint can be *better*, only in the declared output, and only against every
    reference: the largest p over the references counts, with Holm's correction over all claims.

    Args:
        endpoints: Declared endpoint of each claimed schedule.
        references: Names of the references of each claimed schedule.
        output: The output that is judged.
        family: Number of claims that were declared, in this verification and beside it.
        alpha: Significance level.
    """

    endpoints: Mapping[str, Endpoint]
    references: Mapping[str, frozenset[str]]
    output: Output
    family: int
    alpha: float = SIGNIFICANCE
    reads_curves: ClassVar[bool] = True
    time_column: ClassVar[str] = "verdict_time"
    time_words: ClassVar[str] = "time ratio to"

    @property
    def margins(self) -> str:
        """The largest losses of a schedule that is not worse."""
        return f"{PSNR_MARGIN_DB:g} dB and {TIME_MARGIN - 1:.0%} of the time"

    @property
    def method(self) -> str:
        """The rule in one sentence."""
        return (
            "paired differences with Student's 95 % intervals over pictures; time: ratio of the "
            "times to the common target (the lower of the two maxima less 0.1 dB); better: clear "
            "of 0 in the declared endpoint and not worse in the other quantity, against every "
            f"reference, with Student's p below {self.alpha:g} after Holm's correction for "
            f"{self.family} claim{'' if self.family == 1 else 's'}; not worse: the interval "
            f"excludes a loss of {self.margins}"
        )

    def judge(self, groups: Sequence[Sequence[Comparison]]) -> list[Comparison]:
        """Return the comparisons with their verdicts and with the p of their claims."""
        comparisons = [each for group in groups for each in group]
        p: dict[str, float] = {}
        for name, references in self.references.items():
            gates = [c for c in comparisons if c.schedule == name and self._gates(c)]
            p[name] = max(map(self._p, against_all(gates, references)), default=1.0)
        adjusted = dict(zip(p, holm(list(p.values()), self.family), strict=True))
        return [
            self._judged(each, adjusted[each.schedule] if self._gates(each) else None)
            for each in comparisons
        ]

    def _gates(self, each: Comparison) -> bool:
        return each.output == self.output and each.reference in self.references.get(
            each.schedule, ()
        )

    def _p(self, each: Comparison) -> float:
        assert each.log_ratio is not None
        if _is_unsure(each):
            return 1.0
        endpoint = self.endpoints[each.schedule]
        return float(claim_p(each.psnr_db.means, each.log_ratio.means, endpoint))

    def _judged(self, each: Comparison, p: float | None) -> Comparison:
        assert each.log_ratio is not None
        is_time = self.endpoints.get(each.schedule) == "time"
        p_psnr, p_time = (None, p) if is_time else (p, None)
        if _is_unsure(each):
            return replace(each, p_psnr=p_psnr, p_time=p_time)
        psnr, ratio = each.psnr_db, each.log_ratio
        verdict = Verdict(
            _word(psnr.low, psnr.high, PSNR_MARGIN_DB, p_psnr, self.alpha),
            _word(_negative(ratio.high), _negative(ratio.low), math.log(TIME_MARGIN), p_time,
                  self.alpha),
        )  # fmt: skip
        return replace(each, p_psnr=p_psnr, p_time=p_time, verdict=verdict)


def _is_unsure(each: Comparison) -> bool:
    """Return whether replicates are missing, or too many maxima of either run are censored."""
    return bool(each.missing) or bool(too_censored([each]))


def is_gain(each: Comparison, endpoint: Endpoint) -> bool:
    """Return whether the whole interval of a comparison shows a gain in time or in PSNR."""
    least = each.psnr_db.low
    if endpoint == "time":
        least = None if each.log_ratio is None else _negative(each.log_ratio.high)
    return least is not None and least > 0


def too_censored(comparisons: Iterable[Comparison]) -> list[str]:
    """Return the names of the schedules and references of which too many maxima are censored."""
    shares: dict[str, float] = {}
    for each in comparisons:
        shares |= {each.schedule: each.censored, each.reference: each.reference_censored}
    return [name for name, share in shares.items() if share > CENSORED_SHARE]


@dataclass(frozen=True, slots=True)
class SignedRankRule:
    """The rule of verifications whose plan declares no endpoints.

    Both objectives can be *better*, by Wilcoxon's test over replicates with Holm's correction over
    both objectives of all schedules, for each output. Time is counted in steps.
    """

    reads_curves: ClassVar[bool] = False
    time_column: ClassVar[str] = "verdict_steps"
    time_words: ClassVar[str] = "steps after"

    @property
    def margins(self) -> str:
        """The largest losses of a schedule that is not worse."""
        return f"{OLD_PSNR_MARGIN_DB:g} dB and {OLD_STEPS_MARGIN:.0%} of the steps"

    @property
    def method(self) -> str:
        """The rule in one sentence."""
        return (
            "rule of earlier versions, which this verification keeps: paired differences with "
            "Student's 95 % intervals over pictures; better: clear of 0 and Wilcoxon's p with "
            f"Holm's correction below {SIGNIFICANCE:g}; not worse: within {self.margins}"
        )

    def judge(self, groups: Sequence[Sequence[Comparison]]) -> list[Comparison]:
        """Return the comparisons with their verdicts; a group is a family in each output."""
        judged = []
        for group, output in product(groups, OUTPUTS):
            family = [each for each in group if each.output == output]
            psnr = [each.psnr_db.signed_rank_p for each in family]
            p = holm(psnr + [each.steps.signed_rank_p for each in family])
            judged += [
                self._judged(replace(each, p_psnr=p_psnr, p_time=p_time))
                for each, p_psnr, p_time in zip(family, p, p[len(family) :], strict=False)
            ]
        return judged

    def _judged(self, each: Comparison) -> Comparison:
        """Judge by the 95 % interval, and for better by the adjusted test as well.

        Replicates that diverged leave nothing shown. Nor is anything good said of a number that
        the end of the budget cut off too often: of the schedule's steps, which could only be more,
        or of the reference's max PSNR_GT, which could only be higher.
        """
        if each.missing:
            return each
        psnr, steps = each.psnr_db, each.steps
        margin = OLD_STEPS_MARGIN * each.reference_steps
        psnr_word = _word(psnr.low, psnr.high, OLD_PSNR_MARGIN_DB, each.p_psnr)
        time_word = _word(_negative(steps.high), _negative(steps.low), margin, each.p_time)
        verdict = Verdict(
            _unless(each.reference_censored > CENSORED_SHARE, psnr_word),
            _unless(each.censored > CENSORED_SHARE, time_word),
        )
        return replace(each, verdict=verdict)


Rule: TypeAlias = ClaimRule | SignedRankRule
"""A rule by which verdicts are reached.

`reads_curves`: comparisons need times to the common target. `time_column`: column of
verification.csv with the verdict in time. `time_words`: heading of what is judged in time.
`method`: the rule in one sentence. `margins`: the largest losses of a schedule that is not worse.
`judge` returns the comparisons of all groups with their verdicts; the schedules of one role against
one reference are a group.
"""


def _unless(cut_off: bool, word: Word) -> Word:
    return Word.NOT_SHOWN if cut_off and word is not Word.WORSE else word


def _word(
    low: float | None, high: float | None, margin: float, p: float | None,
    alpha: float = SIGNIFICANCE,
) -> Word:  # fmt: skip
    """Return the word on a quantity that is better the higher; without p it is never better."""
    if low is None or high is None:
        return Word.NOT_SHOWN
    if low > 0 and p is not None and p < alpha:
        return Word.BETTER
    if low >= -margin:
        return Word.NOT_WORSE
    return Word.WORSE if high < 0 else Word.NOT_SHOWN


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
