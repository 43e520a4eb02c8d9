"""Write docs/results.md and its figure from the published verifications in experiments/results.

    python benchmarks/results.py                      # write the page and the figure
    python benchmarks/results.py --check              # exit with 1 if they are not current
    python benchmarks/results.py runs/denoise-64 --fact commit=0123abc --fact processor='AMD EPYC'

The last form publishes the finished verification of a run first. The page is made of what is in
experiments/results and of nothing else: all numbers are computed again from `pairs.csv.gz` and
`replicates.csv.gz`, except for those in `earlier.md`, whose scores were not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import table
from published import RECORD, Published, Seconds
from publishing import publish

from dipstage.documents.plain_yaml import read_yaml
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.terminal.palette import BLACK, BLUE, FAINT
from search.plots.style import Plot, drawing
from search.presentation.words import interval, p_value, ratio_interval
from search.store.run import RunRecord
from search.verification.rules import PSNR_MARGIN_DB, TIME_MARGIN, Endpoint
from search.verification.schedules import lacking
from search.verification.statistics import Difference
from search.verification.verdicts import Comparison, Word

ROOT = Path(__file__).parents[1]
CLAIMED: dict[Endpoint, str] = {"time": "faster", "psnr": "higher PSNR"}
INTRODUCTION = """\
# Results

This page lists what has been measured with this project, with the commands that repeat it. It is
written by `python benchmarks/results.py` from the files in `experiments/results`, which hold the
scores of all trainings. [Verification](verification.md) explains the terms and the rule.
"""
EARLIER = """\
The last part, *Measured with version 0.1*, is an exception: it is a text, and the scores behind its
numbers were not kept.
"""
EXPLANATION = """
A *trial* is one schedule of a search. The *time ratio* is the mean ratio of the iterations until
the *common target* is reached, 0.1 dB below the lower of the two maxima; below 1 the schedule is
faster. The *PSNR difference* is that of the maxima of PSNR_GT. Brackets are 95 % intervals over
pictures, and p is corrected for all claims that were declared (Holm). *Not shown* means that the
question remains open. A claim must hold against every *reference*; the references are several
versions of plain DIP; *highest PSNR* and *fastest* are the recipes that were best in the tuning, on
other pictures. The next table shows each claim against the reference over which its gain is
smallest.
"""
FIGURE = """
![Each claim on its held-out pictures](images/results.svg)

Each point is a held-out picture. The bar is the mean with its 95 % interval, thicker for the
endpoint that was claimed. Dashed lines are the largest losses that count as not worse.
"""
CONFIRMATION = """\
### Its confirmation

