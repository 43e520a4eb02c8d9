"""What is shown while a search runs."""

import io
from pathlib import Path

from fake_runs import KEYS, experiment, new_run, outcome
from rich.console import Console

from search.ledger import Ledger
from search.progress import Lines, LiveView, Quiet
from search.run import Run


def test_lines_are_printed_when_a_trial_ends_and_not_otherwise(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    text = io.StringIO()
    view = Lines(Console(file=text, width=200))
    ledger = Ledger(run.study, run.experiment, KEYS)
    for _ in range(2):
        work = ledger.next()
        assert work is not None
        for key in KEYS:
            view.update(run)
            ledger.record(work.number, key, outcome(25.0, 10))
        ledger.finish(work.number, None)
        view.update(run)
    view.end(run)
    view.note("a.png: transparency dropped")
    lines = text.getvalue().splitlines()
    assert [line.split(" ", 1)[1].split(",")[0] for line in lines] == [
        "tiny: 0/6 trials", "tiny: 1/6 trials", "tiny: 2/6 trials",
        "notice: a.png: transparency dropped",
    ]  # fmt: skip
    assert "best 25.00 dB at 10" in lines[-2]


def test_the_live_view_shows_status_and_front_and_leaves_the_screen_clean(played: Run) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    with LiveView(console) as view:
        view.update(played)
        view.note("a.png: transparency dropped")
        view.end(played)
    shown = text.getvalue()
    assert "starting Ray" in shown
    assert "tiny: 6/6 trials" in shown
    assert "trial 3" in shown
    assert "transparency dropped" in shown
    Quiet().update(played)
    Quiet().end(played)
