"""The front with constraints and with a single objective, from the ledger to what people see."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from fake_runs import CONTENT, KEYS, experiment, new_run, outcome, play
from rich.console import Console

from dipstage.errors import InputError
from search import Run
from search.analysis.comparison import check_comparable, history
from search.analysis.importance import importance_of
from search.analysis.status import sentence, status_of
from search.execution.ledger import Ledger
from search.execution.sampler import SearchedTrials
from search.presentation.front import front_rows
from search.report.advice import advise
from search.report.page import make
from search.terminal.tables import front_table, trials_table
from search.verification.declared import Request
from search.verification.plan import new_plan

SCORES = {0: (25.0, 20), 1: (28.0, 25), 2: (26.0, 10), 3: (29.0, 28), 4: (27.0, 18), 5: (24.0, 5)}


def searched(runs_dir: Path, **changes: Any) -> Run:
    """A played run of two candidates and four sampled trials."""
    return play(new_run(runs_dir, experiment(**changes)), lambda number: SCORES[number])


@pytest.fixture
def limited(tmp_path: Path) -> Run:
    """At most 20 steps: trials 1 (a candidate) and 3 have the highest PSNR_GT and exceed them."""
    return searched(tmp_path, objective={"max_steps": 20})


def test_a_trial_that_violates_a_constraint_is_never_on_the_front(limited: Run) -> None:
    trials = limited.records()
    assert [t.number for t in trials if not t.feasible] == [1, 3]
    assert trials[3].violations == {"max_steps": 8.0}
    assert [t.number for t in limited.front()] == [5, 2, 4]
    assert limited.pick("psnr").number == 4
    assert limited.pick("3").number == 3, "by its number it can be taken"
    status = status_of(limited)
    assert (status.best, status.infeasible) == ("trial 4", 2)
    assert "best 27.00 dB at 18 (trial 4)" in sentence(status)
    assert [bool(value) for value in limited.trials()["feasible"]] == [t.feasible for t in trials]
    # Each step more than 20 dominates nothing, so the hypervolume is that of the front.
    assert history(limited)[-1].hypervolume == pytest.approx(
        (24 - 20.172) * 25 + (26 - 24) * 20 + (27 - 26) * 12, abs=0.1
    )


def test_an_infeasible_candidate_is_shown_as_such(limited: Run) -> None:
    rows = {row.trial.number: row for row in front_rows(limited.records(), limited.objective)}
    assert rows[1].relation == "infeasible: max_steps"
    assert not rows[1].on_front
    assert "log10" not in rows[4].relation
    console = Console(width=250)
    with console.capture() as capture:
        console.print(trials_table(limited))
    assert capture.get().count("complete, infeasible: max_steps") == 2
    assert '"infeasible":"infeasible: max_steps"' in make(limited).text
    lines = limited.plot_front().axes[0].lines
    steps = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in lines}
    assert (steps["candidate"], steps["candidate, infeasible"]) == ([20], [25])


def test_the_sampler_learns_the_constraint_also_after_a_restart(limited: Run) -> None:
    stored = limited.study.get_trials(deepcopy=False)
    assert stored[3].constraints == {"max_steps": 8.0}
    assert stored[4].constraints == {"max_steps": -2.0}
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=0)
    memory = SearchedTrials(sampler, limited.study, stored)._memory
    assert [t.constraints["max_steps"] for t in memory.trials] == [-10.0, 8.0, -2.0, -15.0]
    trial = Ledger(limited.study, limited.experiment, KEYS)._searched
    assert [t.constraints["max_steps"] for t in trial._memory.trials] == [-10.0, 8.0, -2.0, -15.0]


def test_a_raced_trial_violates_a_constraint_by_its_estimate(tmp_path: Path) -> None:
    """Nine good trials, then one whose first two replicates are far worse and too late."""
    limits = {"max_steps": 15, "min_psnr_gt_db": 24}
    run = new_run(tmp_path, experiment(search={"trials": 9}, objective=limits))
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        last = work.number == 10
        for i, key in enumerate(KEYS[: 2 if last else 4]):
            psnr = (20.0 if last else 26.0 + 0.01 * work.number) + 0.1 * i
            ledger.record(work.number, key, outcome(psnr, 28 if last else 12))
        assert ledger.race(work.number) is last
        ledger.finish(work.number, None)
    raced = run.records()[10]
    assert raced.state == "raced"
    assert raced.estimate is not None
    assert raced.violations["max_steps"] == pytest.approx(raced.estimate[1] - 15)
    assert raced.violations["min_psnr_gt_db"] == pytest.approx(24 - raced.estimate[0])
    assert raced.infeasible_words == "infeasible: max_steps, min_psnr_gt_db"


@pytest.mark.long
def test_without_a_feasible_trial_every_place_says_so(tmp_path: Path) -> None:
    run = searched(tmp_path, objective={"min_psnr_gt_db": 40, "max_steps": 26})
    words = "no feasible trial yet: all that are complete violate max_steps 26 or min_psnr_gt_db 40"
    with pytest.raises(InputError, match=words):
        run.pick("knee")
    with pytest.raises(InputError, match=rf"{words} \(by 11 or more\)$"):
        run.export()
    advice = advise(run, run.records(), status_of(run), None, driver=False)
    assert advice.number is None
    assert words in advice.sure[0]
    assert "6 infeasible" in sentence(status_of(run))
    assert make(run).text
    assert run.plot_front().caption.startswith("front of 0")


@pytest.mark.long
def test_with_one_objective_the_front_is_the_best_trial(tmp_path: Path) -> None:
    run = searched(tmp_path, objective={"against": "none", "max_steps": 26})
    assert [t.number for t in run.front()] == [1]
    assert {run.pick(which).number for which in ("knee", "psnr", "steps")} == {1}
    [first, *others] = front_rows(run.records(), run.objective)
    assert (first.name, first.relation) == ("log10", "better than baseline")
    assert [row.relation for row in others] == ["behind log10"]
    assert run.records()[4].values == (27.0, 18.0), "steps are kept for information"
    assert "best 28.00 dB at 25 (log10)" in sentence(status_of(run))
    memory = Ledger(run.study, run.experiment, KEYS)._searched._memory
    assert memory.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert [trial.values for trial in memory.trials] == [[26.0], [29.0], [27.0], [24.0]]
    assert history(run)[-1].hypervolume == pytest.approx(28 - 20.17, abs=0.01)
    assert list(importance_of(run).values) in ([], ["max_psnr_gt_db"])
    assert len(front_table(run)._rows) == 2
    assert "the best" in make(run).text
    assert run.plot_front().caption.startswith("front of 1")
    with pytest.raises(InputError, match="psnr against none"):
        check_comparable([run, Run.of(searched(tmp_path / "other", name="other"))])
    with pytest.raises(InputError, match="optimised max PSNR_GT, and a verification judges"):
        new_plan(run, Request(images=("skimage:coins",)))


def test_racing_goes_on_with_one_objective(tmp_path: Path) -> None:
    """A slower schedule of lower PSNR_GT is stopped, and so is a faster one."""
    run = new_run(tmp_path, experiment(search={"trials": 10}, objective={"against": "none"}))
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        last = work.number >= 10
        for i, key in enumerate(KEYS[: 2 if last else 4]):
            psnr = (20.0 if last else 26.0 + 0.01 * work.number) + 0.1 * i
            ledger.record(work.number, key, outcome(psnr, 28 if work.number == 10 else 1))
        assert ledger.race(work.number) is last
        ledger.finish(work.number, None)
    assert [t.state for t in run.records()[10:]] == ["raced", "raced"]


@pytest.mark.long
def test_ssim_and_seconds_are_objectives_with_their_own_names_and_digits(tmp_path: Path) -> None:
    run = searched(tmp_path, objective={"metric": "ssim", "against": "seconds"})
    best = run.front()[0]
    assert best.number == 5
    assert best.values == (0.75, 6 / 12.0), "12 iterations a second, to the maximum of SSIM_GT"
    assert run.trials()["seconds_to_max_ssim_gt"][5] == 0.5
    assert "best max SSIM_GT 0.750 at 0.5 s (trial 5)" in sentence(status_of(run))
    columns = [*front_table(run)._columns]
    assert columns[1:3] == ["seconds to max SSIM", "max SSIM_GT"]
    page = make(run).text
    assert "seconds to max SSIM (s)" in page
    assert "it has max SSIM_GT 0.750 at 0.5 s, and plain DIP (baseline) has max SSIM_GT" in page
    assert run.plot_front()
    assert run.study.metric_names == ["max_ssim_gt", "seconds_to_max_ssim_gt"]
    assert run.pick("ssim") == run.pick("psnr") == run.front()[-1]
    assert run.pick("seconds") == run.front()[0]
    path = run.export("ssim", tmp_path / "highest.yaml")
    assert f"trial: {run.front()[-1].number}\n" in path.read_text()


def test_the_default_objective_is_that_of_earlier_versions(tmp_path: Path) -> None:
    run = searched(tmp_path)
    assert run.study.metric_names == ["max_psnr_gt_db", "steps_to_max"]
    assert "feasible" not in run.trials()
    assert CONTENT["name"] == run.name
    assert all(not trial.violations for trial in run.records())
