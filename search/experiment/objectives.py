"""Objectives and constraints of a search, with their names and units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, NamedTuple

from dipstage.documents.records import described
from dipstage.errors import InputError
from dipstage.schedules.stopping import OUTPUTS
from dipstage.terminal.numbers import DB, SSIM, STEPS, fixed

METRICS = ("psnr", "ssim")
COSTS = ("steps", "seconds", "gpu_seconds", "none")
"""Metrics and costs that need no package; other names are installed objectives."""


class Score(NamedTuple):
    """A trial's two objectives: the first is maximised, the second minimised.

    The fields have the names of the default objectives. With others, such as SSIM against seconds,
    their values stand in the same places; `Objective.quality` and `Objective.cost` name them.
    """

    max_psnr_gt_db: float
    steps_to_max: float

    @property
    def finite(self) -> bool:
        """True if both objectives are finite numbers."""
        return math.isfinite(self.max_psnr_gt_db) and math.isfinite(self.steps_to_max)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of a replicate and how it is shown.

    Args:
        key: Name in files.
        words: Name for people, without the unit.
        unit: Unit; empty for a plain number.
        digits: Digits after the decimal point.
    """

    key: str
    words: str
    unit: str
    digits: int

    @property
    def label(self) -> str:
        """Name with the unit."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    def text(self, value: float) -> str:
        """Return a value as it is shown, without the unit."""
        return fixed(value, self.digits)

    def amount(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{self.text(value)} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Objective:
    """The two objectives, which are means over a trial's replicates, and constraints on them. By
    default, the objectives are the maximum PSNR_GT and the iterations (steps) until it is reached.
    """

    output: Literal["raw", "smoothed"] = described(
        "raw",
        help="Output whose scores are optimised: the network's output itself, or its moving "
        "average. The scores of both are recorded.",
    )
    tolerance_db: float = described(
        0.0,
        "finite and not negative",
        help="Tolerance in dB. Above 0, steps are counted to the first iteration within "
        "this tolerance of the maximum (`steps_to_tolerance`); with 0, they are counted to the "
        "maximum itself (`steps_to_max`).",
    )
    window: int = described(
        1,
        "at least 1",
        help="Number of iterations over which PSNR of the raw output is averaged before "
        "`steps_to_tolerance` or `steps_to_target` is read from it, because single outputs "
        "fluctuate. It has no effect on the smoothed output, `steps_to_max` or `max_psnr_gt_db`.",
    )
    stop: Literal["oracle", "emv", "wmv"] = described(
        "oracle",
        help="Which iteration of a training is scored. `oracle`: the one with the highest PSNR_GT. "
        "`emv` and `wmv`: the one that this stopping rule selects without ground truth, as in "
        "`dipstage restore`; the first objective is then its PSNR_GT, and steps are all "
        "iterations until the rule stops the training.",
    )
    metric: str = described(
        "psnr",
        "`psnr`, `ssim` or the name of an installed objective",
        help="The first objective, which is maximised: maximum PSNR_GT or SSIM_GT, or a function "
        "of the entry-point group `dipsearch.objectives` (see [objectives](method.md#objectives)). "
        "With `ssim`, `trainer.oracle_stop` must be `false`, because it ends trainings by their "
        "PSNR_GT, perhaps before the maximum of SSIM_GT.",
    )
    against: str = described(
        "steps",
        "`steps`, `seconds`, `gpu_seconds`, `none` or the name of an installed objective",
        help="The second objective, which is minimised: the steps, the training time that they "
        "take, or that time multiplied by the share of a GPU. With `none` the first objective "
        "alone is optimised, and the front is the best trial.",
    )
    target_psnr_gt_db: float | None = described(
        None,
        "finite",
        help="Count steps to the first iteration at which PSNR_GT reaches this value in dB "
        "(`steps_to_target`, the time to target) instead of to the maximum. For a training that "
        "never reaches it, all iterations of the budget are counted.",
    )
    max_steps: float | None = described(
        None,
        "above 0",
        help="Constraint: maximum number of steps, as the other keys count them. A trial that "
        "exceeds it is infeasible: it is shown, but never on the front.",
    )
    min_psnr_gt_db: float | None = described(
        None, "finite", help="Constraint: minimum PSNR_GT in dB of the iteration that is scored."
    )

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.output not in OUTPUTS:
            raise InputError(f"output must be raw or smoothed, got {self.output!r}")
        if not (math.isfinite(self.tolerance_db) and self.tolerance_db >= 0):
            raise InputError(
                f"tolerance_db must be finite and not negative, got {self.tolerance_db}"
            )
        if self.window < 1:
            raise InputError(f"window must be at least 1, got {self.window}")
        for name in ("target_psnr_gt_db", "max_steps", "min_psnr_gt_db"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name} must be finite, got {value}")
        if self.max_steps is not None and self.max_steps <= 0:
            raise InputError(f"max_steps must be above 0, got {self.max_steps}")
        for name in ("metric", "against"):
            if not re.fullmatch(r"[\w.-]{1,64}", getattr(self, name)):
                raise InputError(
                    f"{name} must be a name of letters, digits, dots and dashes, got "
                    f"{getattr(self, name)!r}"
                )
        self._check_steps()

    def _check_steps(self) -> None:
        """Refuse two ways of counting steps at once, and what a stopping rule does not measure."""
        ways = {
            f"stop {self.stop}": self.stop != "oracle",
            "metric ssim": self.metric == "ssim",
            "tolerance_db": self.tolerance_db > 0,
            "target_psnr_gt_db": self.target_psnr_gt_db is not None,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) > 1 and given != ["metric ssim", "target_psnr_gt_db"]:
            raise InputError(
                f"{given[0]} and {given[1]} cannot be combined: both say up to where steps are "
                "counted"
            )

    @property
    def standard(self) -> Objective:
        """PSNR_GT against steps in the same output without constraints, which is verified."""
        return Objective(self.output, self.tolerance_db, self.window)

    @property
    def is_standard(self) -> bool:
        """True if the search optimises maximum PSNR_GT against steps to it."""
        measured = (self.stop, self.metric, self.against, self.target_psnr_gt_db)
        return measured == ("oracle", "psnr", "steps", None)

    @property
    def words(self) -> str:
        """Both objectives and the constraints in words."""
        words = self.quality.words if self.single else f"{self.quality.words}, {self.cost.words}"
        limits = [f"{name} {limit:g}" for name, limit in self.limits.items()]
        return "; ".join([words, *limits])

    @property
    def single(self) -> bool:
        """True if the first objective alone is optimised."""
        return self.against == "none"

    @property
    def has_reference(self) -> bool:
        """True if the objectives are PSNR_GT and iterations, or PSNR_GT alone: the observation and
        the budget are then a score to measure from.
        """
        return self.metric == "psnr" and self.cost.unit == "iterations"

    @property
    def custom(self) -> dict[str, Literal["maximize", "minimize"]]:
        """Names of installed objectives, and the direction that each must have."""
        found: dict[str, Literal["maximize", "minimize"]] = {}
        if self.metric not in METRICS:
            found[self.metric] = "maximize"
        if self.against not in COSTS:
            found[self.against] = "minimize"
        return found

    @property
    def psnr(self) -> Quantity:
        """PSNR_GT of the output that counts."""
        if self.stop == "oracle":
            return Quantity("max_psnr_gt_db", "max PSNR_GT", "dB", DB)
        return Quantity("stopped_psnr_gt_db", f"PSNR_GT at {self.stop.upper()} stop", "dB", DB)

    @property
    def steps(self) -> Quantity:
        """The steps that count."""
        if self.stop != "oracle":
            name, words = "stop", f"{self.stop.upper()} stop"
        elif self.target_psnr_gt_db is not None:
            name, words = "target", f"{self.target_psnr_gt_db:g} dB"
        elif self.tolerance_db:
            name, words = "tolerance", f"{self.tolerance_db:g} dB below max"
        else:
            name, words = ("max_ssim_gt", "max SSIM") if self.metric == "ssim" else ("max", "max")
        return Quantity(f"steps_to_{name}", f"steps to {words}", "iterations", STEPS)

    @property
    def quality(self) -> Quantity:
        """The first objective, which is maximised."""
        if self.metric == "psnr":
            return self.psnr
        if self.metric == "ssim":
            return _SSIM
        return Quantity(self.metric, self.metric, "", 3)

    @property
    def beside(self) -> Quantity:
        """The score that tables show beside the first objective: SSIM, or PSNR_GT beside SSIM."""
        return self.psnr if self.metric == "ssim" else _SSIM

    @property
    def cost(self) -> Quantity:
        """The second objective, which is minimised; the steps, for information, without one."""
        steps = self.steps
        if self.against in ("steps", "none"):
            return steps
        if self.against in ("seconds", "gpu_seconds"):
            words = self.against.replace("gpu_", "GPU-")
            key = steps.key.replace("steps", self.against)
            unit = "s" if self.against == "seconds" else "GPU s"
            return Quantity(key, steps.words.replace("steps", words), unit, 1)
        return Quantity(self.against, self.against, "", 3)

    def at(self, values: tuple[float, float], censored: bool) -> str:
        """Return both objectives, such as `25.31 dB at 120` or `max SSIM_GT 0.793 at 67`, with ≥
        where the end of training may have cut the maximum off.
        """
        quality, cost = self.quality, self.cost
        reached = quality.amount(values[0])
        if not quality.unit:  # A number without a unit says nothing by itself.
            reached = f"{quality.words} {reached}"
        spent = cost.text(values[1]) if cost.unit == "iterations" else cost.amount(values[1])
        return f"{reached} at {'≥ ' * censored}{spent}"

    @property
    def limits(self) -> dict[str, float]:
        """The constraints by name."""
        limits = {"max_steps": self.max_steps, "min_psnr_gt_db": self.min_psnr_gt_db}
        return {name: limit for name, limit in limits.items() if limit is not None}


_SSIM = Quantity("max_ssim_gt", "max SSIM_GT", "", SSIM)


def mean_score(scores: Iterable[Score]) -> Score:
    """Return the mean of both objectives; raise ValueError if there are no scores."""
    both = list(scores)
    return Score(fmean(s.max_psnr_gt_db for s in both), fmean(s.steps_to_max for s in both))
