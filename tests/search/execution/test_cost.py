"""What a search costs is said in trainings and hours."""

from pathlib import Path

import pytest
from fake_runs import KEYS, experiment, ledger_of, new_run, outcome

from dipstage.schedules.schedule import Schedule
from search import Run
from search.execution.ledger import Ledger
from search.experiment.candidate import Candidate
from search.experiment.prepare import load_pictures
from search.store.attributes import write

pytestmark = pytest.mark.ray


def test_the_cost_counts_what_is_left_and_its_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.execution import cost
    from search.execution.resources import Shares
    from search.execution.training import Setting

    search = {"trials": 10, "hours": 0.5}
    run = new_run(tmp_path, experiment(search=search))
    settings = run.experiment.trainer
    setting = Setting(
        {}, (0, 1), run.experiment.task, settings, run.objective, cpus=1, device="cpu"
    )
    shares = Shares({"cpu": 1, "gpu": 0}, {"cpu": 2, "gpu": 0}, concurrent=2, device="cpu")
    ledger = Ledger(run.study, run.experiment, KEYS)
    monkeypatch.setattr(cost, "measured_training_s", lambda *_: 150.0)
    assert cost.cost_words(run, ledger, setting, shares) == (
        "48 trainings of at most 30 iterations: at most about 1 h 00 min with 2 at a time, less "
        "what racing saves; no trial begins after 0.5 h of search"
    )
    monkeypatch.setattr(cost, "measured_training_s", lambda *_: None)
    said = cost.cost_words(run, ledger, setting, shares)
    assert said.startswith("48 trainings of at most 30 iterations, less what racing saves;")
    unraced = new_run(tmp_path / "unraced", experiment(racing={"min_replicates": 4}))
    said = cost.cost_words(unraced, ledger, setting, shares)
    assert said == "48 trainings of at most 30 iterations"
    # A later driver knows how long trainings take: `outcome` says 2.5 s.
    work = ledger.next()
    assert work is not None
    ledger.record(work.number, KEYS[0], outcome(25, 10))
    said = cost.cost_words(run, Ledger(run.study, run.experiment, KEYS), setting, shares)
    assert "47 trainings of at most 30 iterations: about 59 s with 2 at a time" in said


def test_trainings_longer_than_those_of_the_search_are_counted_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.execution import cost
    from search.execution.resources import Shares
    from search.execution.training import Setting

    run = new_run(tmp_path, experiment(search={"trials": 0}, racing={"enabled": False}))
    write(run.study, candidates=[Candidate("plain DIP", Schedule.plain(45), role="plain")])
    held_out = run.experiment
    setting = Setting(
        {}, (0, 1), held_out.task, held_out.trainer, held_out.objective, cpus=1, device="cpu"
    )
    shares = Shares({"cpu": 1, "gpu": 0}, {"cpu": 2, "gpu": 0}, concurrent=2, device="cpu")
    monkeypatch.setattr(cost, "measured_training_s", lambda *asked: float(asked[-1]))
    said = cost.cost_words(Run.open("tiny", tmp_path), ledger_of(run), setting, shares)
    assert said == "4 trainings of at most 45 iterations: at most about 1 min 30 s with 2 at a time"


def test_brief_trainings_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from search.execution import resources
    from search.execution.training import Setting

    tiny = experiment()
    pictures = load_pictures(tiny)
    setting = Setting(pictures, (0,), tiny.task, tiny.trainer, tiny.objective, 1, "cpu")
    shares = resources.Shares({"cpu": 1, "gpu": 0}, {"cpu": 2, "gpu": 0}, 2, "cpu")
    monkeypatch.delattr(ray, "remote")
    assert resources.measured_training_s(setting, shares, tiny.trainer.iterations) is None
    with pytest.raises(AttributeError, match="remote"):
        resources.measured_training_s(setting, shares, 10_000)


def test_the_speed_is_measured_on_a_training() -> None:
    from dipstage.pictures.images import load_picture
    from search.execution.probe import seconds_of_iteration

    picture = load_picture("skimage:moon", size=16, multiple=2)
    settings = experiment().trainer
    assert 0 < seconds_of_iteration("cpu", 1, picture, settings) < 10
