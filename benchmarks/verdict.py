"""Measure how often the rule for claims is right, by resampling the curves of a finished search.

Claim: false *better* at most 5 % at each corner of the null, and the power for some true effects.

    python benchmarks/verdict.py runs/NAME --output benchmarks/verdict.json

The best schedules of the search are paired with its plain DIP on the same pictures and seeds. The
differences of each schedule in max PSNR_GT and in log time ratio are shifted together, so that
their means over pictures are the planted truth; what they vary by from picture to picture and from
seed to seed stays as it was recorded. Each repetition draws a schedule, pictures with replacement,
and different seeds of each picture. Rates are those of one claim against one reference; more
references can only lower them. `claims` is the number of claims that Holm's correction assumes.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, write
from numpy.typing import NDArray

from dipstage.schedules.stopping import OUTPUTS
from search.store.records import plain_of
from search.store.run import RunRecord
from search.verification.power import measured_spread
from search.verification.rules import PSNR_MARGIN_DB, SIGNIFICANCE, TIME_MARGIN, Endpoint, claim_p
from search.verification.verdicts import Comparison, compare, entry_of

SIZES = [(pictures, seeds) for pictures in (4, 9, 16, 24) for seeds in (1, 2)]
TRUTHS: dict[str, tuple[Endpoint, float, float]] = {
    "false, equal (time)": ("time", 0.0, 1.0),
    "false, equal (psnr)": ("psnr", 0.0, 1.0),
    "false, -0.1 dB and half the time": ("time", -PSNR_MARGIN_DB, 0.5),
    "false, +0.5 dB and 1.1 times the time": ("psnr", 0.5, TIME_MARGIN),
    "true, 0.85 of the time, +0.1 dB": ("time", 0.1, 0.85),
    "true, 0.75 of the time, equal PSNR": ("time", 0.0, 0.75),
    "true, 0.75 of the time, +0.1 dB": ("time", 0.1, 0.75),
    "true, +0.2 dB, equal time": ("psnr", 0.2, 1.0),
    "true, +0.3 dB, equal time": ("psnr", 0.3, 1.0),
}
"""Endpoint, gain in dB and time ratio. Those that begin with `false` are corners of the null."""
Values = NDArray[np.float64]


def paired(run: RunRecord, most: int) -> list[Comparison]:
    """Compare the best schedules of a search with its plain DIP, in both outputs."""
    records = [trial for trial in run.records() if trial.values is not None]
    plain = plain_of(records)
    if plain is None:
        raise SystemExit(f"{run.name} has no plain DIP to compare with")
    staged = [trial for trial in records if not trial.is_plain]
    staged.sort(key=lambda trial: -trial.score.max_psnr_gt_db)

    entries = [entry_of(run, trial) for trial in staged[:most]]
    return compare(entries, entry_of(run, plain), run.objective, with_times=True)


def resampled(
    pairs: list[Comparison], pictures: int, seeds: int, repetitions: int
) -> tuple[Values, Values]:
    """Draw picture means of centred differences: max PSNR_GT and log ratio, (repetitions, P)."""
    generator = np.random.default_rng([pictures, seeds])
    tables = []
    for each in pairs:
        assert each.log_ratio is not None
        both = np.asarray([each.psnr_db.by_picture, each.log_ratio.by_picture])
        tables.append(both - both.mean(axis=(1, 2), keepdims=True))
    table = np.asarray(tables)  # (schedules, 2, pictures, seeds)
    which = generator.integers(0, len(table), (repetitions, 1, 1))
    drawn = generator.integers(0, table.shape[2], (repetitions, pictures, 1))
    order = generator.random((repetitions, pictures, table.shape[3])).argsort(axis=-1)
    means = table[which, :, drawn, order[..., :seeds]].mean(axis=2)
    return means[..., 0], means[..., 1]


def rates(pairs: list[Comparison], repetitions: int, claims: list[int]) -> list[dict[str, Any]]:
    """Return the share of *better* for every truth and size."""
    recorded = len(pairs[0].psnr_db.by_picture[0])
    rows = []
    for pictures, seeds in SIZES:
        if seeds > recorded:
            print(f"{pictures} × {seeds} is left out: the search has {recorded} seed")
            continue
        psnr, ratio = resampled(pairs, pictures, seeds, repetitions)
        for truth, (endpoint, gain_db, times) in TRUTHS.items():
            p = claim_p(psnr + gain_db, ratio + math.log(times), endpoint)
            better = {str(n): float(np.mean(p * n < SIGNIFICANCE)) for n in claims}
            rows.append({"truth": truth, "pictures": pictures, "seeds": seeds, "better": better})
    return rows


def spreads(pairs: list[Comparison]) -> dict[str, Any]:
    """Return the standard deviations between pictures and seeds."""
    ratios = [each.log_ratio for each in pairs if each.log_ratio is not None]
    both = {"psnr_db": [each.psnr_db for each in pairs], "log_ratio": ratios}
    found = {name: measured_spread(values) for name, values in both.items()}
    return {name: asdict(spread) for name, spread in found.items() if spread is not None}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rates as a Markdown table, a row for each truth."""
    sizes = list(dict.fromkeys((row["pictures"], row["seeds"]) for row in rows))
    cells = {(row["truth"], row["pictures"], row["seeds"]): row["better"] for row in rows}
    lines = ["| truth | " + " | ".join(f"{p} × {s}" for p, s in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for truth in dict.fromkeys(row["truth"] for row in rows):
        said = [" / ".join(f"{v:.1%}" for v in cells[truth, *size].values()) for size in sizes]
        lines.append(f"| {truth} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables of both outputs and write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="Folder of a search, runs/NAME.")
    parser.add_argument("--schedules", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--claims", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    run = RunRecord.open(given.run.name, given.run.parent)
    content: dict[str, Any] = {
        "machine": machine(),
        "run": run.name,
        "repetitions": given.repetitions,
        "claims": given.claims,
    }
    compared = paired(run, given.schedules)
    for output in OUTPUTS:
        pairs = [each for each in compared if each.output == output and not each.missing]
        rows, found = rates(pairs, given.repetitions, given.claims), spreads(pairs)
        content[output] = {"schedules": len(pairs), "pictures": pairs[0].psnr_db.pictures,
                           "spreads": found, "rows": rows}  # fmt: skip
        print(f"\n{output} output: {len(pairs)} schedules on {pairs[0].psnr_db.pictures} pictures")
        print(f"spreads: {found}\n\n{table(rows)}", flush=True)
    if given.output is not None:
        write(content, given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