Before the verification, the best schedules of the search were retrained on other pictures and
compared with plain DIP with the search's settings. The schedules to verify were chosen by these
numbers.
"""


@dataclass(frozen=True)
class Claimed:
    """A claimed schedule of a published verification."""

    published: Published
    name: str
    endpoint: Endpoint

    @property
    def label(self) -> str:
        """The schedule with its run, and what is claimed of it."""
        return f"{self.name} of `{self.published.record.run}`, {CLAIMED[self.endpoint]}"

    @property
    def words(self) -> str:
        """The verdict."""
        return str(self.published.verdict(self.name).word)


def load(folder: Path) -> list[Published]:
    """Return the published verifications: those at sigma 25 by size, then the others."""
    found = [Published.open(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    return sorted(
        found,
        key=lambda p: (p.record.sigma_255 != 25, p.record.size or 0, p.record.sigma_255),
    )


def claims_of(found: Sequence[Published]) -> list[Claimed]:
    """Return all claims."""
    return [Claimed(each, name, end) for each in found for name, end in each.claims.items()]


def page(folder: Path) -> str:
    """Return the whole page for a folder of published verifications."""
    found = load(folder)
    earlier = folder / "earlier.md"
    parts = [INTRODUCTION, *[EARLIER] * earlier.exists(), *_overview(found)]
    for each in found:
        parts += _section(each, schedule_files(folder / each.record.run))
    if earlier.exists():
        parts.append(earlier.read_text().rstrip("\n"))
    return "\n".join(parts) + "\n"


def schedule_files(published: Path) -> list[str]:
    """Return the schedule files among the candidates of a published experiment."""
    candidates = read_yaml(published / "experiment.yaml").get("candidates", [])
    return [name for name in candidates if name.endswith((".yaml", ".yml"))]


def _overview(found: Sequence[Published]) -> Iterator[str]:
    claims = claims_of(found)
    if not claims:
        yield "No verification by today's rule has been published yet.\n"
        return
    better = [each for each in claims if each.published.is_better(each.name)]
    total = f"{len(claims)} claim{'s' * (len(claims) != 1)}"
    if better:
        yield f"**Of {total}, {len(better)} {'is' if len(better) == 1 else 'are'} shown.**"
    else:
        yield f"**No schedule has been shown to be better than plain DIP, in {total}.**"
    yield EXPLANATION
    columns = ["task", "schedule", "claimed", "time ratio", "PSNR difference (dB)", "p", "verdict"]
    rows = [_overview_row(each) for each in claims]
    yield from table([*columns, "pictures × seeds"], rows)
    yield FIGURE


def _overview_row(claim: Claimed) -> list[str]:
    published, hardest = claim.published, claim.published.hardest(claim.name)
    plan = published.record.plan
    numbers = ["", ""] if hardest is None else [_ratio(hardest), interval(hardest.psnr_db, 2)]
    return [
        _task(published),
        f"{claim.name} of `{published.record.run}`",
        CLAIMED[claim.endpoint],
        *numbers,
        p_value(published.p(claim.name)),
        claim.words,
        f"{len(plan.images)} × {len(plan.seeds)}",
    ]


def _task(published: Published) -> str:
    record = published.record
    size = f"{record.size} × {record.size}" if record.size else "own sizes"
    return f"{record.task}, {size}, sigma {record.sigma_255:g}"


def _ratio(each: Comparison) -> str:
    return "" if each.log_ratio is None else ratio_interval(each.log_ratio)


def _section(published: Published, files: Sequence[str]) -> Iterator[str]:
    """Yield what is shown of a verification; `files`: schedule files that its experiment names."""
    record = published.record
    yield f"## {_task(published)}: `{record.run}`\n"
    for claim in claims_of([published]):
        yield from _claim(claim)
    if published.confirmed:
        yield CONFIRMATION
        rows = [[c.schedule, _ratio(c), interval(c.psnr_db, 2)] for c in published.confirmed]
        yield from table(["schedule", "time ratio", "PSNR difference (dB)"], rows)
        yield ""
    yield "### What this does not show\n"
    yield from (f"- {line}" for line in _limits(published))
    yield "\n### How it was measured\n"
    yield from table(["", ""], [[label, words] for label, words in record.facts.items()])
    needs = (
        f".\nBeside the experiment file, they need {' and '.join(files)} of `experiments/schedules`"
    )
    yield (
        "\nCommands that repeat it, with the pictures' names without their folders"
        f"{needs * bool(files)}:\n"
    )
    yield "\n".join(["```sh", *record.commands, "```"])
    yield (
        f"\n`python benchmarks/repeat.py {record.run} --pictures FOLDER` trains each claim on "
        "three of the pictures again, and compares the scores.\n"
    )
    path = f"../experiments/results/{record.run}"
    yield (
        f"\n[All scores]({path}/replicates.csv.gz), [the comparisons]({path}/pairs.csv.gz), "
        f"[the experiment]({path}/experiment.yaml), and [what was declared]({path}/{RECORD}).\n"
    )


def _claim(claim: Claimed) -> Iterator[str]:
    published, name = claim.published, claim.name
    declared = published.record.plan.declared
    assert declared is not None
    verdict = published.verdict(name)
    level = (
        f"p = {p_value(published.p(name))} after Holm's correction for {declared.family} "
        f"claim{'s' * (declared.family != 1)}, at a declared level of {declared.alpha:g}"
    ).replace("= <", "<")
    yield f"### {name}, claimed to be {_claimed_words(claim)}: {verdict.word}\n"
    yield f"Verdict: **{verdict}** ({published.output} output; {level}).\n"
    against = {c.reference: c for c in published.against_references(name)}
    against |= {f"{c.reference} (no reference)": c for c in published.against_presets(name)}
    rows = [_compared(published, words, c) for words, c in against.items()]
    columns = ["against", "time ratio", "PSNR difference (dB)", "iterations to the target"]
    yield from table([*columns, "s to the target", "verdict"], rows)
    yield ""
    yield from _mixed(published, "against", against, "the reference")
    controls = published.controls(name)
    if controls:
        yield f"Controls, whose staging is broken on purpose, against {name}:\n"
        rows = [
            [c.schedule, _ratio(c), interval(c.psnr_db, 2), _control_words(c)] for c in controls
        ]
        columns = ["control", f"time ratio to {name}", f"PSNR difference to {name} (dB)", ""]
        yield from table(columns, rows)
        yield ""
        yield from _mixed(published, "control", {c.schedule: c for c in controls}, name)


def _mixed(
    published: Published, heading: str, rows: Mapping[str, Comparison], second: str
) -> Iterator[str]:
    """Yield what remains of comparisons without the pairs on different devices, if there are any.

    rows: The comparisons by their names. second: What they are with, in words.
    """
    mixed = [
        [words, *_on_devices(published, each)]
        for words, each in rows.items()
        if published.on_two_devices(each)
    ]
    if mixed:
        yield (
            "In some of these pairs, the two trainings ran on different devices; that of "
            f"{second} is named second. Without these pairs:\n"
        )
        columns = [heading, "pairs on different devices", "pairs on the same device"]
        columns += ["time ratio of these", "PSNR difference of these (dB)"]
        yield from table(columns, mixed)
        yield ""


def _on_devices(published: Published, each: Comparison) -> list[str]:
    alike, pairs = published.on_one_device(each)
    mixed = published.on_two_devices(each)
    return [
        "; ".join(f"{n} of {each.psnr_db.n}: {' and '.join(two)}" for two, n in mixed.items()),
        "; ".join(f"{n}: {device}" for device, n in pairs.items()) or "0",
        *(["", ""] if alike is None else [_ratio(alike), interval(alike.psnr_db, 2)]),
    ]


def _claimed_words(claim: Claimed) -> str:
    return {"time": "faster", "psnr": "higher in PSNR"}[claim.endpoint]


def _compared(published: Published, words: str, each: Comparison) -> list[str]:
    (ours, theirs), seconds = published.costs(each)
    return [
        words,
        _ratio(each),
        interval(each.psnr_db, 2),
        f"{ours:.0f} instead of {theirs:.0f}",
        "" if seconds is None else _seconds(seconds, each.psnr_db.n),
        str(each.verdict),
    ]


def _seconds(seconds: Seconds, pairs: int) -> str:
    """Return both means, with the number of pairs and their device if these are not all pairs."""
    words = f"{seconds.ours:.1f} instead of {seconds.theirs:.1f}"
    if seconds.pairs == pairs:
        return words
    return f"{words} (over {seconds.pairs} of {pairs} pairs, on {seconds.device})"


def _control_words(control: Comparison) -> str:
    if control.verdict.word is Word.NOT_WORSE:
        what = lacking(control.schedule, control.reference)
        return f"not worse: the gain is not attributed to {what}"
    return f"PSNR {control.verdict.psnr}, time {control.verdict.time}"


def _limits(published: Published) -> Iterator[str]:
    record, plan = published.record, published.record.plan
    pictures, seeds = len(plan.images), len(plan.seeds)
    yield (
        f"It is one task ({_task(published)}), one network "
        f"({record.facts.get('network', 'unknown')}), and {pictures} pictures with {seeds} "
        f"seed{'s' * (seeds != 1)} each."
    )
    yield (
        "Maxima are found with the ground truth. How much of a gain remains with a stopping rule "
        "that does not use it is not judged."
    )
    for claim in claims_of([published]):
        if published.is_better(claim.name):
            endpoint, other = ("time", "PSNR") if claim.endpoint == "time" else ("PSNR", "time")
            yield f"{claim.name} was claimed in {endpoint} alone; in {other} it is only not worse."
    yield (
        "Verdicts are about iterations. Seconds are estimated from the wall time of whole "
        "trainings, which may have shared the machine with others."
    )
    for name in published.claims:
        compared = [*published.against_references(name), *published.against_presets(name)]
        mixed = max((published.on_two_devices(each).total() for each in compared), default=0)
        if mixed:
            yield (
                f"In up to {mixed} of {pictures * seeds} pairs with a reference, {name} ran on "
                "another device than the reference. The claim is judged on all pairs; a table "
                "above shows what remains without these."
            )
    for remark in [*published.remarks_on_tuning, *record.remarks]:
        yield remark[:1].upper() + remark[1:] + "." * (not remark.endswith("."))


def figure(found: Sequence[Published]) -> Plot:
    """Draw every claim: its pictures, mean and 95 % interval, in time and in PSNR."""
    claims = [(claim, each) for claim in claims_of(found)
              if (each := claim.published.hardest(claim.name)) is not None]  # fmt: skip
    with drawing("screen", 0.19 + 0.1 * len(claims)) as plot:
        time, psnr = plot.subplots(1, 2, sharey=True)
        for row, (claim, each) in enumerate(claims):
            colour = BLUE if claim.published.is_better(claim.name) else BLACK
            assert each.log_ratio is not None
            _strip(time, row, each.log_ratio, colour, claim.endpoint == "time", is_log=True)
            _strip(psnr, row, each.psnr_db, colour, claim.endpoint == "psnr", is_log=False)
        _axes(time, "time ratio (below 1: faster)", 1.0, TIME_MARGIN)
        _axes(psnr, "PSNR difference (dB)", 0.0, -PSNR_MARGIN_DB)
        time.set_xscale("log")
        _plain_ticks(time)
        time.set_yticks(range(len(claims)), [_label(claim) for claim, _ in claims])
        time.set_ylim(len(claims) - 0.5, -0.5)
        plot.explain(
            "Schedules against tuned plain DIP on held-out pictures "
            "(points: pictures; bars: mean with 95 % interval; blue: shown to be better)",
            "each claim against the reference that leaves the least of its gain",
        )
    return plot


def _label(claim: Claimed) -> str:
    record = claim.published.record
    size = f"{record.size} × {record.size}, " if record.size else ""
    return f"{size}sigma {record.sigma_255:g}\nclaimed {CLAIMED[claim.endpoint]}: {claim.words}"


def _strip(
    axes: Any, row: int, difference: Difference, colour: str, is_endpoint: bool, *, is_log: bool
) -> None:
    """Draw a claim's pictures, slightly apart, and its interval above them."""
    value = math.exp if is_log else float
    points = sorted(value(mean) for mean in difference.means.tolist())
    heights = [row + 0.16 + 0.05 * (i % 3) for i in range(len(points))]
    axes.plot(points, heights, "o", color=colour, alpha=0.45, markersize=3.5, markeredgewidth=0)
    if difference.low is not None and difference.high is not None:
        ends = [value(difference.low), value(difference.high)]
        axes.plot(ends, [row - 0.1] * 2, color=colour, linewidth=3 if is_endpoint else 1.2)
    axes.plot(value(difference.mean), row - 0.1, "D", color=colour, markersize=5)


