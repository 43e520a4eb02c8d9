"""What a search prints and writes once it has ended."""

from pathlib import Path

import pytest
from fake_runs import experiment, new_run
from PIL import Image
from reported_runs import play_with_files

from search import Run
from search.commands.searching import _show_results
from search.store.attributes import write

pytestmark = pytest.mark.long

SCORES: dict[int, tuple[float, int] | str] = {
    0: (25.0, 20), 1: (26.0, 19), 2: (27.0, 18), 3: (24.0, 10), 4: "diverged", 5: (27.0, 25),
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two candidates and four sampled trials with curves and pictures; trial 4 failed."""
    return play_with_files(new_run(tmp_path, experiment()), SCORES.__getitem__)


def test_a_search_ends_by_naming_its_report_also_where_no_trial_is_complete(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _show_results(run, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {run.folder / 'report.html'}"
    failed = play_with_files(new_run(tmp_path / "f", experiment()), lambda _: "diverged")
    with pytest.raises(SystemExit):
        _show_results(failed, as_json=False)
    assert f"report: {failed.folder / 'report.html'}" in capsys.readouterr().out
    assert "All 6 trials that ended have failed" in (failed.folder / "report.html").read_text()
    never = experiment(objective={"max_steps": 1}, search={"trials": 4, "hours": 0.5})
    ended = play_with_files(new_run(tmp_path / "n", never), SCORES.__getitem__)
    write(ended.study, ended="0.5 h of search were used", driven_s=1800.0)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        _show_results(Run.open("tiny", tmp_path / "n"), as_json=False)
    shown = capsys.readouterr()
    assert "the search ended early because 0.5 h of search were used" in shown.out
    assert "no feasible trial yet: all that are complete violate max_steps 1" in shown.err
    assert f"dipsearch resume tiny --runs-dir {tmp_path / 'n'} --hours 1\n" in shown.err
    write(ended.study, ended="--finish was asked for", driven_s=60.0)
    with pytest.raises(SystemExit):
        _show_results(Run.open("tiny", tmp_path / "n"), as_json=False)
    assert " --trials 4 --hours 0.5\n" in capsys.readouterr().err


def test_a_search_suggests_lines_for_its_own_pictures_and_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pattern in a folder with a space is a file that a shell can take."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name in ("b", "a"):
        Image.new("RGB", (32, 32), {"a": "red", "b": "blue"}[name]).save(folder / f"{name}.png")
    own = experiment(images=[str(folder / "*.png")], seeds=[0], objective={"metric": "ssim"})
    keys = ["a-seed0", "b-seed0"]
    run = play_with_files(new_run(tmp_path, own), SCORES.__getitem__, keys=keys)
    _show_results(run, as_json=False)
    shown = capsys.readouterr().out
    assert f"dipstage run '{folder / 'a.png'}' --size 16 --schedule " in shown
    assert "--pick ssim --output highest.yaml" in shown
    for path in folder.iterdir():
        path.unlink()
    _show_results(run, as_json=False)
    assert "dipstage run PICTURE --size 16" in capsys.readouterr().out


def test_a_drawing_that_fails_costs_no_schedule(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(drawn: Run) -> None:
        raise ValueError("no font")

    monkeypatch.setattr("search.plots.front.plot_front", broken)
    with pytest.raises(ValueError, match="no font"):
        _show_results(run, as_json=False)
    assert (run.folder / "best.yaml").exists()
    assert (run.folder / "pareto.csv").exists()
