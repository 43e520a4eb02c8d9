"""Conditions that end a search before its last trial: its hours, or trials without a gain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from optuna.trial import FrozenTrial

from search.analysis.comparison import reference_point
from search.analysis.pareto import dominates, strictly_dominates
from search.experiment.model import Experiment
from search.experiment.objectives import Score
from search.store.attributes import StudyAttributes, TrialAttributes, is_interrupted


class Budget:
    """Budget of a search, over all of its drivers."""

    def __init__(
        self, attributes: StudyAttributes, experiment: Experiment, clock: Callable[[], float]
    ) -> None:
        """Begin to count the time of this driver, by a monotonic clock in seconds."""
        self._hours, self._before_s = attributes.hours, attributes.driven_s
        self._until, self._from = experiment.search.until, attributes.gain_from
        self._clock, self._began = clock, clock()
        objective = attributes.objective
        self._single, self._quality = objective.single, objective.quality
        self._otherwise = reference_point(experiment) if objective.has_reference else None

    @property
    def driven_s(self) -> float:
        """Seconds that drivers of the run were active, this one included."""
        return self._before_s + self._clock() - self._began

    def spent(self, scores: Sequence[Score | None], plain: Score | None) -> str | None:
        """Return why no further trial begins, in words; None to go on.

        Args:
            scores: Scores of the sampled trials in the order of their ends; None for those that
                are not complete, or that were raced.
            plain: Score of plain DIP; None if it is not a candidate.
        """
        if self._hours is not None and self.driven_s >= 3600 * self._hours:
            return f"its {self._hours:g} h were used"
        reference = plain or self._otherwise
        if self._until is None or reference is None:
            return None
        without = trials_without_gain(scores, reference, single=self._single)
        if min(without, len(scores) - self._from) < self._until.no_gain:
            return None
        if self._single:
            measure = f"best {self._quality.words}"
        else:
            measure = f"hypervolume above {'plain DIP' if plain else 'the observation'}"
        return f"{without} trials in a row did not raise the {measure}"


def trials_without_gain(
    scores: Sequence[Score | None], reference: Score, *, single: bool = False
) -> int:
    """Return how many of the last trials did not raise the hypervolume above the reference.

    A score raises it if it is better than the reference in both objectives and neither equal to
    nor dominated by an earlier one. With `single`, the first objective alone counts.
    """
    if single:
        reference = Score(reference.max_psnr_gt_db, 1.0)
        scores = [score and Score(score.max_psnr_gt_db, 0.0) for score in scores]
    without = 0
    members: list[Score] = []
    for score in scores:
        without += 1
        if score is None or not (score.finite and strictly_dominates(score, reference)):
            continue
        if any(dominates(member, score) or member == score for member in members):
            continue
        members = [member for member in members if not dominates(score, member)] + [score]
        without = 0
    return without


def ended_scores(
    trials: Iterable[FrozenTrial], plain_name: str | None
) -> tuple[Score | None, list[Score | None]]:
    """Return the score of plain DIP, and those of the sampled trials in the order of their ends."""
    plain, sampled = None, []
    for trial in trials:
        if trial.datetime_complete is None or is_interrupted(trial):
            continue
        attributes = TrialAttributes.of(trial)
        values = Score(*trial.values) if trial.values else None
        if attributes.candidate is None:
            counts = attributes.raced is None and all(v <= 0 for v in trial.constraints.values())
            sampled.append((trial.datetime_complete, trial.number, values if counts else None))
        elif attributes.candidate == plain_name and values is not None and values.finite:
            plain = values
    return plain, [values for _, _, values in sorted(sampled, key=lambda each: each[:2])]
