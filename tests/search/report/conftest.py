"""Reports of four runs, and a browser that opens them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_runs import experiment, new_run
from opened_reports import ARGUMENTS, CHROMIUM, SCORES, Opened
from played_verification import gains, searched, verified
from reported_runs import play_with_files

from search import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests; each opens a context of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Any]:
    """Opens a report; at the end of the test nothing may have been complained of."""
    contexts, opened = [], []

    def open_(path: Path, **how: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
        contexts.append(context)
        shown = Opened(context.new_page())
        opened.append(shown)
        shown.listen()
        shown.page.goto(path.as_uri())
        return shown

    yield open_
    for shown in opened:
        shown.quiet()
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all runs of this file."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(runs: Path) -> Path:
    """Two candidates and four trials, one of which failed with a reason that is HTML."""
    return play_with_files(new_run(runs / "a", experiment()), SCORES.__getitem__).report()


@pytest.fixture(scope="module")
def verified_report(runs: Path) -> Path:
    """Of a run of which one schedule is better than plain DIP."""
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    return Run.of(verified(searched(runs / "b"), score).run).report()


@pytest.fixture(scope="module")
def large(runs: Path) -> Path:
    """500 sampled trials of 600 iterations and up to 30 stages, some raced, some failed."""
    big = experiment(
        trainer={"iterations": 600, "width": 4, "scales": 1, "input_depth": 4, "patience": 50},
        seeds=[0],
        space={
            "stages": {"low": 1, "high": 30},
            "exponent": {"low": 0.2, "high": 5.0, "log": True},
            "ramp": {"low": 5, "high": 350, "log": True},
            "split": ["power", "log", "free"],
            "noise": {"beta": ["linear", "cosine"], "max_level": {"low": 0.1, "high": 1.0}},
        },
        search={"trials": 500, "sampler": "random", "seed": 0},
        racing={"enabled": True, "confidence": 0.9, "min_replicates": 1},
    )
    generator = np.random.default_rng(0)

    def score(number: int) -> tuple[float, int] | str:
        if number % 97 == 50:
            return "diverged on chelsea-seed0 after 10 iterations"
        return float(generator.normal(25, 0.8)), int(generator.integers(100, 590))

    keys = ["chelsea-seed0", "camera-seed0"]
    return play_with_files(new_run(runs / "c", big), score, keys=keys, pictures=60).report()
