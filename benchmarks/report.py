"""Measure how long a report of 500 trials takes to write and to open, and its size.

Claim: headless Chromium shows the first words and the front within 2 s, and the file is below
10 MB. The time until all ten charts are drawn is measured as well. Median, minimum and maximum of n
openings in fresh pages; the trials are simulated, not trained.
`PYTHONPATH=.:tests/fixtures python benchmarks/report.py` takes a minute and needs playwright and
Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from fake_runs import experiment, new_run
from machine import machine, write
from playwright.sync_api import sync_playwright
from reported_runs import play_with_files

_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync", "--disable-quic"]  # fmt: skip


def played(folder: Path) -> Path:
    """Write the report of a simulated run of 500 sampled trials of 600 iterations."""
    big = experiment(
        trainer={"iterations": 600, "width": 4, "scales": 1, "input_depth": 4, "patience": 50},
        seeds=[0],
        search={"trials": 500, "sampler": "random", "seed": 0},
        racing={"enabled": False},
    )
    generator = np.random.default_rng(0)

    def score(number: int) -> tuple[float, int]:
        return float(generator.normal(25, 0.8)), int(generator.integers(100, 590))

    keys = ["chelsea-seed0", "camera-seed0"]
    return play_with_files(new_run(folder, big), score, keys=keys).report()


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--openings", type=int, default=7)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/report.json"))
    given = arguments.parse_args()
    measured_on, words, front, charts = machine(), [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = played(Path(folder))
        size = path.stat().st_size
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        for _ in range(given.openings + 1):
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("h1")
            words.append(time.perf_counter() - began)
            page.wait_for_selector("#front .main-svg")
            front.append(time.perf_counter() - began)
            page.wait_for_selector("html[data-drawn]")
            charts.append(time.perf_counter() - began)
            page.close()
        browser.close()
    # The first opening is a warm-up.
    row = {"bytes": size, "words_s": words[1:], "front_s": front[1:], "charts_s": charts[1:]}
    least, most = min(charts[1:]), max(charts[1:])
    print(f"{size / 1e6:.2f} MB; words {statistics.median(words[1:]):.2f} s, "
          f"front {statistics.median(front[1:]):.2f} s, all charts "
          f"{statistics.median(charts[1:]):.2f} ({least:.2f} to {most:.2f}) s")  # fmt: skip
    write({**measured_on, **row}, given.output)


if __name__ == "__main__":
    main()
