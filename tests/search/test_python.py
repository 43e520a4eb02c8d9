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


@pytest.fixture
def nothing_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that end write no results: these tests are about their arguments."""
    monkeypatch.setattr("search.commands.results.write_results", lambda _: [])
    monkeypatch.setattr("search.report.write_report", lambda *_: None)


@pytest.mark.usefixtures("nothing_written")
def test_a_run_is_named_by_a_text_a_path_or_itself(
    played: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven: list[Path] = []

    def drive(run: Run, **_: object) -> Run:
        driven.append(run.folder)
        return run

    monkeypatch.setattr(driver, "drive", drive)
    assert Run.open(played.folder).name == "tiny"
    home = played.folder.parent
    for name in (played.folder, str(played.folder)):
        search.resume(name, view=Quiet())
    search.resume(Path("tiny"), runs_dir=home, view=Quiet())
    search.resume(played, view=Quiet())
    assert driven == [played.folder] * 4
    with pytest.raises(InputError, match="'tiny'> is open: leave out runs_dir and storage"):
        search.resume(played, runs_dir=home)
    for wrong in (None, 5, b"tiny", played):
        with pytest.raises(InputError, match="a run is opened by its name or a path to its folder"):
            Run.open(wrong)  # type: ignore[arg-type]


@pytest.mark.usefixtures("nothing_written")
def test_an_experiment_is_given_as_such_or_by_its_file_or_name(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def launched(asked_for: search.Experiment, **_: object) -> Run:
        asked.append(asked_for.name)
        return played

    def driven(run: Run, given: search.Experiment, **_: object) -> Run:
        asked.append(given.name)
        return run

    monkeypatch.setattr(driver, "launch", launched)
    monkeypatch.setattr(driver, "drive", driven)
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(experiment(name="e").yaml())
    for given in ("quickstart", "e.yaml", Path("e.yaml"), experiment()):
        search.launch(given, view=Quiet())
    search.resume(played, experiment="e.yaml", view=Quiet())
    assert asked == ["quickstart", "e", "e", "tiny", "e"]
    for wrong in (None, 5, "", {"name": "x"}):
        with pytest.raises(InputError, match="an experiment is given by its file or its name, got"):
            search.launch(wrong)  # type: ignore[arg-type]
    for overrides in (None, "name=x", [5]):
        with pytest.raises(InputError, match="overrides must be a list of texts KEY=VALUE, got"):
            search.load_experiment("e.yaml", overrides)  # type: ignore[arg-type]
    assert search.load_experiment("e.yaml", ["name=x"]).name == "x"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"name": 5}, r'^name: must be a text, got 5: write "5", in quotes$'),
        ({"sizes": 16}, r"^sizes: unknown key: known are name, images"),
        ({"images": ...}, r"^images: is missing$"),
    ],
)
def test_an_experiment_made_in_python_is_refused_in_a_sentence(
    content: dict[str, Any], said: str
) -> None:
    whole = {**experiment().model_dump(), **content}
    with pytest.raises(InputError, match=said):
        search.Experiment(**{key: value for key, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"address": ""}, "--address must be that of a Ray cluster, got ''"),
        ({"address": 5}, "--address must be that of a Ray cluster, got 5"),
        ({"runs_dir": ""}, "--runs-dir is blank"),
        ({"runs_dir": 5}, "--runs-dir must be a folder's path, got 5"),
        ({"runs_dir": Path("a\0b")}, "--runs-dir has a control character"),
        ({"storage": ""}, "--storage is no database address"),
        ({"storage": 5}, "--storage is no database address"),
        ({"storage": "sqlite:///a\0b"}, "--storage is no database address"),
        ({"storage": "postgresql://host:port/name"}, "--storage is no database address"),
    ],
)
def test_places_that_are_none_are_refused(
    played: Run, tmp_path: Path, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        search.launch(experiment(), **{"runs_dir": tmp_path / "new", **option})
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match=said):
        search.resume("tiny", **{"runs_dir": played.folder.parent, **option})


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"trials": "9"}, "--trials must be a whole number, got '9'"),
        ({"hours": "2"}, "--hours must be above 0 and at most 100,000, got '2'"),
    ],
)
def test_totals_that_are_no_numbers_are_refused(
    played: Run, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        search.resume(played, **option)


def test_curves_and_points_take_what_pick_takes(played: Run) -> None:
    trial = played.pick(3)
    assert played.point(3) == played.point("trial 3") == played.point(trial)
    assert played.point(3) is not None
    for which in ("knee", 1, "no such"):
        with pytest.raises(InputError, match=r"has no replicate|is picked by"):
            played.curves(which, "no replicate")
    with pytest.raises(InputError, match="has no trial 99"):
        played.point(99)
    for write in (played.export_front, played.report, lambda output: played.export(3, output)):
        for wrong in (5, "", ["a"]):
            with pytest.raises(InputError, match="output must be the path of what to write, got"):
                write(wrong)  # type: ignore[arg-type]


def test_a_replicate_that_a_trial_has_not_is_said_with_those_it_has(played: Run) -> None:
    words = f"trial 2 has no replicate 'x': its replicates are {', '.join(sorted(KEYS))}"
    with pytest.raises(InputError, match=words):
        played.curves(2, "x")
    with pytest.raises(InputError, match=words):
        played.picture(played.pick(2), "x")
    with pytest.raises(InputError, match=r"--budget must be a whole number, got 2.5"):
        played.plot_attainment(budget=2.5)  # type: ignore[arg-type]
