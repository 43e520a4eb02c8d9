"""Remarks on the tuning of plain DIP: whether the chosen recipes are the best ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dipstage.schedules.recipe import NETWORK_AND_WARMUP, Recipe
from dipstage.schedules.stopping import Output
from dipstage.terminal.numbers import DB
from search.presentation.words import interval
from search.verification.references import tuned_name
from search.verification.rules import is_gain
from search.verification.verdicts import Comparison

if TYPE_CHECKING:
    from search.verification.result import Verification


@dataclass(frozen=True, slots=True)
class Tuning:
    """The trainings that plain DIP was tuned with.

    Args:
        censored: Whether each maximum is censored, by the names of the recipes.
        output: The output that is judged.
        iterations: Their budget.
    """

    censored: Mapping[str, Sequence[bool]]
    output: Output
    iterations: int

    def remarks(self, references: Mapping[str, Recipe]) -> Iterator[str]:
        """Yield how many maxima are censored, if any is.

        Args:
            references: Recipes of the references by their names.
        """
        maxima = [each for found in self.censored.values() for each in found]
        if not any(maxima):
            return
        # The names of recipes do not have what a claim's own network adds to its reference.
        tuned = {n: r for n, r in references.items() if r.without(NETWORK_AND_WARMUP) == r}
        found = {name: self.censored.get(tuned_name(r), ()) for name, r in tuned.items()}
        cut = [f"{name} {sum(each)} of {len(each)}" for name, each in found.items() if any(each)]
        ours = f", among them these of the references: {'; '.join(cut)}" * bool(cut)
        yield (
            f"the end of training may have cut off {sum(maxima)} of {len(maxima)} {self.output} "
            f"maxima in the tuning of plain DIP (censored){ours}. Trained for more than "
            f"{self.iterations} iterations, another recipe may be better than the chosen ones"
        )


def higher_references(
    comparisons: Iterable[Comparison], tuned: str, references: Iterable[str], output: Output
) -> Iterator[str]:
    """Yield which references turned out to have a higher PSNR than the one tuned for it.

    Args:
        comparisons: All comparisons of the verification.
        tuned: Name of the reference that was tuned for the highest PSNR.
        references: Names of all references.
        output: The output that is judged.
    """
    names = set(references)
    higher = [
        f"{each.schedule} {interval(each.psnr_db, DB)} dB"
        for each in comparisons
        if each.schedule in names
        and (each.reference, each.output) == (tuned, output)
        and is_gain(each, "psnr")
    ]
    if higher:
        yield (
            "on the pictures of the verification, these references have a higher PSNR than "
            f"{tuned}, which had the highest in the tuning: {'; '.join(higher)}"
        )


def remarks_on_tuning(verification: Verification) -> Iterator[str]:
    """Yield what makes the choice of plain DIP's recipes uncertain."""
    output, is_declared = verification.output, verification.plan.declared is not None
    recipes = {
        trial.name: trial.schedule.recipe
        for trial in verification.held_out.records()
        if is_declared and verification.role(trial) == "plain" and trial.schedule is not None
    }
    censored = {
        trial.name: [bool(each.scores(output).censored) for each in trial.replicates.values()]
        for trial in verification.tuned.records()
    }
    iterations = verification.tuned.experiment.trainer.iterations
    yield from Tuning(censored, output, iterations).remarks(recipes)
    if is_declared and verification.plain is not None:
        yield from higher_references(
            verification.comparisons, verification.plain.name, recipes, output
        )
