"""Searches from Python: what is written and shown, and what objects look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_runs import KEYS, experiment, new_run, play, trial

import search
from dipstage import InputError, ScheduleFile, load_picture, parse_preset, save_schedule
from search import Quiet, Run
from search.analysis.status import sentence
from search.execution import driver
from search.notebook import NotebookView, chosen_view

RESULTS = ["best.yaml", "front.png", "pareto.csv", "report.html"]


@pytest.mark.long
def test_launch_writes_what_the_command_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(asked: search.Experiment, **options: Any) -> Run:
        assert isinstance(options["view"], Quiet), "nothing is shown without a terminal"
        return play(new_run(tmp_path, asked), lambda number: (25.0 + number, 10 + number))

    monkeypatch.setattr(driver, "launch", played)
    run = search.launch(experiment(), runs_dir=str(tmp_path))
    assert sorted(path.name for path in run.folder.glob("*.*")) == sorted(
        [*RESULTS, "experiment.yaml", "study.db"]
    )


@pytest.mark.long
def test_a_search_without_a_front_still_returns_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: "diverged")
    monkeypatch.setattr(driver, "drive", lambda *_, **options: run)

    def fail(*_: object) -> None:
        raise RuntimeError("no space")

    monkeypatch.setattr("search.report.write_report", fail)
    with pytest.warns(UserWarning, match="the report could not be written: no space"):
        resumed = search.resume("tiny", runs_dir=tmp_path)
    assert resumed.front() == []
    assert not (run.folder / "best.yaml").exists()


def test_trials_are_picked_by_number(played: Run, tmp_path: Path) -> None:
    assert played.pick(2).number == 2
    assert played.export(2, str(tmp_path / "two.yaml")) == tmp_path / "two.yaml"


def test_replicates_are_a_table_with_a_row_each(played: Run) -> None:
    table = played.replicates()
    assert len(table) == 5 * len(KEYS), "a trial failed"
    assert set(table["role"]) == {"candidate", "sampled"}
    first = table[table["trial"] == 0]
    assert sorted(first["picture"] + "-seed" + first["seed"].astype(str)) == sorted(KEYS)
    assert played.status().done == 6


def test_paths_are_texts_or_paths(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(experiment().yaml())
    assert search.load_experiment(str(file)) == search.load_experiment(file)
    schedule = parse_preset("log10").schedule(30)
    save_schedule(str(tmp_path / "s.yaml"), ScheduleFile(schedule))
    picture = load_picture("skimage:chelsea", size=16, multiple=2)
    with pytest.raises(InputError, match="does not exist"):
        load_picture(tmp_path / "none.png")
    assert repr(picture) == "<Picture 'skimage:chelsea': 16 × 16, 3 channels>"
    assert repr(schedule) == "<Schedule of 3 stages, ramp 10 of 30 iterations>"


def test_objects_are_shown_in_a_line(played: Run) -> None:
    trials = played.records()
    assert repr(trials[0]) == "<Trial 0 (baseline): complete, 25.00 dB at 20>"
    assert repr(trials[4]) == "<Trial 4: failed>"
    cut = trial(7, 25.0, 20, censored=True)
    assert repr(cut) == "<Trial 7: complete, 25.00 dB at ≥ 20>"
    replicate = trials[0].replicates["chelsea-seed0"]
    assert repr(replicate) == "<Replicate: 25.00 dB at 20, budget after 30 iterations>"
    assert repr(played.experiment) == "<Experiment 'tiny': 4 trials and 2 candidates>"
    one = experiment(search={"trials": 1}, candidates=["baseline"])
    assert repr(one) == str(one) == "<Experiment 'tiny': 1 trial and 1 candidate>"
    assert repr(played.status()) == f"<Status: {sentence(played.status())}>"


class Shown:
    """A display of IPython that keeps what it shows."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def __call__(self, page: str, display_id: bool) -> Shown:
        self.update(page)
        return self

    def update(self, page: str) -> None:
        """Show another page in place of the last."""
        self.pages.append(page)


def test_a_notebook_shows_status_and_notices_escaped(played: Run) -> None:
    shown = Shown()
    view = NotebookView(shown, lambda page: page)
    view.note("a<b.png: cropped")
    for _ in range(3):
        view.update(played)
    view.end(played)
    assert shown.pages[0] == "<div>starting Ray …</div>"
    assert "a&lt;b.png: cropped" in shown.pages[-1]
    assert "tiny: 6/6 trials, 0 running, 1 failed, best 27.00 dB at 18" in shown.pages[-1]
    assert len(shown.pages) <= 4, "not more than once a second"


def test_a_view_of_one_s_own_goes_first() -> None:
    own = Quiet()
    with chosen_view(own) as view:
        assert view is own
