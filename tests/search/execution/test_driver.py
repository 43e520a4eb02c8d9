"""Searches through a real Ray: what trials compute, and what survives which death."""

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_runs import KEYS, experiment
from PIL import Image

from dipstage.documents.schedule_file import read_schedule_file
from dipstage.errors import InputError
from dipstage.images import load_picture
from dipstage.presets import parse_preset
from dipstage.randomness import Streams
from dipstage.stopping import OUTPUTS, FullBudget
from dipstage.trainer import fit, observe
from search import Run, launch, resume
from search.execution.view import Quiet
from search.store.lease import leased
from search.store.run import RunRecord

pytestmark = pytest.mark.usefixtures("ray_session")

ONE_AT_A_TIME = {"concurrent": 1}
"""For brief searches, which take less time than the start of a second worker."""


@pytest.fixture(scope="module")
def run(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny experiment, searched."""
    return launch(experiment(), runs_dir=tmp_path_factory.mktemp("runs"))


def test_a_search_ends_with_candidates_and_trials_complete(run: Run) -> None:
    trials = run.trials()
    assert trials["state"].tolist() == ["complete"] * 6
    assert trials["name"].tolist()[:2] == ["baseline", "log10"]
    assert (trials["replicates"] == 4).all()
    assert trials["max_psnr_gt_db"].between(5, 40).all()
    assert trials["steps_to_max"].between(0, 29).all()
    assert run.front()


def test_every_replicate_s_curves_are_readable_and_agree_with_its_scores(run: Run) -> None:
    for trial in run.records():
        assert sorted(trial.replicates) == sorted(KEYS)
        for key, replicate in trial.replicates.items():
            curves = run.curves(trial, key)
            for output in OUTPUTS:
                psnr = curves[f"psnr_gt_{output}_db"]
                assert float(psnr.max()) == replicate.scores(output).max_psnr_gt_db
                assert int(psnr.argmax()) == replicate.scores(output).steps_to_max
    assert len(list((run.folder / "curves").iterdir())) == 24


def test_the_first_seed_s_outputs_at_their_maxima_are_kept_as_pictures(run: Run) -> None:
    truth = load_picture("skimage:chelsea", size=16, multiple=2).pixels
    for trial in run.records():
        assert run.picture(trial, "chelsea-seed1") is None
        content = run.picture(trial, "chelsea-seed0")
        assert content is not None
        pixels = np.asarray(Image.open(io.BytesIO(content)), np.float32) / 255
        psnr = -10 * np.log10(np.mean((pixels.transpose(2, 0, 1) - truth) ** 2))
        # Rounded to 8 bits, and clipped to what a picture can show.
        assert psnr == pytest.approx(trial.replicates["chelsea-seed0"].raw.max_psnr_gt_db, abs=0.2)
    assert len(list((run.folder / "pictures").iterdir())) == 12


def test_a_replicate_is_what_fit_gives_outside_ray(run: Run) -> None:
    picture = load_picture("skimage:chelsea", size=16, multiple=2)
    streams, truth = Streams(picture.digest, 1), picture.tensor()
    threads = torch.get_num_threads()
    # As a worker has: sums of bf16 depend on how many share them.
    torch.set_num_threads(1)
    try:
        alone = fit(
            observe(truth, 25, streams),
            truth,
            parse_preset("log10").schedule(30),
            run.experiment.trainer,
            streams,
            stopping=FullBudget(5),
        )
    finally:
        torch.set_num_threads(threads)
    searched = run.curves(run.records()[1], "chelsea-seed1")
    for name, curve in alone.trace.arrays().items():
        assert np.array_equal(searched[name], curve, equal_nan=curve.dtype.kind == "f"), name


def test_the_same_seed_searches_the_same_schedules(run: Run, tmp_path: Path) -> None:
    again = launch(experiment(resources=ONE_AT_A_TIME, search={"trials": 2}), runs_dir=tmp_path)
    assert [t.params for t in again.records()[2:]] == [t.params for t in run.records()[2:4]]


@pytest.mark.slow
def test_another_seed_searches_others(run: Run, tmp_path: Path) -> None:
    other = launch(experiment(candidates=[], search={"trials": 1, "seed": 5}), runs_dir=tmp_path)
    assert other.records()[0].params != run.records()[2].params


def test_a_run_that_exists_is_refused_and_told_how_to_resume(run: Run) -> None:
    with pytest.raises(InputError, match="dipsearch resume tiny, or choose another --name"):
        launch(experiment(), runs_dir=run.folder.parent)


def test_resume_goes_on_to_more_trials_and_not_to_fewer(tmp_path: Path) -> None:
    small = experiment(
        images=["skimage:moon"], seeds=[0], search={"trials": 2}, resources=ONE_AT_A_TIME
    )
    launch(small, runs_dir=tmp_path)
    longer = resume("tiny", trials=5, runs_dir=tmp_path)
    assert len(longer.records()) == 7
    params = [str(trial.params) for trial in longer.records()[2:]]
    assert len(set(params)) == 5
    assert len(resume("tiny", runs_dir=tmp_path).records()) == 7
    with pytest.raises(InputError, match="at least the 5 that run 'tiny' was asked for, got 3"):
        resume("tiny", trials=3, runs_dir=tmp_path)


def test_resume_refuses_a_run_that_does_not_exist_or_has_a_driver(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run 'nothing' does not exist"):
        resume("nothing", runs_dir=tmp_path)
    with (
        leased(run.storage, "tiny", "run 'tiny'"),
        pytest.raises(InputError, match="has a driver that is alive"),
    ):
        resume("tiny", runs_dir=run.folder.parent)


def test_resume_refuses_a_picture_that_has_changed(tmp_path: Path) -> None:
    import shutil

    from written_pictures import save_png

    path = tmp_path / "a.png"
    save_png(path, load_picture("skimage:moon", size=32, multiple=2).pixels)
    launch(
        experiment(
            images=[str(path)],
            seeds=[0],
            candidates=["baseline"],
            space=None,
            search={"trials": 0},
            resources=ONE_AT_A_TIME,
        ),
        runs_dir=tmp_path / "runs",
    )
    save_png(tmp_path / "b.png", load_picture("skimage:coins", size=32, multiple=2).pixels)
    shutil.move(tmp_path / "b.png", path)
    with pytest.raises(InputError, match="is not what it was when run 'tiny' began"):
        resume("tiny", runs_dir=tmp_path / "runs")
    with pytest.raises(InputError, match="has no space to sample from"):
        resume("tiny", trials=9, runs_dir=tmp_path / "runs")
    assert Run.open("tiny", tmp_path / "runs").trials_wanted == 0


def test_a_diverged_trial_fails_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    """Input noise beyond what float32 holds makes the first loss NaN."""
    broken = experiment(
        images=["skimage:moon"],
        seeds=[0],
        candidates=["baseline"],
        search={"trials": 2},
        trainer={"iterations": 30, "width": 4, "scales": 1, "input_noise_std": 1e38},
        resources=ONE_AT_A_TIME,
    )
    run = launch(broken, runs_dir=tmp_path)
    assert [trial.state for trial in run.records()] == ["failed"] * 3
    assert all("diverged on moon-seed0" in str(trial.failure) for trial in run.records())
    assert not run.front()


class KillOneWorker(Quiet):
    """SIGKILLs a process that trains, once, after the first replicate was written down."""

    killed = 0

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        if self.killed or not any(trial.replicates for trial in run.records()):
            return
        import psutil

        me = psutil.Process()
        for child in me.children(recursive=True):
            if child.cmdline()[:1] and child.cmdline()[0].endswith(".train"):
                KillOneWorker.killed = child.pid
                os.kill(child.pid, signal.SIGKILL)
                return


def test_a_killed_worker_costs_the_replicate_in_flight_and_nothing_else(tmp_path: Path) -> None:
    run = launch(
        experiment(search={"trials": 3}, trainer={"iterations": 120, "width": 8, "scales": 2}),
        runs_dir=tmp_path,
        view=KillOneWorker(),
    )
    assert KillOneWorker.killed
    assert [trial.state for trial in run.records()] == ["complete"] * 5
    deaths = [t.user_attrs.get("deaths", 0) for t in run.study.get_trials()]
    assert sum(deaths) == 1
    assert len(list((run.folder / "curves").iterdir())) == 20


def test_trials_that_need_more_than_there_is_are_refused(tmp_path: Path) -> None:
    for resources in ({"cpus_per_trial": 64}, {"gpus_per_trial": 1.0}):
        with pytest.raises(InputError, match="resources: a trial needs"):
            launch(experiment(resources=resources), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_an_address_where_nobody_listens_is_refused(address: str) -> None:
    from search.execution.cluster import _check_listening

    with pytest.raises(InputError, match="nobody listens there"):
        _check_listening(address)
    _check_listening("auto")


def test_a_study_of_another_run_in_the_same_storage_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    small = experiment(
        images=["skimage:moon"], seeds=[0], search={"trials": 0}, resources=ONE_AT_A_TIME
    )
    run = launch(small, runs_dir=tmp_path / "a", storage=url)
    assert len(run.front()) >= 1
    assert not (run.folder / "study.db").exists()
    with pytest.raises(InputError, match="has a study 'tiny' already"):
        launch(small, runs_dir=tmp_path / "b", storage=url)
    assert not (tmp_path / "b").exists()
    assert url not in (run.folder / "experiment.yaml").read_text()


@pytest.mark.slow
def test_the_learning_rate_is_searched_on_request(tmp_path: Path) -> None:
    run = launch(
        experiment(
            images=["skimage:moon"],
            seeds=[0],
            candidates=["baseline"],
            search={"trials": 2},
            space={
                **experiment().model_dump()["space"],
                "learning_rate": {"low": 1e-3, "high": 1e-2},
            },
        ),
        runs_dir=tmp_path,
    )
    rates = [trial.learning_rate for trial in run.records()]
    assert rates[0] == 0.01
    assert rates[1] != rates[2]
    assert all(rate is not None and 1e-3 <= rate <= 1e-2 for rate in rates[1:])


@pytest.mark.slow
def test_a_race_through_ray_stops_trials_between_replicates(tmp_path: Path) -> None:
    run = launch(
        experiment(
            candidates=["baseline"],
            search={"trials": 24, "sampler": "random"},
            racing={"confidence": 0.5, "min_replicates": 1},
        ),
        runs_dir=tmp_path,
    )
    records = run.records()
    raced = [trial for trial in records if trial.state == "raced"]
    assert len(records) == 25
    assert {trial.state for trial in records} == {"complete", "raced"}
    assert raced
    assert all(1 <= len(trial.replicates) < 4 for trial in raced)
    # A replicate that was recorded is whole, and none was begun after the verdict.
    for trial in records:
        for key in trial.replicates:
            assert len(run.curves(trial, key)["loss"]) == 30
    assert len(list((run.folder / "curves").iterdir())) == sum(len(t.replicates) for t in records)


def test_steps_to_a_tolerance_are_read_off_the_curves(tmp_path: Path) -> None:
    run = launch(
        experiment(
            images=["skimage:moon"],
            seeds=[0],
            search={"trials": 0},
            objective={"output": "raw", "tolerance_db": 0.5},
            resources=ONE_AT_A_TIME,
        ),
        runs_dir=tmp_path,
    )
    trial = run.records()[0]
    curve = run.curves(trial, "moon-seed0")["psnr_gt_raw_db"]
    first = int(np.flatnonzero(curve >= curve.max() - np.float32(0.5))[0])
    assert trial.values is not None
    assert trial.values[1] == first <= curve.argmax()
    assert run.trials()["steps_to_tolerance"][0] == first
    assert run.trials()["raw_steps_to_max"][0] == curve.argmax()
    exported = read_schedule_file(run.export("0"))
    assert exported.measured is not None
    assert exported.measured.tolerance_db == 0.5
    assert exported.measured.raw.steps_to_tolerance is not None
    assert exported.measured.raw.steps_to_tolerance.mean == first


def test_the_experiment_s_warm_up_reaches_the_trainer(tmp_path: Path) -> None:
    trainer = {**experiment().model_dump()["trainer"], "warmup": 20}
    small = {
        "images": ["skimage:moon"], "seeds": [0], "candidates": ["baseline"],
        "search": {"trials": 0}, "resources": ONE_AT_A_TIME,
    }  # fmt: skip
    plain = launch(experiment(**small), runs_dir=tmp_path / "plain").records()[0]
    warm = launch(experiment(**small, trainer=trainer), runs_dir=tmp_path / "warm").records()[0]
    assert plain.replicates["moon-seed0"].raw != warm.replicates["moon-seed0"].raw
