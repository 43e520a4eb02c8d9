"""What is shown while a search runs."""

import functools
import io
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import KEYS, experiment, new_run, outcome, play
from played_verification import gains, interrupt, searched, verified
from processes import finish
from rich.cells import cell_len
from rich.console import Console

from search import Run
from search.cli import main
from search.execution.ledger import Ledger
from search.execution.view import Quiet
from search.store.attributes import write
from search.store.lease import leased, verifying
from search.terminal.progress import Lines, LiveView, drawn
from search.terminal.sketch import sketch
from search.terminal.watch import IDLE, unfinished, wait_for, watch
from search.verification.parts import HELD_OUT, TUNING, Parts


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


def test_a_line_says_that_ray_starts_and_none_before() -> None:
    text = io.StringIO()
    view = Lines(Console(file=text, width=200))
    assert text.getvalue() == ""
    view.starting()
    words = "starting; Ray alone can take half a minute …\n"
    assert text.getvalue().split(" ", 1)[1] == words


def test_the_live_view_leaves_its_last_state_on_the_screen(played: Run) -> None:
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
    last = shown.rindex("tiny: 6/6 trials")
    assert "\x1b[2K" not in shown[last:], "nothing is erased after it"
    with LiveView(Console(file=(begun := io.StringIO()), force_terminal=True, width=80)):
        pass
    assert begun.getvalue().rstrip().endswith("\x1b[2K"), "without a run, nothing stays"
    Quiet().update(played)
    Quiet().end(played)


def screen(run: Run, width: int, height: int, below: str | None = None) -> list[str]:
    """What a terminal of this size shows."""
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as shown:
        console.print(drawn(run, console, below))
    return [line.rstrip() for line in shown.get().splitlines()]


@pytest.mark.long
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 16), (40, 8)])
def test_the_view_fits_the_terminal(tmp_path: Path, width: int, height: int) -> None:
    named = experiment(candidates=[f"uniform:stages={n}" for n in range(2, 30)])
    run = play(new_run(tmp_path, named), lambda n: (25.0 + n / 10, 10 + n))
    lines = screen(run, width, height, "no driver; go on with: dipsearch resume tiny " + "x" * 99)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert lines[0].startswith("tiny: 32/32 trials")
    assert any("best 28.10 dB at 41 (trial 31)" in line[:40] or "…" in line for line in lines)
    assert ("● front" in "".join(lines)) == (width >= 80)


def test_the_plot_has_the_front_where_it_is_and_leaves_out_what_is_far_below(
    tmp_path: Path,
) -> None:
    scores = {
        0: (25.0, 20),
        1: (26.0, 15),
        2: (27.0, 18),
        3: (24.0, 10),
        4: (12.0, 99),
        5: (26, 25),
    }
    run = play(new_run(tmp_path, experiment()), lambda number: scores[number])
    lines = sketch(run.records(), 40, 12, run.objective).plain.splitlines()
    assert len(lines) == 12
    assert {len(line) for line in lines[:-1]} == {40}
    plot = [line[8:] for line in lines[:10]]
    assert plot[9][0] == "●"  # Fewest steps, lowest.
    assert plot[0][round(8 / 15 * 31)] == "●"  # The highest.
    assert "".join(plot).count("●") == 2
    assert "".join(plot).count("◆") == 1
    assert "".join(plot).count("◇") == 1
    assert lines[0].startswith(" 27.00 │")
    assert lines[9].startswith(" 24.00 │")
    assert "1 below" in lines[11]
    assert sketch(run.records(), 40, 12, run.objective, ascii_only=True).plain.isascii()


@pytest.mark.parametrize(
    ("left_s", "words"), [(None, "45 s left"), (6.0, "15 s left"), (0.0, "5 s left")]
)
def test_pace_and_time_left_are_shown_while_trials_run(
    tmp_path: Path, left_s: float | None, words: str
) -> None:
    run = new_run(tmp_path, experiment())
    ledger = Ledger(run.study, run.experiment, KEYS)
    for number in range(2):
        work = ledger.next()
        assert work is not None
        for key in KEYS[: 4 - 2 * number]:
            ledger.record(work.number, key, outcome(25.0, 10))
        if number == 0:
            ledger.finish(work.number, None)
    if left_s is not None:
        write(run.study, hours=0.1, driven_s=360 - left_s)
    # Trials of 10 s; half of one is done, and four have not begun.
    assert screen(run, 80, 24)[3] == f"360 trials an hour, {words}"


