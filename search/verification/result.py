"""What a verification found: verdicts, and everything beside them, from the two comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.stopping import Output
from search.analysis.front import pick_of
from search.experiment.candidate import Candidate, Role
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.drive import is_finished, part, tuned_trial
from search.verification.plan import HELD_OUT, TUNING, Plan, load_plan, staged_front
from search.verification.rules import Rule, SignedRankRule
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

BUDGET_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Verification:
    """The finished verification of a run; verdicts need no curves, fixed budgets do."""

    run: RunRecord
    plan: Plan
    tuned: RunRecord
    held_out: RunRecord

    @classmethod
    def open(cls, run: RunRecord) -> Verification | None:
        """None where there is none, or where it has not ended yet."""
        plan = load_plan(run)
        if plan is None or not is_finished(run):
            return None
        tuned, held_out = part(run, TUNING), part(run, HELD_OUT)
        assert tuned is not None
        assert held_out is not None
        return cls(run, plan, tuned, held_out)

    @cached_property
    def plain(self) -> Trial | None:
        """Plain DIP at its tuned learning rate; None if it finished no replicate."""
        tuned = next(t for t in self.held_out.records() if self.role(t) == "plain")
        return tuned if tuned.replicates else None

    @cached_property
    def plains(self) -> list[Trial]:
        """Plain DIP at the tuned learning rate, then at others that were verified beside it.

        The rate was tuned on other pictures, and may not be the best here: a schedule is judged
        against all of them.
        """
        if self.plain is None:
            return []
        others = [t for role in ("plain", "candidate") for t in self.of_role(role)]
        return [
            self.plain,
            *(t for t in others if t.name != self.plain.name and t.is_plain and not t.warmup),
        ]

    @cached_property
    def _about(self) -> dict[str, Candidate]:
        return {candidate.name: candidate for candidate in self.held_out.attributes.candidates}

    def role(self, trial: Trial) -> Role:
        """What a held-out schedule is there for."""
        return self._about[trial.name].role

    def source(self, trial: Trial) -> int | None:
        """The search's trial that a held-out schedule comes from."""
        return self._about[trial.name].trial

    def of_role(self, role: Role) -> list[Trial]:
        """The held-out schedules that are there for this and finished a replicate."""
        return [t for t in self.held_out.records() if self.role(t) == role and t.replicates]

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {trial.name: self._entry(trial) for trial in self.held_out.records()}

    def _entry(self, trial: Trial) -> Entry:
        cache: dict[tuple[str, Output], NDArray[np.floating[Any]]] = {}

        def curves(key: str, output: Output) -> NDArray[np.floating[Any]]:
            if (key, output) not in cache:
                read = self.held_out.curves(trial, key)
                cache[key, "raw"] = read["psnr_gt_raw_db"]
                cache[key, "smoothed"] = read["psnr_gt_smoothed_db"]
            return cache[key, output]

        return Entry(trial.name, trial.replicates, curves)

    @cached_property
    def rule(self) -> Rule:
        """How verdicts are reached."""
        return SignedRankRule()

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every schedule against plain DIP at each learning rate, and what was found against each
        candidate. The schedules of one role against one reference, in one output, are one family.
        """
        compared: list[Comparison] = []
        plains = [trial.name for trial in self.plains]
        for reference in plains:
            for role in ("found", "candidate", "control"):
                entries = [e for e in self._of(role) if e.name not in plains]
                compared += self._compare(entries, reference)
            if reference != plains[0]:
                compared += self._compare([self._entries[reference]], plains[0])
        for candidate in self._of("candidate"):
            if plains and candidate.name not in plains:
                compared += self._compare(self._of("found"), candidate.name)
        return compared

    def _compare(self, entries: list[Entry], reference: str) -> list[Comparison]:
        replicates = len(self.plan.images) * len(self.plan.seeds)
        timed = self.rule.reads_curves
        compared = compare(
            entries, self._entries[reference], self.run.objective, replicates, with_times=timed
        )
        return self.rule.judge(compared)

    def _of(self, role: Role) -> list[Entry]:
        return [self._entries[trial.name] for trial in self.of_role(role)]

    def against_plain(
        self, name: str, output: Output | None = None, reference: Trial | None = None
    ) -> Comparison | None:
        """One schedule against plain DIP, by default tuned and in the output that was optimised."""
        reference = reference or self.plain
        wanted = (name, reference and reference.name, output or self.run.objective.output)
        for each in self.comparisons:
            if (each.schedule, each.reference, each.output) == wanted:
                return each
        return None

    def verdict_of(self, name: str, output: Output | None = None) -> Verdict | None:
        """What holds of a held-out schedule against plain DIP at every rate; None for plain DIP."""
        if name in [trial.name for trial in self.plains]:
            return None
        compared = [self.against_plain(name, output, plain) for plain in self.plains]
        return worst(each.verdict for each in compared if each is not None)

    def verdict(self, number: int) -> Verdict | None:
        """Of a trial of the search; None for plain DIP and for what was not verified."""
        held = self.measured(number)
        return self.verdict_of(held.name) if held else None

    def measured(self, number: int) -> Trial | None:
        """A trial of the search as it did on the held-out pictures."""
        for trial in self.held_out.records():
            if self.source(trial) == number and self.role(trial) in ("found", "candidate"):
                return trial
        return None

    @property
    def verdict_of_search(self) -> Word:
        """The best that was shown of any schedule that was found."""
        verdicts = (self.verdict_of(trial.name) for trial in self.of_role("found"))
        return best_word(verdict for verdict in verdicts if verdict)

    @cached_property
    def search_gains(self) -> dict[str, Comparison]:
        """What the search saw of the same schedules against the same plain DIP, by name."""
        tuned = tuned_trial(self.tuned)
        originals = {trial.number: trial for trial in self.run.records()}
        entries = [
            Entry(trial.name, originals[number].replicates)
            for trial in self.of_role("found") + self.of_role("candidate")
            if (number := self.source(trial)) in originals
        ]
        compared = compare(entries, Entry(tuned.name, tuned.replicates), self.run.objective)
        output = self.run.objective.output
        return {each.schedule: each for each in compared if each.output == output}

    @property
    def budgets(self) -> list[int]:
        """Iterations at which PSNR_GT is read: shares of the search's budget."""
        whole = self.run.experiment.trainer.iterations
        return [round(share * whole) for share in BUDGET_SHARES]

    def at_budgets(self, trial: Trial, output: Output) -> list[float]:
        """PSNR_GT that a held-out schedule attained by each budget, mean over the replicates that
        every schedule finished; empty where there is none.
        """
        finished = [set(t.replicates) for t in self.held_out.records() if t.replicates]
        shared = sorted(set.intersection(*finished))
        if not shared:
            return []
        return at_budgets(self._entries[trial.name], output, self.budgets, shared)

    def arrival(self, name: str, output: Output) -> Arrival | None:
        """When a held-out schedule was as high as tuned plain DIP's own maximum."""
        if self.plain is None or name == self.plain.name:
            return None
        return arrival(self._entries[name], self._entries[self.plain.name], output)

    def held_out_gain_db(self, name: str) -> float | None:
        """Gain over plain DIP within the search's budget, which is what the search measured."""
        if self.plain is None:
            return None
        entry, plain, output = self._entries[name], self._entries[self.plain.name], self.output
        keys = [key for key in plain.replicates if key in entry.replicates]
        if not keys:
            return None
        [ours] = at_budgets(entry, output, self.budgets[-1:], keys)
        return ours - fmean(plain.replicates[key].scores(output).max_psnr_gt_db for key in keys)

    def shrinkage_db(self, name: str) -> float | None:
        """The search's gain over plain DIP less the gain on the held-out pictures."""
        search, held_out = self.search_gains.get(name), self.held_out_gain_db(name)
        return None if search is None or held_out is None else search.psnr_db.mean - held_out

    @property
    def output(self) -> Output:
        """The output that was optimised."""
        return self.run.objective.output

    @property
    def stale(self) -> str:
        """Members of today's front that a new verification would take and this one did not."""
        front = [trial for trial in staged_front(self.run) if trial.candidate is None]
        if not front:
            return ""
        best = [pick_of([trial.score for trial in front], which) for which in ("psnr", "steps")]
        new = {front[i].name for i in best if front[i].number not in self.plan.trials}
        return ", ".join(sorted(new)) if self.plan.top > 1 else ""

    @property
    def best_p(self) -> float:
        """The least p after Holm's correction that the number of replicates allows."""
        n, family = len(self.plan.images) * len(self.plan.seeds), 2 * len(self.of_role("found"))
        return min(1.0, float(2.0 ** (1 - n)) * max(family, 1))

    @property
    def method(self) -> str:
        """How to read the numbers, in one line."""
        plan = self.plan
        seen = f"; SEEN BY THE SEARCH: {'; '.join(plan.seen)}" if plan.seen else ""
        plains = " and ".join(trial.name for trial in self.plains)
        return (
            f"pictures{'' if seen else ' held out'}: {len(plan.images)}, seeds for each: "
            f"{len(plan.seeds)}, iterations "
            f"for all: {plan.baseline_iterations}; verdicts hold against {plains}; "
            f"{self.rule.method}{seen}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """verification.csv: one row for each comparison."""
        trials = {trial.name: trial for trial in self.held_out.records()}
        return [self._row(comparison, trials) for comparison in self.comparisons]

    def _row(self, each: Comparison, trials: dict[str, Trial]) -> dict[str, Any]:
        trial, objective = trials[each.schedule], self.run.objective
        is_first = self.plain is not None and each.reference == self.plain.name
        as_searched = is_first and each.output == objective.output
        search = self.search_gains.get(each.schedule) if as_searched else None
        whole = self.verdict_of(each.schedule, each.output)
        cells: dict[str, Any] = {
            "schedule": each.schedule,
            "role": self.role(trial),
            "trial": self.source(trial),
            "verdict_of_schedule": whole.word.value if whole else None,
            "reference": each.reference,
            "output": each.output,
            "pictures": each.psnr_db.pictures,
            "replicates": each.psnr_db.n,
            "missing": each.missing,
            "verdict": each.verdict.word.value,
            "verdict_psnr": each.verdict.psnr.value,
            self.rule.time_column: each.verdict.time.value,
        }
        for name, difference, p_holm, better in (
            ("max_psnr_gt_db", each.psnr_db, each.p_psnr, each.psnr_db.above),
            (objective.steps_key, each.steps, each.p_time, 1 - each.steps.above),
        ):
            cells |= {
                f"{name}_difference": difference.mean,
                f"{name}_low": difference.low,
                f"{name}_high": difference.high,
                f"{name}_p": difference.signed_rank_p,
                f"{name}_p_holm": p_holm,
                f"{name}_probability_better": better,
            }
        there = self.arrival(each.schedule, each.output) if is_first else None
        cells |= {
            "reference_steps": each.reference_steps,
            "steps_to_reference_max": there.steps if there else None,
            "replicates_that_reach_it": there.reached if there else None,
            "censored": trial.censored(each.output),
            "reference_censored": trials[each.reference].censored(each.output),
            "search_max_psnr_gt_db_difference": search.psnr_db.mean if search else None,
            "shrinkage_db": self.shrinkage_db(each.schedule) if search else None,
        }
        attained = self.at_budgets(trial, each.output)
        cells |= {
            f"psnr_gt_db_by_{budget}": value
            for budget, value in zip(self.budgets, attained, strict=bool(attained))
        }
        cells["iterations"] = self.plan.baseline_iterations
        cells["seen_by_the_search"] = "; ".join(self.plan.seen or [])
        return cells
