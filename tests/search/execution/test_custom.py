"""Objectives of installed packages, found as pip installs them: by a dist-info folder."""

from pathlib import Path

import pytest
from fake_runs import experiment, outcome

from dipstage.errors import InputError
from search.execution.custom import installed
from search.execution.driver import launch
from search.experiment.objectives import Objective

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
