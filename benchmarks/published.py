"""A published verification: `Published.open` reaches the verdicts again from its numbers alone.

They follow by the rule that `dipsearch verify` uses. `publishing.py` writes the folder.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import cast

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.schedules.recipe import Recipe
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.stopping import Output
from search.experiment.candidate import Role
from search.presentation.tuning import Tuning, higher_references
from search.verification.declared import Plan
from search.verification.parts import CONFIRMATION, HELD_OUT, TUNING
from search.verification.rules import ClaimRule, Endpoint, hardest
from search.verification.statistics import Difference
from search.verification.verdicts import Comparison, Verdict, Word, against_all, worst

RECORD, REPLICATES, PAIRS = "published.yaml", "replicates.csv.gz", "pairs.csv.gz"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A schedule that was trained on the held-out pictures.

    Args:
        name: Its name.
        role: What it is there for.
        trial: The search's trial that it comes from.
        references: Names of the plain DIPs that a claim about it must hold against.
        stages: alpha_bar and iterations of each stage.
        recipe: The rest of the schedule.
    """

    name: str
    role: Role
    trial: int | None = None
    references: list[str] | None = None
    stages: list[list[float]] | None = None
    recipe: Recipe | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        assert self.stages is not None
        return Schedule.from_pairs(self.stages, self.recipe or Recipe(), any_order=True)


@dataclass(frozen=True, slots=True)
class Record:
    """The setting of a verification: what its scores were measured on and judged by.

    Args:
        run: Name of the run.
        task: Kind of task, with its values unless it is Gaussian denoising.
        sigma_255: Noise of the observations.
        size: Side of the pictures; None where each has its own.
        plan: The plan of the verification, with names instead of paths of pictures.
        schedules: Schedules that were trained on the held-out pictures.
        facts: Further facts by their labels: hardware, versions, dates.
        remarks: What limits the verdicts, in sentences.
        commands: Commands that repeat the search and the verification.
        digests: SHA-256 of the experiment, the code and the pictures.
    """

    run: str
    task: str
    sigma_255: float
    plan: Plan
    schedules: list[HeldOut]
    facts: dict[str, str]
    remarks: list[str]
    commands: list[str]
    digests: dict[str, str]
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Mean seconds to the common target.

    Args:
        ours: Those of the schedule.
        theirs: Those of the reference.
        device: Where both trainings of each pair ran.
        pairs: Number of pairs.
    """

    ours: float
    theirs: float
    device: str
    pairs: int


@dataclass(frozen=True)
class Published:
    """A published verification; its verdicts follow from `pairs` and `record` alone.

    Args:
        record: What the scores were measured on and judged by.
        pairs: Rows of `pairs.csv.gz`.
        replicates: Rows of `replicates.csv.gz`.
    """

    record: Record
    pairs: Sequence[Mapping[str, str]]
    replicates: Sequence[Mapping[str, str]] = ()

    @classmethod
    def open(cls, folder: Path) -> Published:
        """Read a folder that `publish` has written.

        Raises:
            InputError: A file cannot be read; the message names it.
        """
        plain = read_yaml(folder / RECORD)
        try:
            record = from_plain(Record, plain, {})
        except InputError as error:
            raise InputError(f"{folder / RECORD}: {error}") from None
        return cls(record, _rows(folder / PAIRS), _rows(folder / REPLICATES))

    @property
    def output(self) -> Output:
        """The output that is judged."""
        assert self.record.plan.declared is not None
        return self.record.plan.declared.output

    @property
    def claims(self) -> dict[str, Endpoint]:
        """The declared endpoint of each claimed schedule, by its name."""
        assert self.record.plan.declared is not None
        endpoints = {c.trial: c.endpoint for c in self.record.plan.declared.claims}
        return {s.name: endpoints[s.trial] for s in self._claimed if s.trial in endpoints}

    @property
    def _claimed(self) -> list[HeldOut]:
        return [each for each in self.record.schedules if each.references is not None]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """All comparisons on the held-out pictures, judged by the declared rule."""
        plan = self.record.plan
        declared = plan.declared
        assert declared is not None
        rule = ClaimRule(
            self.claims,
            {each.name: frozenset(each.references or ()) for each in self._claimed},
            declared.output,
            declared.family,
            declared.alpha,
        )
        wanted = len(plan.images) * len(plan.seeds)
        return rule.judge([_comparisons(self.pairs, HELD_OUT, wanted)])

    @property
    def remarks_on_tuning(self) -> list[str]:
        """What makes the choice of plain DIP's recipes uncertain, in sentences."""
        plains = {s.name: s.schedule.recipe for s in self.record.schedules if s.role == "plain"}
        rows = [row for row in self.replicates if row["run"].rpartition("/")[2] == TUNING]
        censored: dict[str, list[bool]] = defaultdict(list)
        for row in rows:
            censored[row["name"]].append(row[f"{self.output}_censored"] == "True")
        iterations = max((int(row["iterations"]) for row in rows), default=0)
        tuned = next(iter(plains))
        return [
            *Tuning(censored, self.output, iterations).remarks(plains),
            *higher_references(self.comparisons, tuned, plains, self.output),
        ]

    @property
    def confirmed(self) -> list[Comparison]:
        """The comparisons of the confirmation with plain DIP, in the judged output."""
        found = _comparisons(self.pairs, CONFIRMATION)
        return [each for each in found if each.output == self.output]

    def against_references(self, name: str) -> list[Comparison]:
        """Return a claimed schedule against each of its references, in the judged output."""
        references = self._references(name)
        return [c for c in self._judged(name) if c.reference in references]

    def against_presets(self, name: str) -> list[Comparison]:
        """Return a claimed schedule against the search's candidates that are not plain DIP."""
        candidates = {s.name for s in self.record.schedules if s.role == "candidate"}
        references = {c.reference for c in self.against_references(name)}
        return [c for c in self._judged(name) if c.reference in candidates - references]

    def controls(self, name: str) -> list[Comparison]:
        """Return the controls of a claimed schedule against it: its staging broken on purpose."""
        controls = {each.name for each in self.record.schedules if each.role == "control"}
        return [
            c
            for c in self.comparisons
            if c.reference == name and c.output == self.output and c.schedule in controls
        ]

    def _references(self, name: str) -> list[str]:
        [claimed] = (each for each in self._claimed if each.name == name)
        return claimed.references or []

    def _judged(self, name: str) -> list[Comparison]:
        return [c for c in self.comparisons if c.schedule == name and c.output == self.output]

    def verdict(self, name: str) -> Verdict:
        """Return what holds of a claimed schedule against all its references."""
        compared = against_all(self._judged(name), self._references(name))
        return worst(each.verdict for each in compared)

    def is_better(self, name: str) -> bool:
        """Return whether a claim was shown."""
        return self.verdict(name).word is Word.BETTER

    def p(self, name: str) -> float | None:
        """Return p of a claim after Holm's correction; None if it was not compared."""
        is_time = self.claims[name] == "time"
        found = [c.p_time if is_time else c.p_psnr for c in self.against_references(name)]
        return max((p for p in found if p is not None), default=None)

    def hardest(self, name: str) -> Comparison | None:
        """Return the comparison with the reference that leaves the least of a claimed gain.

        None if a reference is missing.
        """
        compared = against_all(self._judged(name), self._references(name))
        return hardest(compared, self.claims[name])

    def _pairs(self, each: Comparison) -> list[Mapping[str, str]]:
        wanted = HELD_OUT, each.schedule, each.reference, each.output
        keys = "part", "schedule", "reference", "output"
        return [row for row in self.pairs if tuple(row[key] for key in keys) == wanted]

    def on_two_devices(self, each: Comparison) -> Counter[tuple[str, str]]:
        """Return how many pairs of trainings ran on two devices, by the two."""
        return Counter(_devices(row) for row in self._pairs(each) if not _on_one_device(row))

    def on_one_device(self, each: Comparison) -> tuple[Comparison | None, Counter[str]]:
        """Return a comparison over the pairs of trainings that both ran on one device.

        Returns:
            The comparison, without a verdict, None if there are no such pairs; and the number of
            pairs on each device.
        """
        alike = [row for row in self._pairs(each) if _on_one_device(row)]
        return next(iter(_comparisons(alike, HELD_OUT)), None), Counter(r["device"] for r in alike)

    def costs(self, each: Comparison) -> tuple[tuple[float, float], Seconds | None]:
        """Return mean iterations and mean seconds to the common target.

        Seconds are the wall time of whole trainings, divided over their iterations.

        Returns:
            Iterations of schedule and reference; seconds of both over the pairs of trainings that
            both ran on the commonest device, None if there are none.
        """
        rows = self._pairs(each)
        prefixes = "", "reference_"
        ours, theirs = (fmean(float(row[f"{prefix}time"]) for row in rows) for prefix in prefixes)
        both = [row for row in rows if _on_one_device(row)]
        if not both:
            return (ours, theirs), None
        [(device, _)] = Counter(row["device"] for row in both).most_common(1)
        alike = [row for row in both if row["device"] == device]
        our_s, their_s = (
            fmean(
                float(row[f"{prefix}time"]) * float(row[f"{prefix}s_per_iteration"])
                for row in alike
            )
            for prefix in prefixes
        )
        return (ours, theirs), Seconds(our_s, their_s, device, len(alike))


