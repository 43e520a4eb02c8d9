"""Request and plan of a verification, written down before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.schedules.recipe import Recipe
from search.store.paths import verification_path
from search.store.run import RunRecord


@dataclass(frozen=True, slots=True)
class Request:
    """A user's request for a verification; None leaves the choice to it, or to the one begun.

    The fields are the options of `dipsearch verify`, whose help says what they mean.
    """

    images: tuple[str, ...] | None = None
    seeds: int | tuple[int, ...] | None = None
    fast: str | None = None
    best: str | None = None
    claims: int | None = None
    alpha: float | None = None
    baseline_iterations: int | None = None
    learning_rates: tuple[float, ...] | None = None
    references: int | None = None
    smallest_db: float | None = None
    smallest_ratio: float | None = None
    controls: bool = False
    allow_seen: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A schedule of the search, and the endpoint in which it is claimed to be better."""

    trial: int
    endpoint: Literal["time", "psnr"]


@dataclass(frozen=True, slots=True)
class Declared:
    """Declaration made before a verification begins; plans of version 0.1 lack it.

    Args:
        claims: At most one for each endpoint.
        output: The output that is judged.
        family: Number of claims that Holm's correction counts.
        alpha: Significance level.
        smallest_db: Smallest gain of interest.
        smallest_ratio: Largest time ratio of interest.
        references: Recipes that plain DIP is tuned over.
        controls: Whether the controls of the claimed schedules are trained.
        front: Trials on the front when the plan was made.
        earlier: Claims of earlier verifications of this run, which `family` counts.
        used: SHA-256 of the pictures of earlier verifications.
    """

    claims: list[Claim]
    output: Literal["raw", "smoothed"]
    family: int
    alpha: float
    smallest_db: float
    smallest_ratio: float
    references: list[Recipe]
    controls: bool
    front: list[int]
    earlier: int = 0
    used: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a verification: written down before it begins, and continued by resume.

    Args:
        images: Pictures.
        seeds: Seeds.
        trials: Trials of the search that are verified.
        baseline_iterations: Budget of all held-out trainings.
        learning_rates: Learning rates that plain DIP is tuned over, beside others between them.
        seen: What of it the search had seen already, in words; nothing by default.
        declared: What is claimed; None in plans of version 0.1, which judged every schedule.
        top: Number of members of the front, in plans of version 0.1.
        controls: Trial whose controls were trained, in plans of version 0.1.
        spent: SHA-256 of the pictures that it had scores on, written before it is discarded.
    """

    images: list[str]
    seeds: list[int]
    trials: list[int]
    baseline_iterations: int
    learning_rates: list[float]
    seen: list[str] | None = None
    declared: Declared | None = None
    top: int | None = None
    controls: int | None = None
    spent: list[str] | None = None


def load_plan(run: RunRecord) -> Plan | None:
    """Return the plan of a verification that has begun; None where there is none."""
    path = verification_path(run.folder)
    if not path.exists():
        return None
    try:
        return from_plain(Plan, read_yaml(path), {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