def _axes(axes: Any, label: str, none: float, margin: float) -> None:
    axes.axvline(none, color=BLACK, linewidth=0.8, zorder=0)
    axes.axvline(margin, color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xlabel(label)
    axes.grid(visible=True, axis="x", color=FAINT)
    axes.grid(visible=False, axis="y")


def _plain_ticks(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    low, high = axes.get_xlim()
    fine, coarse = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2), (0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.4, 2, 4)
    ticks = fine if low > 0.45 and high < 1.5 else coarse
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def digest(found: Sequence[Published]) -> str:
    """Return a digest of what the figure shows, which the figure carries.

    Another version of matplotlib draws the same figure with other bytes.
    """
    shown = [
        [_label(claim), [[round(mean, 6) for mean in d.means.tolist()] for d in both if d]]
        for claim in claims_of(found)
        if (each := claim.published.hardest(claim.name)) is not None
        for both in ((each.log_ratio, each.psnr_db),)
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def drawn(found: Sequence[Published]) -> bytes:
    """Return the figure as SVG."""
    buffer = io.BytesIO()
    words = {"Date": None, "Description": f"experiments/results {digest(found)}"}
    figure(found).savefig(buffer, format="svg", metadata=words)
    return buffer.getvalue()


def is_current(root: Path) -> bool:
    """Return whether page and figure are those of the published numbers."""
    folder, svg = root / "experiments/results", root / "docs/images/results.svg"
    found = load(folder)
    drawn_of = svg.read_text() if svg.exists() else ""
    is_drawn = digest(found) in drawn_of if claims_of(found) else not drawn_of
    return is_drawn and (root / "docs/results.md").read_text() == page(folder)


def write(root: Path) -> None:
    """Write the page, and the figure if there is something to draw."""
    folder, svg = root / "experiments/results", root / "docs/images/results.svg"
    found = load(folder)
    (root / "docs/results.md").write_text(page(folder))
    if claims_of(found):
        write_whole(svg, drawn(found))
    else:
        svg.unlink(missing_ok=True)


def main(words: Sequence[str], root: Path = ROOT) -> int:
    """Publish the runs that are named, then write the page; with --check, only look at it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs to publish")
    parser.add_argument(
        "--fact", action="append", default=[], metavar="LABEL=WORDS",
        help="another fact to keep with the runs, such as commit=0123abc",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="exit with 1 if the page is stale")
    given = parser.parse_args(words)
    if given.check:
        if not is_current(root):
            print("docs/results.md is not current: run python benchmarks/results.py")
            return 1
        return 0
    try:
        facts = dict(fact.split("=", 1) for fact in given.fact)
    except ValueError:
        parser.error("--fact must be LABEL=WORDS")
    try:
        for run in given.runs:
            opened = RunRecord.open(run.name, run.parent)
            target = root / "experiments/results" / opened.name
            publish(opened, target, **facts)
            print(f"written to {target}/")
        write(root)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