def _devices(row: Mapping[str, str]) -> tuple[str, str]:
    return row["device"], row["reference_device"]


def _on_one_device(row: Mapping[str, str]) -> bool:
    return row["device"] == row["reference_device"]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return list(csv.DictReader(text.splitlines()))


def _comparisons(
    pairs: Iterable[Mapping[str, str]], name: str, wanted: int | None = None
) -> list[Comparison]:
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in pairs:
        if row["part"] == name:
            groups[row["schedule"], row["reference"], row["output"]].append(row)
    return [
        Comparison(
            schedule,
            reference,
            cast(Output, output),
            psnr_db=_difference(
                rows,
                lambda r: float(r["max_psnr_gt_db"]) - float(r["reference_max_psnr_gt_db"]),
            ),
            steps=_difference(rows, lambda r: float(r["steps"]) - float(r["reference_steps"])),
            log_ratio=_difference(rows, _log_ratio),
            reference_steps=fmean(float(row["reference_steps"]) for row in rows),
            missing=0 if wanted is None else wanted - len(rows),
            censored=fmean(int(row["censored"]) for row in rows),
            reference_censored=fmean(int(row["reference_censored"]) for row in rows),
        )
        for (schedule, reference, output), rows in groups.items()
    ]


def _log_ratio(row: Mapping[str, str]) -> float:
    return math.log(int(row["time"]) / int(row["reference_time"]))


def _difference(
    rows: Iterable[Mapping[str, str]], of: Callable[[Mapping[str, str]], float]
) -> Difference:
    by_picture: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_picture[row["picture"]].append(of(row))
    return Difference.of(by_picture)
