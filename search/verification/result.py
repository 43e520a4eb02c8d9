"""Result of a verification: verdicts, and everything beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from dipstage.schedules.stopping import Output
from search.analysis.common_target import BELOW_DB
from search.analysis.front import pick_of
from search.experiment.candidate import Candidate, Role
from search.store.records import Trial
from search.store.run import RunRecord
from search.verification.declared import Claim, Plan, load_plan
from search.verification.parts import HELD_OUT, TUNING, is_finished, part
from search.verification.plan import staged_front
from search.verification.power import Spread
from search.verification.references import chosen_references
from search.verification.rules import SIGNIFICANCE, ClaimRule, Rule, SignedRankRule, hardest
from search.verification.verdicts import (
    Arrival,
    Comparison,
    Entry,
    Verdict,
    Word,
    against_all,
    arrival,
    at_budgets,
    best_word,
    compare,
    entry_of,
    worst,
)

BUDGET_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Verification:
    """The finished verification of a run."""

    run: RunRecord
    plan: Plan
    tuned: RunRecord
    held_out: RunRecord

    @classmethod
    def open(cls, run: RunRecord) -> Verification | None:
        """Return the verification of a run; None if there is none or it has not ended."""
        plan = load_plan(run)
        if plan is None or not is_finished(run):
            return None
        tuned, held_out = part(run, TUNING), part(run, HELD_OUT)
        assert tuned is not None
        assert held_out is not None
        return cls(run, plan, tuned, held_out)

    @cached_property
    def plain(self) -> Trial | None:
        """Plain DIP as it was tuned for the highest PSNR; None if it finished no replicate."""
        tuned = next(t for t in self.held_out.records() if self.role(t) == "plain")
        return tuned if tuned.replicates else None

    @cached_property
    def plains(self) -> list[Trial]:
        """Plain DIP as it was tuned, then with the other recipes that were verified beside it."""
        if self.plain is None:
            return []
        others = [each for each in self._planned_plains if each.replicates]
        return [self.plain, *(each for each in others if each.name != self.plain.name)]

    @property
    def _planned_plains(self) -> list[Trial]:
        """The held-out plain DIPs, also those that finished no replicate."""
        trials = [each for each in self.held_out.records() if each.is_plain]
        return [t for role in ("plain", "candidate") for t in trials if self.role(t) == role]

    def references(self, name: str) -> frozenset[str]:
        """Return the names of the plain DIPs that a verdict on a schedule must hold against."""
        number = self._about[name].trial
        plains = [c for c in self._about.values() if c.role == "plain"]
        if self.plan.declared is None:
            return frozenset(trial.name for trial in self._planned_plains)
        return frozenset(c.name for c in plains if c.trial in (None, number))

    def claim(self, name: str) -> Claim | None:
        """Return what is claimed of a held-out schedule; None without a declared claim."""
        declared, about = self.plan.declared, self._about[name]
        claims = declared.claims if declared and about.role == "found" else []
        return next((claim for claim in claims if claim.trial == about.trial), None)

    @cached_property
    def _about(self) -> dict[str, Candidate]:
        return {candidate.name: candidate for candidate in self.held_out.attributes.candidates}

    def role(self, trial: Trial) -> Role:
        """Return the role of a held-out schedule."""
        return self._about[trial.name].role

    def source(self, trial: Trial) -> int | None:
        """The search's trial that a held-out schedule comes from."""
        return self._about[trial.name].trial

    def of_role(self, role: Role) -> list[Trial]:
        """The held-out schedules that are there for this and finished a replicate."""
        return [t for t in self.held_out.records() if self.role(t) == role and t.replicates]

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {trial.name: entry_of(self.held_out, trial) for trial in self.held_out.records()}

    @cached_property
    def rule(self) -> Rule:
        """The rule by which verdicts are reached."""
        declared = self.plan.declared
        if declared is None:
            return SignedRankRule()
        claims = {name: claim for name in self._about if (claim := self.claim(name)) is not None}
        return ClaimRule(
            {name: claim.endpoint for name, claim in claims.items()},
            {name: self.references(name) for name in claims},
            declared.output,
            declared.family,
            declared.alpha,
        )

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every schedule against every plain DIP, what was found against each candidate, and
        controls against what was found. The schedules of one role against one reference are a
        family.
        """
        groups: list[list[Comparison]] = []
        plains = [trial.name for trial in self.plains]
        for reference in plains:
            for role in ("found", "candidate", "control"):
                entries = [
                    e for e in self._of(role)
                    if e.name not in plains
                    and (self.plan.declared is None or reference in self.references(e.name))
                ]  # fmt: skip
                groups.append(self._compare(entries, reference))
            if reference != plains[0]:
                groups.append(self._compare([self._entries[reference]], plains[0]))
        for candidate in self._of("candidate") if plains else []:
            entries = [
                each for each in self._of("found")
                if candidate.name not in self.references(each.name)
            ]  # fmt: skip
            groups.append(self._compare(entries, candidate.name))
        if self.plan.declared is not None:
            for found in self._of("found"):
                groups.append(self._compare(self._controls(found.name), found.name))
        return self.rule.judge(groups)

    def _compare(self, entries: list[Entry], reference: str) -> list[Comparison]:
        replicates = len(self.plan.images) * len(self.plan.seeds)
        timed = self.rule.reads_curves
        return compare(
            entries, self._entries[reference], self.run.objective, replicates, with_times=timed
        )

    def _of(self, role: Role) -> list[Entry]:
        return [self._entries[trial.name] for trial in self.of_role(role)]

    def _controls(self, name: str) -> list[Entry]:
        """Return a found schedule without its staging: its controls, and its references."""
        number, references = self._about[name].trial, self.references(name)
        return [
            self._entries[trial.name]
            for trial in self.held_out.records()
            if trial.replicates
            and (trial.name in references
                 or (self.role(trial) == "control" and self._about[trial.name].trial == number))
        ]  # fmt: skip

    def unbroken(self, name: str) -> list[str] | None:
        """Return the controls and references that are not worse than a found schedule.

        The gain of the schedule is not attributed to what they lack (see `lacking`).

        Returns:
            Names; None if the schedule has no controls.
        """
        number = self._about[name].trial
        if not any(self._about[t.name].trial == number for t in self.of_role("control")):
            return None
        return [
            c.schedule
            for c in self.comparisons
            if c.reference == name and c.output == self.output and c.verdict.word is Word.NOT_WORSE
        ]

    def spread(self, name: str) -> Spread | None:
        """Return how far the gain in what is claimed differs from picture to picture, against the
        reference where it differs most; None without two pictures.
        """
        claim = self.claim(name)
        assert claim is not None
        spreads = [
            float(difference.means.std(ddof=1))
            for c in self.against_references(name)
            if (difference := c.psnr_db if claim.endpoint == "psnr" else c.log_ratio) is not None
            and difference.pictures > 1
        ]
        return Spread(max(spreads), 0.0) if spreads else None

    def against_plain(self, name: str, output: Output | None = None) -> Comparison | None:
        """Return one schedule against tuned plain DIP, by default in the optimised output."""
        wanted = (name, self.plain and self.plain.name, output or self.output)
        for each in self.comparisons:
            if (each.schedule, each.reference, each.output) == wanted:
                return each
        return None

    def against_references(self, name: str, output: Output | None = None) -> list[Comparison]:
        """Return a schedule against each of its references, by default in the optimised output;
        none if one of them is missing.
        """
        wanted = output or self.output
        compared = (c for c in self.comparisons if c.schedule == name and c.output == wanted)
        return against_all(compared, self.references(name))

    def hardest(self, name: str) -> Comparison | None:
        """Return the comparison that leaves the least of a claimed gain; without a claim, that with
        tuned plain DIP. None if a reference is missing.
        """
        claim = self.claim(name)
        if claim is None:
            return self.against_plain(name)
        return hardest(self.against_references(name), claim.endpoint)

    def verdict_of(self, name: str, output: Output | None = None) -> Verdict | None:
        """Return what holds of a held-out schedule against all its references; None for plain
        DIP and, where claims are declared, for what is not claimed.
        """
        if name in [trial.name for trial in self.plains]:
            return None
        if self.plan.declared is not None and self.claim(name) is None:
            return None
        compared = self.against_references(name, output)
        return worst(each.verdict for each in compared)

    def verdict(self, number: int) -> Verdict | None:
        """Return the verdict on a trial of the search; None if there is none."""
        held = self.measured(number)
        return self.verdict_of(held.name) if held else None

    def measured(self, number: int) -> Trial | None:
        """Return a trial of the search as it did on the held-out pictures."""
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
        """Gains of the same schedules over the same plain DIP in the search, by name."""
        tuned = self._tuned
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
    def _tuned(self) -> Trial:
        """Plain DIP as it was tuned, on the search's own replicates."""
        trials = [trial for trial in self.tuned.records() if trial.values is not None]
        if self.plan.declared is not None:
            return chosen_references(trials)[0]
        # Version 0.1: of the rates near the highest PSNR_GT, the one with the fewest steps.
        best = max(trial.score.max_psnr_gt_db for trial in trials)
        near = [trial for trial in trials if trial.score.max_psnr_gt_db >= best - 0.05]
        return min(near, key=lambda t: (t.score.steps_to_max, -t.score.max_psnr_gt_db))

    @property
    def budgets(self) -> list[int]:
        """Iterations at which PSNR_GT is read: shares of the search's budget."""
        whole = self.run.experiment.trainer.iterations
        return sorted({max(1, round(share * whole)) for share in BUDGET_SHARES})

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
        """Return when a held-out schedule reached tuned plain DIP's own maximum, less `below_db`.

        It is reported and not judged: under equality, the reference always arrives first.
        """
        if self.plain is None or name == self.plain.name:
            return None
        return arrival(
            self._entries[name], self._entries[self.plain.name], output, self.below_db or None
        )

    @property
    def below_db(self) -> float:
        """Distance below a maximum at which it counts as reached."""
        return BELOW_DB if self.rule.reads_curves else 0.0

    def held_out_gain_db(self, name: str) -> float | None:
        """Gain over plain DIP, each within the budget that its score in the search had.

        Version 0.1 tuned plain DIP with the budget of the held-out trainings, not the search's.
        """
        if self.plain is None:
            return None
        entry, plain, output = self._entries[name], self._entries[self.plain.name], self.output
        keys = [key for key in plain.replicates if key in entry.replicates]
        if not keys:
            return None
        tuned = self._tuned.schedule
        assert tuned is not None
        [ours] = at_budgets(entry, output, self.budgets[-1:], keys)
        [theirs] = at_budgets(plain, output, [tuned.iterations], keys)
        return ours - theirs

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
        """Members of today's front that were not on it when the verification began."""
        found = [trial for trial in staged_front(self.run) if trial.candidate is None]
        if self.plan.declared is not None:
            return ", ".join(t.name for t in found if t.number not in self.plan.declared.front)
        # Version 0.1 kept no front: its ends are compared with what was verified.
        if not found or self.plan.top == 1:
            return ""
        best = [pick_of([trial.score for trial in found], which) for which in ("psnr", "steps")]
        return ", ".join(
            sorted({found[i].name for i in best if found[i].number not in self.plan.trials})
        )

    @property
    def too_few(self) -> str:
        """Reason why so few pictures or replicates show nothing to be better, in words, or ""."""
        pictures = len(self.plan.images)
        if self.plan.declared is not None:
            return (pictures == 1) * (
                "a single picture allows no interval, so no schedule can be better: verify anew on "
                "at least two (--restart --images)"
            )
        n, family = pictures * len(self.plan.seeds), 2 * len(self.of_role("found"))
        least = min(1.0, float(2.0 ** (1 - n)) * max(family, 1))
        return (least >= SIGNIFICANCE) * (
            f"{n} replicates allow no p below {least:.2g} after Holm's correction, so no schedule "
            "can be better: verify anew (--restart) with more --seeds or --images"
        )

    @property
    def method(self) -> str:
        """Instructions for reading the numbers, in one line."""
        plan = self.plan
        seen = f"; SEEN BY THE SEARCH: {'; '.join(plan.seen)}" if plan.seen else ""
        plains = "; ".join(trial.name for trial in self.plains)
        trained, tuned = (devices(made.records()) for made in (self.held_out, self.tuned))
        where = " AND ".join(trained)
        if trained != tuned:
            where += f", PLAIN DIP WAS TUNED ON {' AND '.join(tuned)}"
        return (
            f"pictures{'' if seen else ' held out'}: {len(plan.images)}, seeds for each: "
            f"{len(plan.seeds)}, iterations "
            f"for all: {plan.baseline_iterations}; {self.rule.method}; references: {plains}; "
            f"trained on {where}{seen}"
        )


def devices(trials: Iterable[Trial]) -> list[str]:
    """Return the devices that trained replicates, each with its number format."""
    found = {
        f"{each.device} in {each.precision}" if each.precision else each.device
        for trial in trials
        for each in trial.replicates.values()
    }
    return sorted(found)
