"""The pictures of a finished search, from a recorded quickstart: `python docs/samples.py`.

The record, `tests/data/quickstart.tar.xz`, is a run folder without pictures and report. Figures are
drawn by the commands that the pages describe, the report is opened in Chromium, and `dipstage run`
trains for 10 s. `tests/test_samples.py` compares what pages show as printed with the same record.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path

from click.testing import CliRunner, Result

from dipstage.terminal.cli import main as dipstage_main
from search.cli import main as dipsearch_main

DOCS = Path(__file__).parent.resolve()
IMAGES = DOCS / "images"
RECORD = DOCS.parent / "tests" / "data" / "quickstart.tar.xz"
FIGURES = {
    "quickstart-front.png": "dipsearch plot quickstart front",
    "plot-front.svg": "dipsearch plot quickstart front --style paper",
    "plot-curves.svg": "dipsearch plot quickstart curves --trials knee,baseline,uniform",
    "plot-schedules.svg": "dipsearch plot quickstart schedules",
}
"""Figures of the run, and the commands that draw them."""
TRAINED = "dipstage run skimage:coffee --size 64 --schedule runs/quickstart/best.yaml"


def unpack(folder: Path) -> None:
    """Make the recorded run the run `quickstart` of a folder."""
    with tarfile.open(RECORD) as archive:
        archive.extractall(folder / "runs", filter="data")


def call(command: str) -> Result:
    """Run a command line of one of the programs in this process."""
    program, *arguments = shlex.split(command)
    done = CliRunner().invoke(
        {"dipstage": dipstage_main, "dipsearch": dipsearch_main}[program], arguments
    )
    assert done.exit_code == 0, f"{command}: {done.output}"
    return done


def photograph(report: Path, picture: Path) -> None:
    """Save the first screen of a report as a browser shows it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-drawn]")
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Draw all of them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        unpack(Path())
        for name, command in FIGURES.items():
            call(f"{command} --output {name}")
            shutil.copy(name, IMAGES)
        call("dipsearch report quickstart --output report.html")
        photograph(Path("report.html").absolute(), IMAGES / "report.png")
        print(call(TRAINED).output)
        shutil.copy("out/coffee-best-seed0/curves.png", IMAGES)


if __name__ == "__main__":
    main()
