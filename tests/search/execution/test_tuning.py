"""Searches through a real Ray: what workers compute, and what survives their death."""

import io
import os
import signal
import socket
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_runs import KEYS, experiment
from PIL import Image

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.stopping import OUTPUTS, FullBudget
from dipstage.tasks.denoise import observe
from dipstage.training.trainer import fit
from search import Run, launch, resume
from search.execution.view import Quiet
from search.store.lease import leased
from search.store.run import RunRecord

pytestmark = pytest.mark.usefixtures("ray_session")


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


def test_ray_starts_no_process_that_no_search_uses(run: Run) -> None:
    programs = {
        Path(word).name
        for child in psutil.Process().children(recursive=True)
        for word in child.cmdline()
        if word.endswith(".py") and "/ray/" in word
    }
    assert programs <= {"agent.py", "main.py"}, "agents of the raylet, without which it ends"


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


@pytest.mark.usefixtures("one_thread")
def test_a_replicate_is_what_fit_gives_outside_ray(run: Run) -> None:
    picture = load_picture("skimage:chelsea", size=16, multiple=2)
    streams, truth = Streams(picture.digest, 1), picture.tensor()
    # Sums of bf16 depend on how many threads share them.
    alone = fit(
        observe(truth, 25, streams),
        truth,
        parse_preset("log10").schedule(30),
        run.experiment.trainer,
        streams,
        stopping=FullBudget(5),
    )
    searched = run.curves(run.records()[1], "chelsea-seed1")
    for name, curve in alone.trace.arrays().items():
        assert np.array_equal(searched[name], curve, equal_nan=curve.dtype.kind == "f"), name


@pytest.mark.usefixtures("one_process")
def test_the_same_seed_searches_the_same_schedules(run: Run, tmp_path: Path) -> None:
    again = launch(experiment(search={"trials": 2}), runs_dir=tmp_path)
    assert [t.params for t in again.records()[2:]] == [t.params for t in run.records()[2:4]]


@pytest.mark.usefixtures("one_process")
def test_another_seed_searches_others(run: Run, tmp_path: Path) -> None:
    other = launch(experiment(candidates=[], search={"trials": 1, "seed": 5}), runs_dir=tmp_path)
    assert other.records()[0].params != run.records()[2].params


def test_a_run_that_exists_is_refused_and_told_how_to_resume(run: Run) -> None:
    words = "dipsearch resume tiny --runs-dir .*, or choose another --name"
    with pytest.raises(InputError, match=words):
        launch(experiment(), runs_dir=run.folder.parent)


def test_resume_refuses_a_run_that_does_not_exist_or_has_a_driver(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run 'nothing' does not exist"):
        resume("nothing", runs_dir=tmp_path)
    with (
        leased(run.storage, "tiny", "run 'tiny'"),
        pytest.raises(InputError, match="has a driver that is alive"),
    ):
        resume("tiny", runs_dir=run.folder.parent)


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
        experiment(
            seeds=[0],
            search={"trials": 2},
            trainer={"iterations": 120, "width": 8, "scales": 2},
        ),
        runs_dir=tmp_path,
        view=KillOneWorker(),
    )
    assert KillOneWorker.killed
    assert [trial.state for trial in run.records()] == ["complete"] * 4
    deaths = [t.user_attrs.get("deaths", 0) for t in run.study.get_trials()]
    assert sum(deaths) == 1
    assert len(list((run.folder / "curves").iterdir())) == 8


def test_trials_that_need_more_than_there_is_are_refused(tmp_path: Path) -> None:
    for resources in ({"cpus_per_trial": 64}, {"gpus_per_trial": 1.0}):
        with pytest.raises(InputError, match="resources: a trial needs"):
            launch(experiment(resources=resources), runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_where_nobody_listens_is_refused(address: str) -> None:
    from search.execution.cluster import _check_listening

    with pytest.raises(InputError, match="nobody listens there"):
        _check_listening(address)
    _check_listening("auto")


def test_a_port_that_is_none_is_refused_even_if_its_last_bits_are_one() -> None:
    from search.execution.cluster import _check_listening

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] + 2**16
        for wrong in (port, "9" * 5000):
            with pytest.raises(InputError, match="a port is at most 65535"):
                _check_listening(f"127.0.0.1:{wrong}")


def test_an_address_of_ipv6_is_asked_without_its_brackets() -> None:
    from search.execution.cluster import _check_listening

    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        _check_listening(f"[::1]:{listener.getsockname()[1]}")


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
