"""The report's page, which combines template, styles, scripts and data in one file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dipstage.terminal.palette import THEMES
from search.analysis.status import status_of
from search.experiment.objectives import Objective
from search.presentation.front import front_words
from search.presentation.provenance import facts, provenance
from search.presentation.repeating import repeats, unrepeatable
from search.presentation.verdicts import VerdictRow, rows_against_presets
from search.presentation.words import capital, settings, some
from search.report.advice import advise
from search.report.data import gather_data
from search.report.fitting import embed, keep_details, keep_trials, size, without_details
from search.report.pictures import Gallery, sources
from search.report.pictures import gather as gather_pictures
from search.store.records import Trial, plain_of
from search.store.run import RunRecord

if TYPE_CHECKING:
    from search.verification.result import Verification

SCRIPTS = (
    "base.js", "front.js", "schedule.js", "pictures.js", "parameters.js", "table.js", "start.js"
)  # fmt: skip
MAX_BYTES = 9_700_000
"""Maximum size of the page without its text, because mail accepts 10 MB."""
MIN_ROOM = 100_000
"""Least space for each of curves, schedule files and pictures, which trials leave to them."""
MAX_REPEATS = 1_500_000
"""Maximum size of the schedule files and command lines that repeat trials."""


@dataclass(frozen=True, slots=True)
class Page:
    """A report, and what it lacks.

    Args:
        text: The page.
        missing: Sentences on what cannot be shown, without an end. They may name folders.
        lacks: Number of things that cannot be shown; the page states it, too.
        left_out: Sentences on what does not fit into the page, without an end.
    """

    text: str
    missing: list[str]
    lacks: int
    left_out: list[str]


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
    ranked = _ranked(records, [advice.number, content["plain"], *content["front"]])
    room = _room({**content, "trials": []}) - 3 * MIN_ROOM
    order = keep_trials(content["trials"], ranked, room)
    unlisted = len(records) - len(order)
    rows = [without_details(cells) for cells in content["trials"]]
    # Half of the space for curves, half of the rest for what repeats trials, then pictures.
    short = keep_details(content["trials"], order, _room({**content, "trials": rows}) // 2)
    room = min(MAX_REPEATS, _room(content) // 2)
    content["unrepeatable"] = unrepeatable(run)
    content["repeats"] = _repeats(run, records, order, verification, room)
    found = sources(run, records, plain_of(records), verification)
    gallery = gather_pictures(found, order, run.objective.output, _room(content), images)
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
        notes=[*gathered.notes, *_on_left_out(run, unlisted, short), *dict.fromkeys(gallery.notes)],
        front=front_words(run.objective),
        growing=capital(content["history"]["name"]),
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
    return Page(text, missing, lack, _left_out(run, unlisted, short, gallery))


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


def _ranked(records: list[Trial], first: list[int | None]) -> list[int]:
    """Return the numbers of all trials: `first`, the candidates, the best by the first objective,
    and those that are not complete.
    """
    candidates = [trial.number for trial in records if trial.candidate]
    complete = [trial for trial in records if trial.values is not None]
    complete.sort(key=lambda trial: -trial.score.max_psnr_gt_db)
    others = [trial.number for trial in (*complete, *records)]
    ranked = dict.fromkeys([*first, *candidates, *others])
    return [number for number in ranked if number is not None]


def _room(content: dict[str, Any]) -> int:
    """Return how many bytes the page's data leave for more of them."""
    return max(MIN_ROOM, MAX_BYTES - len(plotly().encode()) - size(content))


def _on_left_out(run: RunRecord, unlisted: int, short: int) -> Iterator[str]:
    """Yield what the page says of the trials that it leaves out, or only their curves."""
    if unlisted:
        yield (
            f"{unlisted} trials do not fit this file, so neither the charts nor the table of all "
            "trials show them. Trials that are not complete are left out first, then those with "
            f"the lowest {run.objective.quality.words}; dipsearch trials lists all."
        )
    if short:
        yield (
            f"The staircases and curves of {short} trials do not fit this file. Those of the trial "
            f"that is named at the top, of plain DIP, of the {front_words(run.objective)} and of "
            f"the candidates come first, then those of the highest {run.objective.quality.words}."
        )


def _left_out(run: RunRecord, unlisted: int, short: int, gallery: Gallery) -> list[str]:
    """Return sentences on what does not fit: trials, the curves of `short` others, and pictures."""
    found = []
    if unlisted:
        found.append(
            f"{unlisted} trials, because they do not fit into 10 MB; dipsearch trials lists all"
        )
    if short:
        found.append(
            f"staircases and curves of {short} trials, because they do not fit into 10 MB; "
            "dipsearch plot draws them"
        )
    if not gallery.whole:
        found.append(
            "some pictures, because they do not fit into 10 MB; all are in "
            f"{run.folder / 'pictures'}"
        )
    return found


def _repeats(
    run: RunRecord,
    records: list[Trial],
    order: list[int],
    verification: Verification | None,
    room: int,
) -> dict[int, Any]:
    """Return what repeats the trials, as far as it fits, in an order of their numbers."""
    by_number = {trial.number: trial for trial in records}
    found = repeats(run, [by_number[number] for number in order], verification, room)
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
