"""Searches that are logged to TensorBoard and MLflow, and loggers that fail."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import KEYS, experiment, new_run, outcome

from dipstage.errors import InputError
from dipstage.schedules.schedule import Schedule
from search import Run, launch, resume
from search.execution import loggers
from search.execution.ledger import Ledger
from search.execution.loggers import LOGGED, Logger
from search.execution.view import Quiet
from search.execution.work import Work
from search.experiment.model import Experiment
from search.experiment.reading import load_experiment
from search.store.records import Trial

TRAINED = ["chelsea-seed0", "camera-seed1", "chelsea-seed1", "camera-seed0"]
"""The replicates in the order of training."""
pytestmark = pytest.mark.usefixtures("ray_session")


class Notes(Quiet):
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def note(self, notice: str) -> None:
        """See `View`."""
        self.notices.append(notice)


def logged_experiment(folder: Path, **changes: Any) -> Experiment:
    """The tiny one, logged to TensorBoard and to MLflow in a folder."""
    wanted = {"tensorboard": True, "mlflow": str(folder)}
    one = {"concurrent": 1}
    return experiment(logging=wanted, search={"trials": 2}, resources=one, **changes)


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where MLflow logs to."""
    return tmp_path_factory.mktemp("mlflow") / "runs here"


@pytest.fixture(scope="module")
def run(ray_session: None, mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that was logged; tests that change it take a copy."""
    return launch(logged_experiment(mlruns), runs_dir=tmp_path_factory.mktemp("runs"))


def scalars(run: Run, number: int) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a trial."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run.folder / "tensorboard" / f"trial{number:05d}"
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag.removeprefix("ray/tune/"): [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def mlflow_runs(where: Path, run: Run) -> dict[int, Any]:
    """MLflow's runs of a search by the trials' numbers; each is there once."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(str(where))
    found = client.get_experiment_by_name(run.name)
    assert found is not None
    listed = client.search_runs([found.experiment_id])
    mine = [r for r in listed if r.data.tags[LOGGED] == run.study.user_attrs[LOGGED]]
    by_number = {int(r.data.tags["trial_name"][:5]): r for r in mine}
    assert len(by_number) == len(mine)
    return by_number


def test_tensorboard_has_each_replicate_and_its_curves(run: Run) -> None:
    for trial in run.records():
        shown = scalars(run, trial.number)
        expected = [trial.replicates[key].raw.max_psnr_gt_db for key in TRAINED]
        told = shown["raw/max_psnr_gt_db"]
        assert [step for step, _ in told] == [1, 2, 3, 4]
        assert [value for _, value in told] == pytest.approx(expected, rel=1e-6)
        assert trial.values is not None
        means = [shown["mean/max_psnr_gt_db"][-1][1], shown["mean/steps_to_max"][-1][1]]
        assert means == pytest.approx(trial.values, rel=1e-6)
        for key in KEYS:
            curve = run.curves(trial, key)["psnr_gt_smoothed_db"]
            points = shown[f"{key}/psnr_gt_smoothed_db"]
            assert [step for step, _ in points] == list(range(30))
            assert [value for _, value in points] == pytest.approx(curve.tolist(), rel=1e-6)
        assert not any("curves" in tag or "versions" in tag for tag in shown)


def test_mlflow_has_a_run_for_each_trial_with_parameters_and_objectives(
    run: Run, mlruns: Path
) -> None:
    found = mlflow_runs(mlruns, run)
    assert sorted(found) == [trial.number for trial in run.records()]
    for trial in run.records():
        logged = found[trial.number]
        assert logged.info.status == "FINISHED"
        assert trial.values is not None
        assert trial.schedule is not None
        assert logged.data.metrics["mean/max_psnr_gt_db"] == pytest.approx(trial.values[0])
        assert logged.data.metrics["mean/steps_to_max"] == pytest.approx(trial.values[1])
        assert logged.data.params["ramp"] == str(trial.schedule.ramp)
        assert logged.data.params["schedule"] == (trial.candidate or "sampled")
        for name, value in trial.params.items():
            assert logged.data.params[name] == str(value)


@pytest.mark.usefixtures("one_process")
def test_a_resume_logs_what_is_new_and_ends_what_a_dead_driver_left_open(
    run: Run, mlruns: Path, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    shutil.copytree(run.folder, tmp_path / "tiny")
    before = mlflow_runs(mlruns, run)
    MlflowClient(str(mlruns)).update_run(before[1].info.run_id, status="RUNNING")
    longer = resume("tiny", trials=3, runs_dir=tmp_path)
    after = mlflow_runs(mlruns, longer)
    assert sorted(after) == [0, 1, 2, 3, 4]
    assert {r.info.status for r in after.values()} == {"FINISHED"}
    assert after[1].info.run_id == before[1].info.run_id
    assert len(scalars(longer, 1)["raw/max_psnr_gt_db"]) == 4
    assert len(scalars(longer, 4)["raw/max_psnr_gt_db"]) == 4


class Recorder:
    """In the place of one of Ray's callbacks."""

    def __init__(self, breaks: bool = False) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._breaks = breaks

    def setup(self) -> None:
        """See `tune.Callback`."""

    def on_experiment_end(self, trials: list[Any]) -> None:
        """See `tune.Callback`."""

    def log_trial_start(self, trial: Any) -> None:
        """See `LoggerCallback`."""
        self.calls.append(("start", str(trial), trial.config["schedule"]))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """See `LoggerCallback`."""
        if self._breaks:
            raise ConnectionError("the server at\nhome is away")
        self.calls.append((result["training_iteration"], result["mean"]["steps_to_max"]))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """See `LoggerCallback`."""
        self.calls.append(("end", "failed" if failed else "well"))


class TunesTrial:
    """What Tune hands to a callback."""

    def __init__(self, trial_id: str, done: tuple[str, ...]) -> None:
        self.trial_id = trial_id
        self.config = {"work": Work(0, Schedule.plain(1), done=done)}


def logger(run: Run, callback: Any) -> Logger:
    """Of a run whose one trial is number 0."""
    run.study.set_user_attr(LOGGED, "abc")
    return Logger("Recorder", run, lambda _: 0, lambda _: callback)


def result(steps: int) -> dict[str, Any]:
    """As a worker reports it; the curves were taken."""
    return {"replicate": [KEYS[steps]], "outcome": [outcome(25.0, steps)], "curves": []}


def test_a_worker_that_dies_before_its_trial_began_ends_nothing(tmp_path: Path) -> None:
    run, recorder = new_run(tmp_path, experiment()), Recorder()
    tested = logger(run, recorder)
    tested.on_trial_error(0, [], TunesTrial("a", ()))
    tested.on_trial_complete(0, [], TunesTrial("a", ()))
    tested.on_trial_result(0, [], TunesTrial("a", ()), result(0))
    tested.close()
    assert recorder.calls == []
    assert tested.failure is None


@pytest.mark.parametrize("late", [False, True])
def test_a_trial_that_is_handed_out_again_goes_on_where_it_was(tmp_path: Path, late: bool) -> None:
    run, recorder = new_run(tmp_path, experiment()), Recorder()
    go = threading.Event()
    if late:  # Everything has happened before the logger looks at it.
        recorder.setup = go.wait  # type: ignore[assignment, method-assign]
    ledger = Ledger(run.study, run.experiment, KEYS)
    work = ledger.next()
    assert work is not None
    tested = logger(run, recorder)
    first, second = TunesTrial("a", ()), TunesTrial("b", tuple(KEYS[:2]))
    tested.on_trial_start(0, [], first)
    for steps in (0, 1):
        ledger.record(0, KEYS[steps], outcome(25.0, steps))
        tested.on_trial_result(0, [], first, result(steps))
    ledger.died(0, "killed")
    tested.on_trial_error(0, [], first)
    tested.on_trial_start(0, [], second)
    for steps in (2, 3):
        ledger.next()
        ledger.record(0, KEYS[steps], outcome(25.0, steps))
        tested.on_trial_result(0, [], second, result(steps))
    ledger.finish(0, None)
    tested.on_trial_complete(0, [], second)
    go.set()
    tested.close()
    start = ("start", "00000 baseline", "baseline")
    expected = [start, (1, 0), (2, 0.5), start, (3, 1), (4, 1.5), ("end", "well")]
    assert tested.failure is None
    assert recorder.calls == expected


def test_a_logger_that_breaks_is_told_of_once_and_left_out(tmp_path: Path) -> None:
    run, view = new_run(tmp_path, experiment()), Notes()
    ledger = Ledger(run.study, run.experiment, KEYS)
    assert ledger.next() is not None
    tested, trial = logger(run, Recorder(breaks=True)), TunesTrial("a", ())
    tested.on_trial_start(0, [], trial)
    tested.on_trial_result(0, [], trial, result(0))
    tested.close()
    tested.on_trial_result(0, [], trial, result(1))
    for _ in range(2):
        tested.report_failure(view)
    assert view.notices == [
        "Recorder: the server at home is away; nothing more is logged there until a resume"
    ]


@pytest.mark.usefixtures("one_process")
def test_a_search_does_without_a_server_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    view = Notes()
    away = experiment(
        logging={"mlflow": "http://127.0.0.1:9"}, search={"trials": 1}, candidates=[], seeds=[0]
    )
    run = launch(away, runs_dir=tmp_path, view=view)
    assert [trial.state for trial in run.records()] == ["complete"]
    assert sum(notice.startswith("MLflow: ") for notice in view.notices) == 1


def test_weights_and_biases_gets_a_project_a_group_and_goes_on_with_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package is not installed here: this says what Ray's callback is given, not what it does.
    from ray.air.integrations import wandb

    monkeypatch.setattr(wandb, "wandb", object())
    run = new_run(tmp_path, experiment(logging={"wandb": "mine"}))
    made: list[Any] = []

    def setup(callback: Any) -> None:
        made.append(callback)

    monkeypatch.setattr(wandb.WandbLoggerCallback, "setup", setup)
    monkeypatch.setattr(wandb.WandbLoggerCallback, "on_experiment_end", lambda self, trials: None)
    with loggers.logged(run, lambda _: 0, Quiet()) as [tested]:
        shown = tested.shown(_begun(run))
    [callback] = made
    assert (callback.project, callback.group) == ("mine", "tiny")
    assert callback.kwargs == {"resume": "allow"}
    assert shown.trial_id == f"{run.study.user_attrs[LOGGED]}-00000"


def _begun(run: Run) -> Trial:
    Ledger(run.study, run.experiment, KEYS).next()
    return run.records()[0]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"tensorboard": True}, r"logging\.tensorboard needs tensorboardX: pip install "
         r"'dipsearch\[tensorboard\]'"),
        ({"mlflow": "here"}, r"logging\.mlflow needs mlflow: pip install 'dipsearch\[mlflow\]'"),
        ({"wandb": "mine"}, r"logging\.wandb needs wandb: pip install 'dipsearch\[wandb\]'"),
    ],
)  # fmt: skip
def test_a_logger_that_is_not_installed_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("search.execution.logging_wanted.find_spec", lambda name: None)
    with pytest.raises(InputError, match=words):
        launch(experiment(logging=wanted), runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@mlflow.example", "https://mlflow.example/?access_token=hunter2",
        "postgresql://me:hunter2@db/mlflow", "http://[bad:hunter2@x", "https://hunter2@mlflow.example",
        "http://host/?pwd=hunter2", "http://host/?auth=hunter2", "http://host/?sig=hunter2",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        experiment(logging={"mlflow": address})
    assert "hunter2" not in str(caught.value)


def test_a_folder_for_mlflow_is_relative_to_the_experiment(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    for given, meant in (
        ("mlruns", str(tmp_path / "mlruns")), ("databricks", "databricks"),
        ("http://host:5000", "http://host:5000"), ("postgresql://me@db/m", "postgresql://me@db/m"),
        ("sqlite:///m.db", "sqlite:///m.db"),
    ):  # fmt: skip
        text = experiment().yaml().replace("mlflow: null", f"mlflow: {given}")
        file.write_text(text)
        assert load_experiment(file).logging.mlflow == meant
        assert load_experiment(file, ("logging.mlflow=null",)).logging.mlflow is None
    assert load_experiment(file, ("logging.mlflow=a",)).logging.mlflow == str(Path("a").absolute())


def test_nan_is_no_number_to_tell_and_a_long_curve_is_thinned() -> None:
    arrays = {name: np.arange(1000.0) for name in loggers._CURVES}
    points = list(loggers._points(None, lambda: arrays))
    assert len(points) == 200
    assert points[-1] == (995, dict.fromkeys(loggers._CURVES, 995.0))
