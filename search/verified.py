"""What a verification found: verdicts, and everything beside them, from the two comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipstage.errors import InputError
from dipstage.stopping import Output
from search.prepare import Role
from search.run import Run, Trial
from search.verdicts import (
    METHOD,
    Comparison,
    Entry,
    Verdict,
    Word,
    at_budgets,
    best_word,
    compare,
)
from search.verification import (
    HELD_OUT,
    TUNING,
    Plan,
    is_finished,
    load_plan,
    part,
    tuned_trial,
)

BUDGET_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Verification:
    """The finished verification of a run.

    Comparisons are made as soon as they are asked for; they read the held-out curves.
    """

    run: Run
    plan: Plan
    tuned: Run
    held_out: Run

    @classmethod
    def open(cls, run: Run, storage: str | None = None) -> Verification | None:
        """None where there is none, or where it has not ended yet."""
        plan = load_plan(run)
        if plan is None or not is_finished(run, storage):
            return None
        tuned, held_out = part(run, TUNING, storage), part(run, HELD_OUT, storage)
        assert tuned is not None
        assert held_out is not None
        return cls(run, plan, tuned, held_out)

    @cached_property
    def plain(self) -> Trial:
        """Plain DIP at its tuned learning rate; InputError if it failed on every picture."""
        trials = self.of_role("plain")
        if not trials:
            raise InputError(f"plain DIP failed in {self.held_out.folder}: nothing to compare with")
        return trials[0]

    @cached_property
    def _about(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.held_out.study.user_attrs["candidates"]}

    def role(self, trial: Trial) -> Role:
        """What a held-out schedule is there for."""
        role: Role = self._about[trial.name]["role"]
        return role

    def source(self, trial: Trial) -> int | None:
        """The search's trial that a held-out schedule comes from."""
        number: int | None = self._about[trial.name]["trial"]
        return number

    def of_role(self, role: Role) -> list[Trial]:
        """The held-out schedules that are there for this and finished a replicate."""
        return [t for t in self.held_out.records() if self.role(t) == role and t.outcomes]

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

        return Entry(trial.name, trial.outcomes, curves)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every schedule against plain DIP, and what was found against each candidate.

        The schedules of one role against one reference, in one output, are one family.
        """
        found: list[Comparison] = []
        plain = self._entries[self.plain.name]
        for role in ("found", "candidate", "control"):
            found += compare(self._of(role), plain, self.run.objective)
        for candidate in self._of("candidate"):
            found += compare(self._of("found"), candidate, self.run.objective)
        return found

    def _of(self, role: Role) -> list[Entry]:
        return [self._entries[trial.name] for trial in self.of_role(role)]

    def against_plain(self, name: str, output: Output | None = None) -> Comparison | None:
        """One schedule against plain DIP, by default in the output that was optimised."""
        wanted = (name, self.plain.name, output or self.run.objective.output)
        for each in self.comparisons:
            if (each.schedule, each.reference, each.output) == wanted:
                return each
        return None

    def verdict(self, number: int) -> Verdict | None:
        """Of a trial of the search against plain DIP; None for one that was not verified."""
        for trial in self.held_out.records():
            if self.source(trial) == number and self.role(trial) in ("found", "candidate"):
                comparison = self.against_plain(trial.name)
                return comparison.verdict if comparison else None
        return None

    def measured(self, number: int) -> Trial | None:
        """A trial of the search as it did on the held-out pictures."""
        for trial in self.held_out.records():
            if self.source(trial) == number and self.role(trial) in ("found", "candidate"):
                return trial
        return None

    @property
    def verdict_of_search(self) -> Word:
        """The best that was shown of any schedule that was found."""
        compared = (self.against_plain(trial.name) for trial in self.of_role("found"))
        return best_word(comparison.verdict for comparison in compared if comparison)

    @cached_property
    def search_gains(self) -> dict[str, Comparison]:
        """What the search saw of the same schedules against the same plain DIP, by name."""
        tuned = tuned_trial(self.tuned)
        originals = {trial.number: trial for trial in self.run.records()}
        entries = [
            Entry(trial.name, originals[number].outcomes)
            for trial in self.of_role("found") + self.of_role("candidate")
            if (number := self.source(trial)) in originals
        ]
        compared = compare(entries, Entry(tuned.name, tuned.outcomes), self.run.objective)
        output = self.run.objective.output
        return {each.schedule: each for each in compared if each.output == output}

    @property
    def budgets(self) -> list[int]:
        """Iterations at which PSNR_GT is read: shares of the search's budget."""
        whole = self.run.experiment.trainer.iterations
        return [round(share * whole) for share in BUDGET_SHARES]

    def at_budgets(self, trial: Trial, output: Output) -> list[float]:
        """PSNR_GT that a held-out schedule attained by each budget, mean over replicates."""
        return at_budgets(self._entries[trial.name], output, self.budgets) or []

    @property
    def method(self) -> str:
        """How to read the numbers, in one line."""
        plan = self.plan
        seen = f"; SEEN BY THE SEARCH: {'; '.join(plan.seen)}" if plan.seen else ""
        return (
            f"pictures held out: {len(plan.images)}, seeds for each: {len(plan.seeds)}; against "
            f"{self.plain.name}, {plan.baseline_iterations} iterations; {METHOD}{seen}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """verification.csv: one row for each comparison."""
        trials = {trial.name: trial for trial in self.held_out.records()}
        return [self._row(comparison, trials) for comparison in self.comparisons]

    def _row(self, each: Comparison, trials: dict[str, Trial]) -> dict[str, Any]:
        trial, reference = trials[each.schedule], trials[each.reference]
        against_plain = each.reference == self.plain.name
        search = self.search_gains.get(each.schedule) if against_plain else None
        if each.output != self.run.objective.output:
            search = None
        cells: dict[str, Any] = {
            "schedule": each.schedule,
            "role": self.role(trial),
            "trial": self.source(trial),
            "reference": each.reference,
            "output": each.output,
            "pictures": each.psnr_db.pictures,
            "replicates": each.psnr_db.n,
            "verdict": each.verdict.word.value,
            "verdict_psnr": each.verdict.psnr.value,
            "verdict_steps": each.verdict.steps.value,
        }
        for name, difference, p_holm in (
            ("max_psnr_gt_db", each.psnr_db, each.p_holm_psnr),
            (self.run.objective.steps_key, each.steps, each.p_holm_steps),
        ):
            cells |= {
                f"{name}_difference": difference.mean,
                f"{name}_low": difference.low,
                f"{name}_high": difference.high,
                f"{name}_p": difference.p,
                f"{name}_p_holm": p_holm,
                f"{name}_probability_above": difference.above,
            }
        cells |= {
            "reference_steps": each.reference_steps,
            "steps_to_reference_max": each.steps_to_reference,
            "replicates_that_reach_it": each.reached,
            "censored": trial.censored(each.output),
            "reference_censored": reference.censored(each.output),
            "search_max_psnr_gt_db_difference": search.psnr_db.mean if search else None,
            "shrinkage_db": search.psnr_db.mean - each.psnr_db.mean if search else None,
        }
        attained = self.at_budgets(trial, each.output)
        cells |= {
            f"psnr_gt_db_by_{budget}": value
            for budget, value in zip(self.budgets, attained, strict=True)
        }
        cells["seen_by_the_search"] = "; ".join(self.plan.seen or [])
        return cells
