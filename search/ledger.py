"""The ledger that a driver keeps in the study: what to run next, and what came back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from dipstage.errors import WorkError
from dipstage.schedules import Schedule
from search.objectives import mean_score
from search.pareto import Score
from search.racing import race
from search.sampler import SAMPLERS, SearchedTrials
from search.study import RACED, REPLICATE, is_interrupted, objective_of, replicates

if TYPE_CHECKING:
    from search.experiment import Experiment

ALONE = "alone"
"""Attribute of a trial that ran out of memory once, with the reason."""
MAX_DEATHS = 3
WINDOW = 10
"""Trials that ended last; when too large a share of them failed, the search ends."""


@dataclass(frozen=True, slots=True)
class Work:
    """A trial to be run: everything that a worker needs, but the pictures.

    alone: it ran out of memory beside others, and gets a GPU or a machine for itself.
    """

    number: int
    schedule: Schedule
    learning_rate: float
    warmup: int | None = None
    done: tuple[str, ...] = ()
    alone: bool = False

    @classmethod
    def of(cls, trial: FrozenTrial) -> Work:
        """What is left of a trial that a driver handed out."""
        attributes = trial.user_attrs
        return cls(
            trial.number,
            Schedule.from_pairs(attributes["stages"], any_order=True),
            attributes["learning_rate"],
            attributes.get("warmup"),
            tuple(replicates(trial)),
            ALONE in attributes,
        )


class Ledger:
    """Hands out trials and writes down what comes back. One driver has one ledger."""

    def __init__(self, study: Study, experiment: Experiment, keys: list[str]) -> None:
        """`keys` name the replicates that make a trial complete."""
        self._study, self._experiment, self._keys = study, experiment, keys
        self._objective = objective_of(study)
        seed = experiment.search.seed + len(study.get_trials(deepcopy=False))
        wanted = int(study.user_attrs["trials"])
        study.sampler = SearchedTrials(SAMPLERS[experiment.search.sampler](seed, wanted))
        self._queue: deque[Work] = deque()
        # Handed out last, when machines fall free: waiting for a whole one holds up nobody.
        self._alone: deque[Work] = deque()
        self._running: dict[int, Work] = {}
        # Scores by replicate: of trials under way, and of complete ones for them to race against.
        self._scores: dict[int, dict[str, Score]] = {}
        self._complete: list[dict[str, Score]] = []
        # Of the trials that ended under this driver, why they failed; None for those that did not.
        self._endings: deque[str | None] = deque(maxlen=WINDOW)
        self._adopt()
        trials = [t for t in study.get_trials(deepcopy=False) if not is_interrupted(t)]
        self._complete = [
            self._score_all(t)
            for t in trials
            if t.state is TrialState.COMPLETE and RACED not in t.user_attrs
        ]
        named = {t.user_attrs.get("candidate") for t in trials}
        self._candidates = deque(
            c for c in study.user_attrs["candidates"] if c["name"] not in named
        )
        sampled = sum("candidate" not in t.user_attrs for t in trials)
        self._to_sample = max(0, wanted - sampled)

    def _adopt(self) -> None:
        """Take up what a dead driver left RUNNING."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "stages" not in trial.user_attrs:
                self._interrupt(trial.number)
                continue
            work = Work.of(trial)
            self._running[trial.number] = work
            self._scores[trial.number] = self._score_all(trial)
            if RACED in trial.user_attrs:
                self._tell_raced(trial.number)
                continue
            if int(trial.user_attrs.get("deaths", 0)) >= MAX_DEATHS:
                self._give_up(trial.number, MAX_DEATHS, trial.user_attrs.get("death", ""))
                continue
            if not self._finish_if_all_done(trial.number):
                self._put_back(self._running.pop(trial.number))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do and nothing is under way."""
        waiting = self._queue or self._candidates or self._to_sample or self._alone
        return not (waiting or self._running)

    def next(self) -> Work | None:
        """A trial to run: one taken up again, a candidate, or a sampled one; None to wait."""
        if self._queue:
            work = self._queue.popleft()
        elif self._candidates:
            work = self._new_candidate(self._candidates.popleft())
        elif self._to_sample:
            work = self._sample()
            self._to_sample -= 1
        elif self._alone:
            work = self._alone.popleft()
        else:
            return None
        self._running[work.number] = work
        return work

    def _put_back(self, work: Work) -> None:
        (self._alone if work.alone else self._queue).append(work)

    def _new_candidate(self, candidate: Mapping[str, Any]) -> Work:
        trial = self._study.ask()
        trial.set_user_attr("candidate", candidate["name"])
        warmup = candidate.get("warmup")
        if warmup is not None:
            trial.set_user_attr("warmup", warmup)
        schedule = Schedule.from_pairs(candidate["stages"], any_order=True)
        work = self._dispatchable(trial, schedule, candidate["learning_rate"])
        return replace(work, warmup=warmup)

    def _sample(self) -> Work:
        from search.space import suggest

        assert self._experiment.space is not None
        trial = self._study.ask()
        point = suggest(trial, self._experiment.space)
        schedule = point.family.schedule(self._experiment.trainer.iterations)
        return self._dispatchable(trial, schedule, point.learning_rate)

    def _dispatchable(
        self, trial: optuna.Trial, schedule: Schedule, learning_rate: float | None
    ) -> Work:
        rate = self._experiment.trainer.learning_rate if learning_rate is None else learning_rate
        trial.set_user_attr("learning_rate", rate)
        # Last: a RUNNING trial with stages is one that a later driver can take up.
        trial.set_user_attr("stages", schedule.pairs)
        self._scores[trial.number] = {}
        return Work(trial.number, schedule, rate)

    def record(self, number: int, key: str, outcome: Mapping[str, Any]) -> None:
        """Write down a finished replicate."""
        self._set(number, REPLICATE + key, dict(outcome))
        work = self._running[number]
        self._running[number] = replace(work, done=(*work.done, key))
        self._scores[number][key] = self._objective.score(outcome)

    def race(self, number: int) -> bool:
        """Whether the front has beaten a trial under way; it is then marked, to be finished.

        Candidates are never raced: they are there to be compared with.
        """
        racing = self._experiment.racing
        if not racing.enabled or "candidate" in self._trial(number).user_attrs:
            return False
        raced = race(
            self._scores[number],
            self._complete,
            self._keys,
            racing.confidence,
            racing.min_replicates,
        )
        if raced is None:
            return False
        self._set(number, RACED, {**asdict(raced), "estimate": list(raced.estimate)})
        return True

    def out_of_memory(self, number: int, reason: str) -> None:
        """Run the trial again with a GPU or a machine for itself; the second time, it failed."""
        work = self._running[number]
        if work.alone:
            self.finish(number, f"{reason}, alone on its device")
            return
        self._set(number, ALONE, reason)
        self._put_back(replace(self._running.pop(number), alone=True))

    def refuse_to_burn(self) -> None:
        """WorkError if too many of the last trials failed: something is wrong with all of them."""
        failures = [reason for reason in self._endings if reason is not None]
        share = self._experiment.search.max_failed_share
        if len(self._endings) < WINDOW or len(failures) <= share * WINDOW:
            return
        reasons = "; ".join(dict.fromkeys(failures[-3:]))
        raise WorkError(
            f"{len(failures)} of the last {WINDOW} trials failed, more than "
            f"search.max_failed_share {share:g}: {reasons}"
        )

    def close(self) -> None:
        """Clear away trials without a schedule, which a storage that was away can leave."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if "stages" not in trial.user_attrs:
                self._interrupt(trial.number)

    def _interrupt(self, number: int) -> None:
        self._set(number, "interrupted", True)
        self._set(number, "failure", "the driver ended before the trial had a schedule")
        self._study.tell(number, state=TrialState.FAIL)

    def finish(self, number: int, failure: str | None) -> None:
        """The trial ended: COMPLETE with the means over its replicates, or FAIL with the reason.

        A raced trial is COMPLETE with its estimate, so that the sampler learns from it.
        """
        if failure is None and RACED in self._trial(number).user_attrs:
            self._tell_raced(number)
            return
        if failure is None and not self._finish_if_all_done(number):
            failure = "the trial ended without all of its replicates"
        if failure is not None:
            self._fail(number, failure)
        self._running.pop(number, None)

    def died(self, number: int, reason: str = "") -> None:
        """The worker died: run the rest again, unless that has happened too often."""
        if self._finish_if_all_done(number):
            return
        work = self._running.pop(number)
        deaths = int(self._trial(number).user_attrs.get("deaths", 0)) + 1
        self._set(number, "death", reason)
        self._set(number, "deaths", deaths)
        if deaths >= MAX_DEATHS:
            self._give_up(number, deaths, reason)
        else:
            self._put_back(work)

    def _give_up(self, number: int, deaths: int, reason: str) -> None:
        last = f", last: {reason}" if reason else ""
        self._fail(number, f"its worker died {deaths} times{last}")
        self._running.pop(number, None)

    def _finish_if_all_done(self, number: int) -> bool:
        scores = self._scores[number]
        if set(self._keys) - set(scores):
            return False
        self._tell(number, mean_score(scores[key] for key in self._keys))
        self._complete.append(scores)
        return True

    def _tell_raced(self, number: int) -> None:
        self._tell(number, Score(*self._trial(number).user_attrs[RACED]["estimate"]))

    def _tell(self, number: int, score: Score) -> None:
        outcomes = replicates(self._trial(number))
        self._set(number, "wall_s", sum(outcome["wall_s"] for outcome in outcomes.values()))
        self._study.tell(number, list(score))
        self._endings.append(None)
        self._running.pop(number, None)
        self._scores.pop(number, None)

    def _score_all(self, trial: FrozenTrial) -> dict[str, Score]:
        return {key: self._objective.score(outcome) for key, outcome in replicates(trial).items()}

    def _fail(self, number: int, reason: str) -> None:
        self._scores.pop(number, None)
        self._set(number, "failure", reason)
        self._study.tell(number, state=TrialState.FAIL)
        self._endings.append(reason)

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _set(self, number: int, key: str, value: Any) -> None:
        study = self._study
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        study._storage.set_trial_user_attr(trial_id, key, value)
