"""Objectives of installed packages, found as pip installs them: by a dist-info folder."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_runs import KEYS, experiment, ledger_of, new_run, outcome

from dipstage.errors import InputError
from search import Run, resume
from search.analysis.comparison import history
from search.analysis.importance import importance_of
from search.execution.custom import installed
from search.execution.driver import launch
from search.experiment.objectives import Objective
from search.presentation.front import front_rows
from search.report import page
from search.terminal.sketch import sketch

MODULE = """
class Kept:
    direction = "maximize"

    def __call__(self, replicate):
        return replicate.raw.final_psnr_gt_db

class Fallen:
    direction = "minimize"

    def __call__(self, replicate):
        return replicate.raw.max_psnr_gt_db - replicate.raw.final_psnr_gt_db

kept, fallen, nothing = Kept(), Fallen(), 3
"""
ENTRIES = """[dipsearch.objectives]
kept = kept_package:kept
fallen = kept_package:fallen
nothing = kept_package:nothing
broken = kept_package:missing
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is installed in a folder on the path."""
    info = tmp_path / "kept_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kept-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "kept_package.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("package")
def test_an_installed_objective_gets_the_record_of_a_replicate() -> None:
    found = installed(Objective(metric="kept", against="fallen"))
    assert {name: each(outcome(27.0, 12)) for name, each in found.items()} == {
        "kept": 26.0, "fallen": 1.0
    }  # fmt: skip
    assert installed(Objective()) == {}


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (Objective(metric="lpips"), r"metric must be psnr, ssim or .*\(broken, fallen, kept, noth"),
        (Objective(metric="fallen"), "fallen must be callable and have the direction maximize, go"),
        (Objective(against="kept"), "objective.against: kept must be callable and have the direc"),
        (Objective(metric="nothing"), "nothing must be callable and have the direction maximize"),
        (Objective(metric="broken"), "broken cannot be imported: AttributeError"),
    ],
)
def test_what_is_not_installed_as_asked_is_refused(objective: Objective, words: str) -> None:
    with pytest.raises(InputError, match=words):
        installed(objective)


def test_a_search_without_its_objective_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"objective.metric must be psnr, ssim .*got 'lpips'"):
        launch(experiment(objective={"metric": "lpips"}), runs_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
def test_a_search_without_its_objective_does_not_go_on(tmp_path: Path) -> None:
    new_run(tmp_path, experiment(objective={"metric": "lpips"}))
    with pytest.raises(InputError, match=r"objective.metric must be psnr, ssim .*got 'lpips'"):
        resume("tiny", trials=9, runs_dir=tmp_path)
    run = Run.open("tiny", tmp_path)
    assert (run.trials_wanted, run.records()) == (4, [])


@pytest.mark.long
@pytest.mark.parametrize(
    ("objective", "odd", "number"),
    [
        ({"metric": "kept"}, math.inf, 0),
        ({"metric": "kept"}, -math.inf, 5),
        ({"against": "fallen"}, math.inf, 1),
        ({"metric": "kept", "against": "none"}, math.inf, 5),
    ],
)
def test_a_trial_of_infinite_value_is_listed_and_not_drawn(
    tmp_path: Path, objective: dict[str, str], odd: float, number: int
) -> None:
    """Be it plain DIP, another candidate or a sampled trial."""
    tiny = experiment(objective=objective, search={"trials": 9}, racing={"enabled": False})
    run = new_run(tmp_path, tiny)
    ledger = ledger_of(run)
    while (work := ledger.next()) is not None:
        for key in KEYS:
            at_all = odd if (work.number, key) == (number, KEYS[1]) else 9.0 + work.number
            scores = replace(
                outcome(25.0 + work.number, 10), objectives={"kept": at_all, "fallen": at_all}
            )
            ledger.record(work.number, key, scores)
        ledger.finish(work.number, None)
    records = run.records()
    assert records[number].values is not None
    assert {trial.state for trial in records} == {"complete"}
    drawn = sketch(records, 60, 12, run.objective).plain
    assert "inf" not in drawn
    assert sum(drawn.count(mark) for mark in "·◇●◆") >= 1
    areas = [moment.hypervolume for moment in history(run)]
    assert all(map(math.isfinite, areas))
    assert areas[-1] > 0
    relations = {row.trial.number: row.relation for row in front_rows(records, run.objective)}
    assert relations.get(number, "an objective is infinite") == "an objective is infinite"
    [axes] = run.plot_front().axes
    places = [line.get_xydata() for line in axes.lines]
    assert all(np.isfinite(np.asarray(place)).all() for place in places)
    assert not importance_of(run).reason
    assert f'"n":{number}' in page.make(run).text.replace(" ", "")
