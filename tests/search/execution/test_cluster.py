"""Searches on a simulated cluster: nodes that come and go, workers that share nothing."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counts import assert_exact, finished, opened
from fake_runs import experiment
from processes import dipsearch, finish, kill, trainers, wait_until
from servers import PostgreSQL, object_storage, postgresql
from simulated_cluster import ENVIRONMENT, SimulatedCluster, simulated_cluster
from written_pictures import save_png

from dipstage.pictures.images import load_picture
from search import Run

pytestmark = [pytest.mark.ray, pytest.mark.server]

TRIALS = 12


def packed(**changes: Any) -> str:
    """The tiny experiment, longer, two trials on each fake GPU, as a file's text."""
    return experiment(
        **{
            "search": {"trials": TRIALS},
            "racing": {"enabled": False},
            "trainer": {"iterations": 150, "width": 8, "scales": 2},
            "resources": {"gpus_per_trial": 0.5, "device": "cpu"},
            **changes,
        }
    ).yaml()


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    """Four nodes with a fake GPU each."""
    with simulated_cluster(4) as running:
        yield running


def when_finished(run: Run, trials: int) -> None:
    """Wait for that many complete trials."""
    wait_until(lambda: len(finished(run)) >= trials, 200)


def wait_for(name: str, runs_dir: Path | str, storage: str | None = None) -> Run:
    """The run, as soon as it is there."""
    wait_until(lambda: opened(name, runs_dir, storage) is not None, 100)
    return Run.open(name, runs_dir, storage)


@pytest.mark.slow
def test_a_search_loses_a_node_gains_a_node_and_finishes(
    cluster: SimulatedCluster, tmp_path: Path
) -> None:
    (tmp_path / "e.yaml").write_text(packed())
    driver = dipsearch(
        "launch", str(tmp_path / "e.yaml"), "--address", cluster.address,
        runs_dir=tmp_path / "runs", environment=ENVIRONMENT,
    )  # fmt: skip
    run = wait_for("tiny", tmp_path / "runs")
    when_finished(run, 1)
    # Two trials share each of the four GPUs.
    assert run.study.user_attrs["concurrent"] == 8
    cluster.lose()
    when_finished(run, 4)
    cluster.add()
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    assert_exact(Run.open("tiny", tmp_path / "runs"))
    deaths = [t.user_attrs.get("deaths", 0) for t in run.study.get_trials()]
    assert 1 <= sum(deaths) <= 2


def test_workers_need_neither_the_pictures_nor_the_run_s_folder(tmp_path: Path) -> None:
    """A node whose file system hides both, and the driver's scratch space too."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make a mount namespace")
    hidden = tmp_path / "driver"
    hidden.mkdir()
    save_png(hidden / "a.png", load_picture("skimage:moon", size=32, multiple=2).pixels)
    (hidden / "e.yaml").write_text(
        packed(images=[str(hidden / "a.png")], seeds=[0], search={"trials": 2})
    )
    with simulated_cluster(0) as cluster:
        ray = str(Path(sys.executable).with_name("ray"))
        mount = f"mount -t tmpfs tmpfs {shlex.quote(str(hidden))}"
        start = f"exec {ray} start --address {cluster.address} --num-cpus 2 --num-gpus 1 --block"
        node = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{mount} && {start}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        try:
            (hidden / "scratch").mkdir()
            code, output = finish(
                "launch", str(hidden / "e.yaml"), "--address", cluster.address,
                "--set", "resources.concurrent=2", "--set", "resources.gpus_per_trial=0.5",
                runs_dir=hidden / "runs",
                environment={**ENVIRONMENT, "TMPDIR": str(hidden / "scratch")},
            )  # fmt: skip
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(timeout=60)
    assert code == 0, output
    run = Run.open("tiny", hidden / "runs")
    assert_exact(run)
    assert not list((hidden / "scratch").iterdir())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    with postgresql() as running:
        yield running


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An S3-compatible server, which this process finds too."""
    with object_storage() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment


@pytest.mark.slow
def test_driver_worker_and_node_are_lost_in_one_search_on_shared_storage(
    cluster: SimulatedCluster, server: PostgreSQL, bucket: dict[str, str], tmp_path: Path
) -> None:
    """PostgreSQL, a run folder on object storage, four nodes; nothing on the driver's disk."""
    (tmp_path / "e.yaml").write_text(packed())
    runs_dir = "s3://runs/searches"
    environment = {**ENVIRONMENT, **bucket, "DIPSEARCH_STORAGE": server.url}
    driver = dipsearch(
        "launch", str(tmp_path / "e.yaml"), "--address", cluster.address,
        runs_dir=runs_dir, environment=environment,
    )  # fmt: skip
    run = wait_for("tiny", runs_dir, server.url)
    when_finished(run, 2)
    driver.kill()
    driver.communicate()
    kept = {p.name: p.stat().st_mtime for p in (run.folder / "curves").iterdir()}
    recorded = sum(len(trial.replicates) for trial in run.records())

    driver = dipsearch(
        "resume", "tiny", "--address", cluster.address, runs_dir=runs_dir, environment=environment
    )
    when_finished(run, 4)
    held = run.driver()
    assert held is not None
    assert held.process == driver.pid
    code, output = finish("resume", "tiny", runs_dir=runs_dir, environment=environment)
    assert code == 2
    assert f"has a driver that is alive ({held.host}, process {driver.pid}" in output
    wait_until(lambda: bool(trainers(cluster.process)))
    kill(trainers(cluster.process)[0])
    when_finished(run, 6)
    cluster.lose()
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    assert_exact(Run.open("tiny", runs_dir, server.url))
    now = {p.name: p.stat().st_mtime for p in (run.folder / "curves").iterdir()}
    assert sum(now[name] == kept[name] for name in kept) >= recorded > 0
    deaths = [t.user_attrs.get("deaths", 0) for t in run.study.get_trials()]
    assert 1 <= sum(deaths) <= 3
    code, output = finish("export", "tiny", runs_dir=runs_dir, environment=environment)
    assert code == 0, output
    names = {path.name for path in run.folder.iterdir()}
    made = {"experiment.yaml", "curves", "pictures", "pareto.csv", "front.png", "best.yaml"}
    assert names == {*made, "report.html"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.yaml"]
