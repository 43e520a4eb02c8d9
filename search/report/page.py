"""The report's page, which combines template, styles, scripts and data in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dipstage.terminal.palette import THEMES
from search.analysis.status import status_of
from search.experiment.objectives import Objective
from search.presentation.provenance import facts, provenance
from search.presentation.repeating import repeats
from search.presentation.verdicts import VerdictRow, plain_of, rows_against_presets
from search.presentation.words import settings, some
from search.report.advice import advise
from search.report.data import gather_data
from search.report.pictures import gather as gather_pictures
from search.report.pictures import sources
from search.store.records import Trial
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.verification.result import Verification

SCRIPTS = (
    "base.js", "front.js", "schedule.js", "pictures.js", "parameters.js", "table.js", "start.js"
)  # fmt: skip
MAX_BYTES = 9_700_000
"""Maximum size of the page, because mail accepts 10 MB. Pictures fill the remaining space."""
MAX_REPEATS = 1_500_000
"""Maximum size of the schedule files and command lines that repeat trials."""


@dataclass(frozen=True, slots=True)
class Page:
    """A report, and what it lacks.

    Args:
        text: The page.
        missing: Sentences on what cannot be shown, without an end. They may name folders.
        lacks: Number of things that cannot be shown; the page states it, too.
    """

    text: str
    missing: list[str]
    lacks: int


def lacks(text: str) -> int | None:
    """Return how many things a page says that it lacks; None for what is no report."""
    if "Schedule search</span>" not in text:
        return None
    found = re.search(r'<meta name="lacks" content="(\d+)">', text)
    if found is not None:
        return int(found[1])
    # Version 0.1 does not count it.
    signs = ("The ground truth is not", "run's folder or cannot be read", '"pictures":[]')
    return sum(sign in text for sign in signs)


def make(run: RunRecord, images: Sequence[str] = ()) -> Page:
    """Return the page of a run in its present state.

    Args:
        run: Run to report.
        images: Pictures of the run that are not where its experiment says.

    Raises:
        InputError: If one of `images` cannot be read.
    """
    from search.presentation.remarks import remarks
    from search.verification.result import Verification

    run = run.reread()
    records = run.records()
    status = status_of(run, records)
    verification = Verification.open(run)
    driven = run.driver() is not None
    advice = advise(run, records, status, verification, driven)
    gathered = gather_data(run, records, advice, verification)
    content = gathered.content
    for cells in content["trials"]:
        if cells["state"] == "running" and not driven:
            cells["state"] = "unfinished"
    candidates = [trial.number for trial in records if trial.candidate]
    ranked = dict.fromkeys([advice.number, content["plain"], *content["front"], *candidates])
    first = [number for number in ranked if number is not None]
    content["repeats"] = _repeats(run, records, first, verification)
    room = MAX_BYTES - len(plotly()) - len(json.dumps(content))
    found = sources(run, records, plain_of(records), verification)
    gallery = gather_pictures(found, first, run.objective.output, room, images)
    bare = not gallery.has_outputs and any(trial.replicates for trial in records)
    missing = _missing(run, gathered.missing, gallery.missing, bare=bare)
    lack = len(gallery.missing) + len(gathered.missing) + bare
    content["pictures"] = gallery.groups
    tuned = verification if verification is not None and verification.plain is not None else None
    scripts = [plotly(), script()]
    text: str = _environment().get_template("report.html.jinja").render(
        run=run.name,
        advice=advice,
        bars=content["bars"].removeprefix("± "),
        facts=facts(run, records, status, verification),
        standings=advice.standings,
        settings={trial.number: settings(trial.params) for trial in records},
        versus=rows_against_presets(run, records, verification),
        method=verification.method if verification else "",
        headers=_headers(run.objective, tuned, "plain DIP"),
        versus_headers=_headers(run.objective, verification),
        remarks=list(remarks(verification)) if verification else [],
        verified=tuned is not None,
        scale=_scale(advice.standings),
        text=gathered.text,
        notes=[*gathered.notes, *dict.fromkeys(gallery.notes)],
        has_pictures=bool(gallery.groups),
        has_params=bool(content["params"]),
        has_trials=bool(records),
        provenance=provenance(run, records, verification),
        objective=run.objective,
        data=embed(content),
        style=asset("report.css"),
        themes=THEMES,
        scripts=scripts,
        policy=policy(scripts),
        lacks=lack,
    )  # fmt: skip
    return Page(text, missing, lack)


def _missing(
    run: RunRecord, curves: list[str], truths: list[tuple[str, str, str]], *, bare: bool
) -> list[str]:
    """Return sentences on what a page cannot show; `bare`: there is no output of any trial."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, label, reason in truths:
        grouped.setdefault((name, reason), []).append(label)
    found = [
        f"ground truth and observation of {some(labels)} in {name}, because {reason}; name "
        "pictures that are elsewhere with --images"
        for (name, reason), labels in grouped.items()
    ]
    if curves:
        found.append(f"curves of {some(curves)}, because they are not in {run.folder / 'curves'}")
    if bare:
        found.append(f"outputs of trials, because they are not in {run.folder / 'pictures'}")
    return found


def _repeats(
    run: RunRecord, records: list[Trial], first: list[int], verification: Verification | None
) -> dict[int, Any]:
    """Return what repeats the trials, those in `first` before the others."""
    ranks = {number: rank for rank, number in enumerate(first)}
    ordered = sorted(records, key=lambda trial: ranks.get(trial.number, len(ranks)))
    found = repeats(run, ordered, verification, MAX_REPEATS)
    return {number: asdict(each) for number, each in found.items()}


def _headers(
    objective: Objective, verification: Verification | None, reference: str = ""
) -> tuple[str, str]:
    """Return the headers of two columns of differences from a reference."""
    if verification is not None or objective.is_standard:
        time = verification.rule.time_words if verification else "steps after"
        return f"dB above {reference}".rstrip(), f"{time} {reference}".rstrip()
    words = f"difference from {reference} in" if reference else "difference in"
    return f"{words} {objective.quality.label}", f"{words} {objective.cost.words}"


def _scale(standings: list[VerdictRow]) -> Callable[[float], float]:
    """Return the map from gains to positions on a strip of width 120 that shows all and 0."""
    ends = [0.0]
    for row in standings:
        ends += [row.comparison.psnr_db.mean] if row.comparison else []
        ends += row.bounds_db or ()
    low, width = min(ends), max(ends) - min(ends) or 1.0
    return lambda gain: round(6 + 108 * (gain - low) / width, 1)


def embed(content: Any) -> str:
    """Return plain data as JSON that is safe inside a script element of HTML."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy that runs only these scripts and loads nothing."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return (files("search.report") / "assets" / name).read_text("utf-8")


@cache
def script() -> str:
    """Return the page's own scripts as one script."""
    parts = "\n".join(asset(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


@cache
def plotly() -> str:
    """Return plotly.js from the Python package."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
