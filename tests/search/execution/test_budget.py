"""Budgets: what ends a search before its last trial, and how it goes on."""

import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_runs import KEYS, experiment, finish, ledger_of, new_run, outcome, play

from dipstage.errors import InputError
from search import Run
from search.analysis.status import sentence, status_of
from search.cli import main
from search.commands.searching import exit_interrupted
from search.execution.budget import trials_without_gain
from search.execution.driver import conclude, drive
from search.execution.ledger import Ledger
from search.execution.view import Quiet
from search.experiment.objectives import Score
from search.store.attributes import write
from search.store.run import RunRecord

PLAIN = Score(25.0, 20.0)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize(
    ("scores", "without"),
    [
        ([], 0),
        ([None, None], 2),
        ([Score(26, 10)], 0),
        ([Score(26, 10), Score(26, 10), Score(25.5, 12)], 2),
        ([Score(26, 10), Score(25.5, 12), Score(26.5, 19)], 0),
        # Better in one objective alone is outside the area above plain DIP.
        ([Score(30, 20), Score(25, 1), None], 3),
    ],
)
def test_a_gain_dominates_plain_dip_and_is_dominated_by_nothing(
    scores: list[Score | None], without: int
) -> None:
    assert trials_without_gain(scores, PLAIN) == without


@pytest.mark.parametrize(
    ("scores", "without"),
    [
        ([Score(25.1 + i / 10, 21 + i) for i in range(9)], 0),
        ([Score(26, 30), Score(26, 10), Score(25.5, 1), Score(25, 1), None], 4),
    ],
)
def test_of_a_single_objective_only_a_rise_is_a_gain(
    scores: list[Score | None], without: int
) -> None:
    assert trials_without_gain(scores, PLAIN, single=True) == without


def test_a_score_that_is_not_finite_is_no_gain_and_hides_none() -> None:
    scores = [Score(math.inf, 1), Score(26, 10), Score(27, -math.inf)]
    assert trials_without_gain(scores, PLAIN) == 1


def drive_until_idle(run: Run, clock: Clock, psnr: list[float], seconds: float) -> Ledger:
    """One driver: each trial takes some seconds, and `psnr` is that of the next trials."""
    ledger = Ledger(run.study, run.experiment, KEYS, clock)
    while psnr and (work := ledger.next()) is not None:
        clock.now += seconds
        value = psnr.pop(0)
        for key in KEYS:
            if key not in work.done:
                ledger.record(work.number, key, outcome(value, 10))
        ledger.finish(work.number, None)
    write(run.study, driven_s=ledger.budget.driven_s)
    return ledger


def test_hours_count_the_active_time_of_all_drivers(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 50, "hours": 0.1}))
    first = drive_until_idle(run, Clock(), [25.0, 25.0, 26.0], 60)
    assert first.ended is None
    # However long nobody drove, only these three minutes and the next three count.
    clock = Clock()
    clock.now = 1e9
    second = drive_until_idle(run, clock, [26.0] * 50, 60)
    assert second.finished
    assert second.ended == "its 0.1 h were used"
    assert len(run.records()) == 6
    assert run.attributes.driven_s == 360


def test_what_was_under_way_when_the_hours_were_used_is_finished(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 50, "hours": 0.1}))
    ledger = Ledger(run.study, run.experiment, KEYS, clock := Clock())
    works = [ledger.next() for _ in range(4)]
    clock.now = 361
    assert ledger.next() is None
    assert not ledger.finished
    for work in works:
        assert work is not None
        for key in KEYS:
            ledger.record(work.number, key, outcome(25.0, 10))
        ledger.finish(work.number, None)
    assert ledger.finished
    # A driver that finds the hours used has nothing to start Ray for.
    write(run.study, driven_s=361.0)
    assert Ledger(run.study, run.experiment, KEYS).finished


class InterruptsTheFirstTrial(Quiet):
    """Interrupts once a replicate is written down, and keeps how much active time was, too."""

    driven_s = 0.0

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        first = run.records()[0]
        if first.replicates:
            assert first.state == "running"
            self.driven_s = run.attributes.driven_s
            raise KeyboardInterrupt


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("every_s", [0.0, 3600.0])
def test_active_time_is_recorded_during_a_trial_and_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    monkeypatch.setattr("search.execution.tuning._EVERY_S", every_s)
    run, view = new_run(tmp_path, experiment()), InterruptsTheFirstTrial()
    with pytest.raises(KeyboardInterrupt):
        drive(run, address=None, view=view)
    assert (view.driven_s > 0) == (every_s == 0)
    assert run.attributes.driven_s > view.driven_s


