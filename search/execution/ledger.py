"""The ledger that a driver keeps in the study: what to run next, and what came back."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from dipstage.schedules.schedule import Schedule
from search.analysis.racing import race
from search.execution.budget import Budget, ended_scores
from search.execution.endings import RecentEndings
from search.execution.sampler import SAMPLERS, SearchedTrials, learned_trials
from search.execution.work import OpenTrial, Row, Work, mean_row, predicted, trained_by
from search.experiment.objectives import Score
from search.store.attributes import (
    StudyAttributes,
    TrialAttributes,
    is_candidate,
    is_interrupted,
    replicate_attribute,
    replicates,
    write_to_trial,
)
from search.store.optuna_internals import id_of_study, id_of_trial, set_constraints
from search.store.records import Trial
from search.store.replicate import Replicate
from search.store.study import storage_of

if TYPE_CHECKING:
    from search.experiment.candidate import Candidate
    from search.experiment.model import Experiment

MAX_DEATHS = 3


class Ledger:
    """Hands out trials and writes down what comes back. One driver has one ledger."""

    ended: str | None = None
    """Reason for which the search ends before its last trial; None if it does not."""

    def __init__(
        self,
        study: Study,
        experiment: Experiment,
        keys: list[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keys` name the replicates that make a trial complete."""
        self._study, self._experiment, self._keys = study, experiment, keys
        attributes = StudyAttributes.of(study)
        self.budget = Budget(attributes, experiment, clock)
        self._objective, self._storage = attributes.objective, storage_of(study)
        trials = study.get_trials(deepcopy=False)
        seed = experiment.search.seed + len(trials)
        sampler = SAMPLERS[experiment.search.sampler](seed, attributes.trials)
        plain = (each.name for each in attributes.candidates if each.schedule.is_plain)
        self._plain_name = next(plain, None)
        # Of plain DIP, and of the sampled trials in the order of their ends: see `Budget.spent`.
        self._plain, self._sampled = ended_scores(trials, self._plain_name)
        learned = learned_trials(attributes.learned, experiment)
        self._searched = SearchedTrials(
            sampler, study, trials, learned, self._plain,
            objectives=1 if self._objective.single else 2,
        )  # fmt: skip
        self._queue: deque[Work] = deque()
        # Handed out last, when machines fall free: waiting for a whole one holds up nobody.
        self._alone: deque[Work] = deque()
        self._running: dict[int, Work] = {}
        self._open: dict[int, OpenTrial] = {}
        # Numbers of all trials by what they train, and trials that wait for one of their schedule.
        self._alike: defaultdict[Hashable, list[int]] = defaultdict(list)
        self._waiting: defaultdict[int, list[Work]] = defaultdict(list)
        # Rows by replicate of complete trials, for others to race against: one of each schedule.
        self._complete: dict[int, dict[str, Row]] = {}
        for trial in trials:
            each = TrialAttributes.of(trial)
            if trial.state is TrialState.COMPLETE and each.raced is None:
                first = trial.number if each.same_as is None else each.same_as
                self._race_against(first, self._rows_of(trial))
        self._endings = RecentEndings()
        self._adopt()
        trials = [t for t in study.get_trials(deepcopy=False) if not is_interrupted(t)]
        named = {TrialAttributes.of(trial).candidate for trial in trials}
        self._candidates = deque(c for c in attributes.candidates if c.name not in named)
        sampled = sum(not is_candidate(trial) for trial in trials)
        self._to_sample = max(0, attributes.trials - sampled)
        self._end_if_spent()

    def _adopt(self) -> None:
        """Take up what a dead driver left RUNNING."""
        for trial in self._study.get_trials(deepcopy=False):
            attributes = TrialAttributes.of(trial)
            if attributes.schedule is not None:
                self._alike[self._identity(attributes.schedule)].append(trial.number)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            attributes = TrialAttributes.of(trial)
            taken = self._open[trial.number] = self._taken_up(trial, attributes)
            if attributes.stages is None:
                reason = "the driver ended before the trial had a schedule"
                last = TrialAttributes(interrupted=True, failure=reason)
                self._end(trial.number, TrialState.FAIL, last)
                continue
            work = Work.of(trial)
            self._running[trial.number] = work
            if taken.estimate is not None:
                self._tell(trial.number, taken.estimate)
                continue
            if taken.deaths >= MAX_DEATHS:
                self._give_up(trial.number, MAX_DEATHS, attributes.death or "")
                continue
            self._share(self._running.pop(trial.number))

    def _taken_up(self, trial: FrozenTrial, attributes: TrialAttributes) -> OpenTrial:
        others = attributes.taken or {}
        return OpenTrial(
            id_of_trial(trial),
            attributes.candidate is not None,
            attributes.candidate is not None and attributes.candidate == self._plain_name,
            attributes.same_as,
            self._rows_of(trial),
            {k: r.wall_s for k, r in replicates(trial).items() if k not in others},
            predicted(attributes.raced) if attributes.raced else None,
            attributes.deaths or 0,
        )

    @property
    def finished(self) -> bool:
        """True if nothing is left to do and nothing is under way."""
        left = self._queue or self._candidates or self._to_sample or self._alone
        return not (left or self._waiting or self._running)

    @property
    def trainings_left(self) -> int:
        """Number of replicates to train, if no trial is raced or fails."""
        begun = [*self._queue, *self._alone, *self._running.values()]
        trials = len(begun) + len(self._candidates) + self._to_sample
        return trials * len(self._keys) - sum(len(work.done) for work in begun)

    def next(self) -> Work | None:
        """A trial to run: one taken up again, a candidate, or a sampled one; None to wait."""
        while not self._queue and (self._candidates or self._to_sample):
            self._end_if_spent()
            if self._candidates:
                work = self._new_candidate(self._candidates.popleft())
            elif self._to_sample:
                work = self._sample()
                self._to_sample -= 1
            else:
                break
            self._share(work)
        if not (self._queue or self._alone):
            return None
        work = (self._queue or self._alone).popleft()
        self._running[work.number] = work
        return work

    def _identity(self, schedule: Schedule) -> Hashable:
        return trained_by(schedule, self._experiment.trainer)

    def _share(self, work: Work) -> None:
        """Give a trial what earlier ones of its schedule trained, and queue what is left to train.

        It waits for those that have not ended, so that nothing is trained twice at a time.
        """
        number, taken = work.number, self._open[work.number]
        alike = self._alike[self._identity(work.schedule)]
        earlier = [other for other in alike if other < number]
        if under_way := [other for other in earlier if other in self._open]:
            self._waiting[under_way[0]].append(work)
            return
        if earlier:
            taken.same_as = earlier[0]
            work = self._take_over(work, earlier)
        if self._finish_if_all_done(number):
            return
        if work.done and self.race(number):
            self.finish(number, None)
            return
        self._put_back(work)

    def _take_over(self, work: Work, earlier: list[int]) -> Work:
        """Write the replicates of earlier trials to one of their schedule, and say so in it."""
        number, taken = work.number, self._open[work.number]
        trials = self._study.get_trials(deepcopy=False)
        found = {
            key: (trial.trained_by(key), replicate)
            for trial in (Trial.of(trials[other], self._objective) for other in earlier)
            for key, replicate in trial.replicates.items()
            if key in self._keys and key not in work.done
        }
        # First whose they are: a driver may die before they are all written.
        sources = {key: source for key, (source, _) in found.items()}
        known = TrialAttributes.of(trials[number]).taken or {}
        marks = TrialAttributes(same_as=earlier[0], taken={**known, **sources})
        self._set(number, marks.to_plain())
        for key, (_, replicate) in found.items():
            self._set(number, replicate_attribute(key, replicate))
            taken.rows[key] = self._row(replicate)
        return replace(work, done=(*work.done, *found))

    def _end_if_spent(self) -> None:
        """Begin no further trial once the budget is spent."""
        if not (self._candidates or self._to_sample):
            return
        self.ended = self.budget.spent(self._sampled, self._plain)
        if self.ended is not None:
            self._candidates.clear()
            self._to_sample = 0

    def _put_back(self, work: Work) -> None:
        (self._alone if work.alone else self._queue).append(work)

    def _new_candidate(self, candidate: Candidate) -> Work:
        return self._dispatchable(candidate.schedule, TrialAttributes(candidate=candidate.name))

    def _sample(self) -> Work:
        from search.experiment.space import suggest

        experiment = self._experiment
        assert experiment.space is not None
        trial = self._searched.ask()
        point = suggest(trial, experiment.space, experiment.task.noise_255)
        schedule = point.family.schedule(experiment.trainer.iterations, point.recipe)
        sampled = self._searched.content(trial)
        work = self._dispatchable(schedule, TrialAttributes(), sampled)
        self._searched.enter(trial, work.number)
        return work

    def _dispatchable(
        self, schedule: Schedule, attributes: TrialAttributes, sampled: FrozenTrial | None = None
    ) -> Work:
        """Write a new trial down, at once with all that a later driver needs to take it up."""
        if schedule.recipe.learning_rate is None:
            rate = self._experiment.trainer.learning_rate
            schedule = replace(schedule, recipe=replace(schedule.recipe, learning_rate=rate))
        alike = self._alike[self._identity(schedule)]
        attributes = replace(
            TrialAttributes.of_schedule(schedule),
            candidate=attributes.candidate,
            same_as=alike[0] if alike else None,
        )
        template = create_trial(
            state=TrialState.RUNNING,
            params=sampled.params if sampled else {},
            distributions=sampled.distributions if sampled else {},
            system_attrs=sampled.system_attrs if sampled else {},
            user_attrs=attributes.to_plain(),
        )
        created = self._storage.add_trial(id_of_study(self._study), template)
        self._open[created.number] = self._taken_up(created, attributes)
        alike.append(created.number)
        return Work(created.number, schedule)

    def record(self, number: int, key: str, replicate: Replicate) -> None:
        """Write down a finished replicate."""
        self._set(number, replicate_attribute(key, replicate))
        work = self._running[number]
        self._running[number] = replace(work, done=(*work.done, key))
        taken = self._open[number]
        taken.rows[key] = self._row(replicate)
        taken.wall_s[key] = replicate.wall_s

    def race(self, number: int) -> bool:
        """Return whether racing stops a running trial, which is then to be finished.

        Candidates are never raced: they are there to be compared with.
        """
        racing, taken = self._experiment.racing, self._open[number]
        if not racing.enabled or taken.is_candidate:
            return False
        raced = race(
            taken.rows,
            [*self._complete.values()],
            self._keys,
            racing.confidence,
            racing.min_replicates,
            single=self._objective.single,
        )
        if raced is None:
            return False
        self._set(number, TrialAttributes(raced=raced).to_plain())
        taken.estimate = predicted(raced)
        return True

    def _race_against(self, first: int, rows: dict[str, Row]) -> None:
        """Let others race against the trial `first`; values that are not finite predict nothing."""
        if all(math.isfinite(value) for row in rows.values() for value in row):
            self._complete.setdefault(first, rows)

    def out_of_memory(self, number: int, reason: str) -> None:
        """Run the trial again with a GPU or a machine for itself; the second time, it failed."""
        work = self._running[number]
        if work.alone:
            self.finish(number, f"{reason}, alone on its device")
            return
        self._set(number, TrialAttributes(alone=reason).to_plain())
        self._put_back(replace(self._running.pop(number), alone=True))

    def check_failure_rate(self) -> None:
        """Raise WorkError if too many of the last trials failed."""
        self._endings.check(self._experiment.search.max_failed_share)

    def finish(self, number: int, failure: str | None) -> None:
        """The trial ended: COMPLETE with the means over its replicates, or FAIL with the reason.

        A raced trial is COMPLETE with its estimate, so that the sampler learns from it.
        """
        estimate = self._open[number].estimate
        if failure is None and estimate is not None:
            self._tell(number, estimate)
            return
        if failure is None and not self._finish_if_all_done(number):
            failure = "the trial ended without all of its replicates"
        if failure is not None:
            self._fail(number, failure)

    def died(self, number: int, reason: str = "") -> None:
        """The worker died: run the rest again, unless that has happened too often."""
        if self._finish_if_all_done(number):
            return
        work, taken = self._running.pop(number), self._open[number]
        taken.deaths += 1
        self._set(number, TrialAttributes(death=reason, deaths=taken.deaths).to_plain())
        if taken.deaths >= MAX_DEATHS:
            self._give_up(number, taken.deaths, reason)
        else:
            self._put_back(work)

    def _give_up(self, number: int, deaths: int, reason: str) -> None:
        last = f", last: {reason}" if reason else ""
        self._fail(number, f"its worker died {deaths} times{last}")

    def _finish_if_all_done(self, number: int) -> bool:
        taken = self._open[number]
        if set(self._keys) - set(taken.rows):
            return False
        first = number if taken.same_as is None else taken.same_as
        self._race_against(first, taken.rows)
        self._tell(number, mean_row(taken.rows[key] for key in self._keys))
        return True

    def _tell(self, number: int, row: Row) -> None:
        if any(math.isnan(value) for value in row):
            self._fail(number, "an objective is not a number")
            return
        violations = dict(zip(self._objective.limits, row[2:], strict=True))
        set_constraints(self._study, number, violations)
        last = TrialAttributes(wall_s=sum(self._open[number].wall_s.values()))
        self._end(number, TrialState.COMPLETE, last, Score(*row[:2]), violations)
        self._endings.add(None)

    def _fail(self, number: int, reason: str) -> None:
        self._end(number, TrialState.FAIL, TrialAttributes(failure=reason))
        self._endings.add(reason)

    def _end(
        self,
        number: int,
        state: TrialState,
        last: TrialAttributes,
        values: Score | None = None,
        violations: Mapping[str, float] | None = None,
    ) -> None:
        taken = self._open[number]
        self._storage.end_trial(taken.trial_id, state, values, last.to_plain())
        self._searched.tell(number, state, values, violations)
        if not taken.is_candidate:
            is_gain = taken.estimate is None and not any(v > 0 for v in (violations or {}).values())
            self._sampled.append(values if is_gain else None)
        elif taken.is_plain and values is not None and values.finite:
            self._plain = values
            self._searched.plain_ended(values)
        self._running.pop(number, None)
        del self._open[number]
        for work in self._waiting.pop(number, ()):
            self._share(work)

    def _rows_of(self, trial: FrozenTrial) -> dict[str, Row]:
        return {key: self._row(each) for key, each in replicates(trial).items()}

    def _row(self, replicate: Replicate) -> Row:
        objective = self._objective
        return (*replicate.score(objective), *replicate.violations(objective).values())

    def _set(self, number: int, attributes: Mapping[str, Any]) -> None:
        write_to_trial(self._storage, self._open[number].trial_id, attributes)