def test_watch_prints_lines_until_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text = new_run(tmp_path, experiment()), io.StringIO()
    ledger = Ledger(run.study, run.experiment, KEYS)

    def one_more(seconds: float) -> None:
        work = ledger.next()
        assert work is not None
        for key in KEYS:
            ledger.record(work.number, key, outcome(25.0, 10))
        ledger.finish(work.number, None)

    monkeypatch.setattr("search.terminal.watch.time.sleep", one_more)
    watch(Run.open("tiny", tmp_path), Console(file=text, width=200), lambda current: "")
    lines = [line.split(" ", 1)[1].split(",")[0] for line in text.getvalue().splitlines()]
    assert lines == [f"tiny: {done}/6 trials" for done in range(6)]


def test_a_log_of_watch_says_once_that_nobody_drives_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text, looks = new_run(tmp_path, experiment()), io.StringIO(), []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3 * IDLE:
            play(run, lambda number: (25.0 + number, 10))

    monkeypatch.setattr("search.terminal.watch.time.sleep", look)
    watch(Run.open("tiny", tmp_path), Console(file=text, width=200), lambda _: "go on with")
    lines = text.getvalue().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["tiny: 0/6 trials, 0 running", "on with"]


def test_watch_waits_for_a_run_that_is_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, waited = io.StringIO(), []

    def begin(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            new_run(tmp_path, experiment())

    monkeypatch.setattr("search.terminal.watch.time.sleep", begin)
    begins = tmp_path / "tiny" / "experiment.yaml"
    run = wait_for(lambda: Run.open("tiny", tmp_path), begins, Console(file=text, width=200))
    assert run.name == "tiny"
    assert len(waited) == 2
    assert text.getvalue() == f"tiny has not begun: waiting for it in {tmp_path} (Ctrl-C ends)\n"


def test_watch_looks_for_a_path_where_it_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is there but cannot be opened is not waited for."""

    def wait(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.terminal.watch.time.sleep", wait)
    watch = functools.partial(CliRunner().invoke, main, ["status", "elsewhere/tiny", "--watch"])
    assert "tiny has not begun: waiting for it in elsewhere (Ctrl-C ends)" in watch().output
    (new_run(tmp_path / "elsewhere", experiment()).folder / "study.db").write_text("damaged")
    refused = watch()
    assert refused.exit_code == 2
    assert "waiting" not in refused.output


def test_watch_in_a_terminal_says_how_to_resume_what_nobody_drives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, text = new_run(tmp_path, experiment()), io.StringIO()

    def play_on(seconds: float) -> None:
        if "go on with: resume tiny" in text.getvalue():
            play(run, lambda number: (25.0 + number, 10))

    monkeypatch.setattr("search.terminal.watch.time.sleep", play_on)
    console = Console(file=text, force_terminal=True, width=80, height=24)
    watch(Run.open("tiny", tmp_path), console, lambda current: f"go on with: resume {current.name}")
    assert "go on with: resume tiny" in text.getvalue()


@pytest.mark.long
def test_watch_goes_on_between_the_parts_of_a_verification_that_is_driven(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    parts = Parts(run)
    assert unfinished(run, parts) is None
    for name, shown in ((HELD_OUT, "tiny/learning-rate"), (TUNING, "tiny")):
        shutil.rmtree(run.folder / name)
        assert unfinished(run, parts) is None, "nobody drives it"
        with leased(run.storage, verifying("tiny"), "the verification"):
            left = unfinished(run, parts)
        assert left is not None
        current, driver = left
        assert current.name == shown
        assert driver is not None


@pytest.mark.long
def test_watch_takes_who_drives_a_verification_for_the_driver_of_its_parts(tmp_path: Path) -> None:
    """A part has a lease of its own only once its trainings begin."""
    run = searched(tmp_path)
    verified(run, gains())
    interrupt(run, HELD_OUT)
    left = unfinished(run, Parts(run))
    assert left is not None
    assert left[1] is None
    with leased(run.storage, verifying("tiny"), "the verification"):
        left = unfinished(run, Parts(run))
    assert left is not None
    assert left[1] is not None


@pytest.mark.long
def test_status_watch_ends_with_the_status(played: Run) -> None:
    for flags, code, words in (
        (["--watch"], 0, "tiny: 6/6 trials"),
        (["--watch", "--json"], 2, "give one of them"),
        (["--watch", "--address", "http://127.0.0.1:9"], 2, "dipsearch logs tiny --follow"),
    ):
        done, output = finish("status", "tiny", *flags, runs_dir=played.folder.parent)
        assert done == code, output
        assert words in output