def test_no_gain_ends_a_search_and_a_later_driver_counts_the_same(tmp_path: Path) -> None:
    until = {"trials": 50, "until": {"no_gain": 3}}
    run = new_run(tmp_path, experiment(search=until, racing={"enabled": False}))
    # Plain DIP, log10, then sampled trials: none is above plain DIP's 20 steps but the second.
    ledger = Ledger(run.study, run.experiment, KEYS)
    plain = ledger.next()
    assert plain is not None
    for key in KEYS:
        ledger.record(plain.number, key, outcome(25.0, 20))
    ledger.finish(plain.number, None)
    drive_until_idle(run, Clock(), [24.0, 24.0, 26.0, 25.5, 25.5], 1)
    assert Ledger(run.study, run.experiment, KEYS).ended is None
    last = drive_until_idle(run, Clock(), [25.5] * 50, 1)
    assert last.ended == "3 trials in a row did not raise the hypervolume above plain DIP"
    assert len(run.records()) == 2 + 5
    assert Ledger(run.study, run.experiment, KEYS).ended == last.ended


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("objective", "plain", "sampled", "ends"),
    [
        ({"against": "none"}, (25.0, 20), [(25.1, 21), (25.2, 22), (25.3, 23)], False),
        ({"against": "none"}, (25.0, 20), [(25.0, 9), (24.0, 5), (25.0, 1)], True),
        # Plain DIP is infeasible, and compared with all the same.
        ({"max_steps": 15}, (25.0, 20), [(24.1, 10), (24.2, 10), (24.3, 10)], True),
        # A difference to an infinite score says nothing.
        ({}, (math.inf, 20), [(25.0, 10)] * 3, False),
        # Nothing is known that SSIM or seconds could be measured from.
        ({"metric": "ssim"}, "diverged", [(25.0, 10)] * 3, False),
        ({"against": "seconds"}, "diverged", [(20.0, 10)] * 3, False),
    ],
)
def test_no_gain_is_counted_from_plain_dip_whatever_is_optimised(
    tmp_path: Path, objective: dict[str, Any], plain: tuple[float, int] | str,
    sampled: list[tuple[float, int]], ends: bool, later: bool,
) -> None:  # fmt: skip
    run = new_run(
        tmp_path,
        experiment(
            objective=objective,
            candidates=["baseline"],
            search={"trials": 50, "until": {"no_gain": 3}},
            racing={"enabled": False},
        ),
    )
    ledger = ledger_of(run)
    for score in (plain, *sampled):
        work = ledger.next()
        assert work is not None
        if isinstance(score, str):
            ledger.finish(work.number, score)
        else:
            finish(ledger, work, *score)
    ledger = ledger_of(run) if later else ledger
    assert (ledger.next() is None) == ends
    assert (ledger.ended is not None) == ends
    if ends:
        measure = "best max PSNR_GT" if "against" in objective else "hypervolume above plain DIP"
        assert ledger.ended == f"3 trials in a row did not raise the {measure}"


@pytest.mark.ray
def test_a_search_that_ended_early_is_done_until_more_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 9, "until": {"no_gain": 2}}))
    ledger = drive_until_idle(run, Clock(), [25.0] * 9, 1)
    write(run.study, ended=ledger.ended)
    status = status_of(run)
    assert (status.done, status.wanted, status.seconds_left) == (4, 4, 0.0)
    assert "ended early because 2 trials in a row" in sentence(status)
    assert drive(run, address=None).attributes.ended == ledger.ended
    assert len(run.records()) == 4
    monkeypatch.setattr("search.execution.driver._work", lambda *_, **__: None)
    reopened = drive(run, hours=3, address=None).attributes
    assert (reopened.ended, reopened.hours, reopened.trials) == (None, 3, 9)
    # The trials that had ended no longer count as trials without a gain.
    assert Ledger(run.study, run.experiment, KEYS).ended is None


def on(run: Run, *arguments: str) -> tuple[int, str]:
    """`dipsearch resume` on a run."""
    options = ["resume", run.name, "--runs-dir", str(run.folder.parent), *arguments]
    result = CliRunner().invoke(main, options)
    return result.exit_code, result.output


@pytest.mark.long
def test_finish_concludes_with_front_schedule_and_report_and_trains_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 50}))
    drive_until_idle(run, Clock(), [25.0, 24.0, 26.0], 1)
    under_way = Ledger(run.study, run.experiment, KEYS).next()
    assert under_way is not None
    code, said = on(run, "--finish")
    assert code == 0
    assert "the search ended early because --finish was asked for" in said
    assert f"--runs-dir {tmp_path} --trials 50" in said
    for name in ("best.yaml", "pareto.csv", "front.png", "report.html"):
        assert (run.folder / name).stat().st_size
    status = status_of(run)
    assert (status.done, status.wanted, status.running) == (3, 3, 0)
    # What was under way is not lost: it goes on once more is asked for.
    write(run.study, ended=None)
    assert Ledger(run.study, run.experiment, KEYS).next() == under_way


def test_finish_is_refused_without_a_trial_and_beside_a_larger_budget(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    with pytest.raises(InputError, match="no complete trial, so there is nothing to conclude"):
        conclude(run)
    assert run.attributes.ended is None
    code, said = on(run, "--finish", "--trials", "9")
    assert code == 2
    assert "--finish trains nothing: leave out --trials, --hours, --experiment" in said
    code, said = on(run, "--hours", "0")
    assert code == 2
    assert "--hours must be above 0 and at most 100,000, got 0" in said


@pytest.mark.parametrize("complete", [0, 1])
def test_after_ctrl_c_finish_is_suggested_once_it_can_conclude(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], complete: int
) -> None:
    run = new_run(tmp_path, experiment())
    ledger = Ledger(run.study, run.experiment, KEYS)
    for _ in range(complete):
        work = ledger.next()
        assert work is not None
        for key in KEYS:
            ledger.record(work.number, key, outcome(25.0, 10))
        ledger.finish(work.number, None)
    with pytest.raises(SystemExit) as ended:
        exit_interrupted(tmp_path / "tiny")
    assert ended.value.code == 130
    shown, resume = capsys.readouterr(), f"dipsearch resume tiny --runs-dir {tmp_path}"
    assert shown.out.startswith(f"tiny: {complete}/6 trials, 0 running")
    told = [f"interrupted; continue with: {resume}", f"or end it here with: {resume} --finish"]
    assert shown.err.splitlines() == told[: 1 + complete]


def test_finish_of_a_whole_search_does_not_call_it_early(tmp_path: Path) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (25.0 + number, 10))
    conclude(run)
    assert run.attributes.ended is None
