"""Searches on a real Ray head with token authentication, of which only one port is known."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import psutil
import pytest
from fake_runs import CONTENT, experiment
from ray.job_submission import JobStatus
from written_pictures import save_png

from dipstage.documents.plain_yaml import yaml_text
from dipstage.errors import InputError
from search import Run
from search.experiment.names import RUN_NAME
from search.remote.archive import MARK
from search.remote.jobs import Cluster
from search.remote.upload import Submission

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
SECRET = "a-password-of-the-laptop"


@dataclass(frozen=True)
class Head:
    """A cluster of one node."""

    address: str
    token: str
    home: Path
    session: Path


COMMANDS = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from click.testing import CliRunner
from search.cli import main
for line in sys.stdin:
    arguments, environment = json.loads(line)
    done = CliRunner().invoke(main, arguments, env=environment)
    answer = [arguments, done.exit_code, done.stdout, done.stderr]
    print(json.dumps(answer), file=answers, flush=True)
"""
"""Commands in one process after the other: most of the time of one is the import of Ray."""


class Laptop:
    """A folder with an experiment, and what is known there of a cluster."""

    def __init__(self, head: Head, folder: Path) -> None:
        """Start the process of the commands, with the cluster's token."""
        self.head, self.folder = head, folder
        self._environment = clean_environment(head.home.parent / "laptop") | {
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": head.token,
            # Heeded by Ray's own client, and not by ours.
            "RAY_ADDRESS": "http://127.0.0.1:1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS], cwd=folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def dipsearch(
        self, *arguments: str, address: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command; one with another token in a process of its own, as Ray keeps the first."""
        arguments = (*arguments, "--address", address or self.head.address)
        if any(name.startswith("RAY_") for name in environment):
            return subprocess.run(
                [sys.executable, "-m", "search.cli", *arguments],
                cwd=self.folder, env=self._environment | environment, capture_output=True,
                text=True, timeout=200, check=False,
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([arguments, environment]) + "\n")
        self.process.stdin.flush()
        return subprocess.CompletedProcess(*json.loads(self.process.stdout.readline()))

    def submit(self, *arguments: str) -> str:
        """Send the experiment; return the job's id."""
        done = self.dipsearch(
            "submit", "e.yaml", *arguments, DIPSEARCH_STORAGE=f"postgresql://me:{SECRET}@db/x"
        )
        assert done.returncode == 0, done.stderr
        assert "DIPSEARCH_STORAGE is not forwarded" in done.stderr
        job, *_ = done.stdout.splitlines()
        assert f"dipsearch fetch {job} --address {self.head.address}" in done.stdout
        return job


def clean_environment(home: Path) -> dict[str, str]:
    """This process's, without what steers Ray, Python or us, and with a home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "DIPSEARCH_", "PYTHON"))
    }
    home.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return kept | {"HOME": str(home), "PATH": path}


def free_ports(count: int) -> list[str]:
    """Ports that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` as a child; the path is short, for sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
    token = secrets.token_hex(32)
    gcs, dashboard, agent, client = free_ports(4)
    # Without PYTHONPATH: what the cluster runs is what was sent.
    environment = clean_environment(folder / "h") | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    process = subprocess.Popen(
        [
            sys.executable, "-c", program, "start", "--head", "--block",
            "--node-ip-address", "127.0.0.1", "--port", gcs,
            "--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard,
            "--dashboard-agent-listen-port", agent, "--ray-client-server-port", client,
            "--num-cpus", "2", "--object-store-memory", "100000000",
            "--temp-dir", str(folder / "r"), "--disable-usage-stats",
        ],
        env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    made = Head(f"http://127.0.0.1:{dashboard}", token, folder / "h", folder / "r")
    try:
        wait_for(made, process)
        yield made
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            for child in psutil.wait_procs(children, timeout=20)[1]:
                child.kill()
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(head: Head, process: "subprocess.Popen[bytes]") -> None:
    """Until the dashboard answers."""
    request = urllib.request.Request(
        f"{head.address}/api/version", headers={"Authorization": f"Bearer {head.token}"}
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"Ray's head does not answer; exit code {process.poll()}")


@pytest.fixture(scope="module")
def laptop(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Its folder has a tiny experiment and the one picture that it names."""
    folder = tmp_path_factory.mktemp("laptop")
    (folder / "pictures").mkdir()
    save_png(
        folder / "pictures" / "mine.png",
        np.random.default_rng(0).random((3, 24, 24), dtype=np.float32),
    )
    content = {
        **CONTENT,
        "images": ["pictures/mine.png"],
        "seeds": [0],
        "search": {"trials": 2, "seed": 0},
        "resources": {"concurrent": 1},
    }
    (folder / "e.yaml").write_text(yaml_text(content))
    made = Laptop(head, folder)
    yield made
    made.process.communicate(timeout=60)


def status(laptop: Laptop, job: str) -> dict[str, str | None]:
    """As JSON; what a script would read."""
    done = laptop.dipsearch("status", job, "--json")
    content: dict[str, str | None] = json.loads(done.stdout)
    assert done.returncode == (content["state"] == "failed"), done.stderr
    return content


def await_log(laptop: Laptop, job: str, words: str) -> None:
    """Until a job has printed some words."""
    deadline = time.monotonic() + 120
    while words not in (log := laptop.dipsearch("logs", job).stdout):
        assert time.monotonic() < deadline, log
        time.sleep(0.5)


def test_searches_run_on_the_cluster_are_stopped_and_come_back(head: Head, laptop: Laptop) -> None:
    tiny = laptop.submit()
    long = laptop.submit("--name", "long", "--set", "trainer.iterations=100000")

    followed = laptop.dipsearch("logs", tiny, "--follow")
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "tiny: 4/4 trials" in followed.stdout
    taken = laptop.dipsearch("submit", "e.yaml")
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "run 'tiny' exists in dipsearch-runs on the cluster's head" in taken.stderr
    # Without a number of trials at a time, a cluster is not expected to grow a GPU.
    wanted = ("--set", "resources.device=cuda", "--set", "resources.concurrent=auto")
    failing = laptop.submit("--name", "gpu", *wanted)
    again = laptop.submit("--resume")
    now = status(laptop, tiny)
    assert (now["state"], now["run"]) == ("succeeded", "tiny")
    assert str(now["progress"]).startswith("tiny: 4/4 trials, 0 running, best ")

    fetched = laptop.dipsearch("fetch", tiny)
    assert fetched.returncode == 0, fetched.stderr
    run = Run.open("tiny", laptop.folder / "runs")
    assert [trial.state for trial in run.records()] == ["complete"] * 4
    assert len(run.curves(run.records()[3], "mine-seed0")["psnr_gt_raw_db"]) == 30
    original = head.home / "dipsearch-runs" / "tiny"
    for path in (run.folder / "curves").iterdir():
        assert path.read_bytes() == (original / "curves" / path.name).read_bytes()
    environment = clean_environment(head.home.parent / "l") | {"PYTHONPATH": str(ROOT)}
    front = subprocess.run(
        [sys.executable, "-m", "search.cli", "pareto", "tiny"],
        cwd=laptop.folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "front of" in front.stdout

    await_log(laptop, long, "1 running")
    # Also while it runs.
    assert laptop.dipsearch("fetch", long).returncode == 0
    long_run = Run.open("long", laptop.folder / "runs")
    assert [trial.state for trial in long_run.records()] == ["running"]
    stopped = laptop.dipsearch("stop", long)
    assert stopped.stdout.splitlines() == [
        f"{long}: stopped",
        f"continue with: dipsearch submit EXPERIMENT --resume --name long --address {head.address}",
    ], stopped.stdout + stopped.stderr  # fmt: skip
    [supervisor] = head.session.glob(f"session_2*/logs/jobs/supervisor-{long}.log")
    assert "terminated gracefully" in supervisor.read_text()
    assert status(laptop, long)["state"] == "stopped"
    assert "already stopped" in laptop.dipsearch("stop", long).stdout
    assert "interrupted; continue with" in laptop.dipsearch("logs", long).stdout

    failed = laptop.dipsearch("status", failing)
    while "running" in failed.stdout:
        time.sleep(0.5)
        failed = laptop.dipsearch("status", failing)
    assert failed.returncode == 1
    assert "set resources.concurrent" in failed.stderr
    assert "failed" in failed.stdout
    refused = laptop.dipsearch("fetch", again)
    assert (refused.returncode, "--replace" in refused.stderr) == (2, True)

    jobs = listed(head)
    assert submitted(jobs) == {tiny, long, again, failing}
    nothing_secret_was_sent(head, jobs)


def listed(head: Head) -> list[dict[str, object]]:
    """All jobs, as Ray shows them."""
    request = urllib.request.Request(
        f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {head.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        jobs: list[dict[str, object]] = json.load(answer)
    return jobs


def submitted(jobs: list[dict[str, object]]) -> set[object]:
    """Ids of the jobs that somebody has submitted."""
    return {job["submission_id"] for job in jobs if job["type"] == "SUBMISSION"}


def nothing_secret_was_sent(head: Head, jobs: list[dict[str, object]]) -> None:
    """Neither in what Ray shows, nor in the packages, nor in logs."""
    shown = json.dumps(jobs)
    assert "dipsearch_runs_dir" in shown
    assert SECRET not in shown
    assert head.token not in shown
    files = [path for path in head.session.rglob("*") if path.is_file()]
    assert any(path.name == "mine.png" for path in files)
    assert any(path.match("search/remote/jobs.py") for path in files)
    assert not any(path.match("tests/*") or path.suffix == ".pkl" for path in files)
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


class Jobs:
    """Stands in for Ray's client; every job ends at once, with nothing to fetch."""

    def __init__(self) -> None:
        """Begin without jobs."""
        self.metadata: dict[str, dict[str, str]] = {}

    def submit_job(self, submission_id: str, metadata: dict[str, str], **_: object) -> None:
        self.metadata[submission_id] = metadata

    def get_job_info(self, job: str) -> SimpleNamespace:
        status = self.get_job_status(job)
        return SimpleNamespace(metadata=self.metadata[job], status=status, message=None)

    def get_job_status(self, job: str) -> JobStatus:
        return JobStatus.SUCCEEDED

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield f"{MARK} refused nothing here\n"

    def stop_job(self, job: str) -> None: ...

    def delete_job(self, job: str) -> None: ...


@pytest.mark.parametrize("length", [76, 77, 92, 100])
def test_a_run_of_any_name_can_be_asked_for_by_the_id_of_its_job(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, cluster, name = Jobs(), Cluster("http://head:8265"), "n" * length
    monkeypatch.setattr(Cluster, "_client", jobs)
    submission = Submission(experiment(name=name))
    with pytest.raises(InputError, match="cannot run python"):
        cluster.ask(submission)
    job = cluster.submit(submission)
    assert cluster.state(job).origin.name == name
    with pytest.raises(InputError, match="nothing here"):
        cluster.fetch(job, tmp_path)
    assert len(jobs.metadata) == 3
    assert all(re.fullmatch(RUN_NAME, each) for each in jobs.metadata)


def test_wrong_requests_get_one_sentence(head: Head, laptop: Laptop) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    cases: list[tuple[list[str], str | None, dict[str, str], str]] = [
        (["status", "x-1"], None, {"RAY_AUTH_TOKEN": "0" * 64}, "the token is wrong"),
        (["stop", "x-1"], None, {"RAY_AUTH_MODE": "disabled"}, "the token is missing"),
        (["logs", "x-1"], nobody, {}, "no Ray dashboard answers there"),
        (["fetch", "x-1"], None, {}, "knows no job 'x-1'"),
        (["status", "../x"], None, {}, "the id of a job must be like"),
        (["logs", "x-1"], "127.0.0.1:8265", {}, "must begin with http:// or https://"),
        (["submit", "e.yaml", "--set", "images=[none.png]"], nobody, {}, "does not exist"),
        (["submit", "e.yaml", "--set", "candidates=[log11]"], nobody, {}, "unknown preset"),
        (
            ["submit", "e.yaml", "--resume", "--set", "search.hours=4"],
            nobody,
            {},
            "--set search.hours has no effect with --resume: give --hours",
        ),
        (["submit", "e.yaml", "--name", "a/b"], nobody, {}, "name: must be letters"),
        # Its rule is not looked at, as the run has its own.
        (["submit", "ssim.yaml", "--resume"], nobody, {}, "no Ray dashboard answers there"),
        (["submit", "ssim.yaml"], nobody, {}, "no_gain needs plain DIP"),
    ]
    ssim = {"objective": {"metric": "ssim"}, "candidates": ["log10"]}
    ssim["search"] = {"trials": 4, "until": {"no_gain": 9}}
    (laptop.folder / "ssim.yaml").write_text(yaml_text({**CONTENT, **ssim}))
    before = submitted(listed(head))
    for arguments, address, environment, words in cases:
        done = laptop.dipsearch(*arguments, address=address, **environment)
        assert (done.returncode, done.stdout) == (2, ""), (arguments, done.stderr)
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert submitted(listed(head)) == before
