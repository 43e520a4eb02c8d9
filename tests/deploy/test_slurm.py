"""The Slurm script, with stand-ins for Slurm, Ray and dipsearch; see docs/cluster.md."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_files import SLURM, stand_in
from servers import SECRETS

# Ends, as `srun` and the programs here do, at once and with a trace when it gets SIGTERM.
UNTIL_TERM = """
trap 'echo "$(basename "$0") ended" >> "$(dirname "$0")/log"; exit {code}' TERM
echo "$(basename "$0") ready" >> "$(dirname "$0")/log"
while :; do sleep 0.05; done
"""


# Ends at once, but not before Ray has been started on all nodes: a step that gets SIGTERM before it
# has become `srun` may lose it.
ONCE_STARTED = """
until [[ $(grep -c "^srun ready" "$(dirname "$0")/log") == 2 ]]; do sleep 0.05; done
"""


class SlurmJob:
    """deploy/slurm.sh under stand-ins. `status_code`: 0 where the run exists, else 2."""

    def __init__(self, folder: Path, driver: str, status_code: int, **environment: str) -> None:
        self.bin, self._folder = folder / "bin", folder
        stand_in(self.bin / "srun", UNTIL_TERM.format(code=0))
        stand_in(self.bin / "scontrol", '[[ $1 != show ]] || printf "node1\\nnode2\\nnode3\\n"')
        stand_in(self.bin / "getent", 'printf "127.0.1.1 STREAM\\n10.0.0.1 STREAM\\n"')
        stand_in(self.bin / "python3", "exit 0")
        stand_in(
            self.bin / "dipsearch",
            f'[[ $1 != status ]] || exit {status_code}\necho "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" '
            f'> "$(dirname "$0")/token"\n{driver}',
        )
        self._environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "3",
            "SLURM_JOB_NODELIST": "node[1-3]",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "2",
            **environment,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SLURM), *arguments],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def log(self) -> list[str]:
        path = self.bin / "log"
        return path.read_text().splitlines() if path.exists() else []

    def calls(self, beginning: str) -> list[str]:
        return [line for line in self.log() if line.startswith(beginning)]


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "waited 30 s"
        time.sleep(0.05)


def test_the_slurm_script_is_shell() -> None:
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    assert os.access(SLURM, os.X_OK)


def test_the_first_job_launches_over_all_nodes(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=2)
    assert job.run("mine", "experiments/report.yaml", "--trials", "9") == (0, "")
    head, workers = sorted(job.calls("srun --"), key=lambda line: "--head" not in line)
    assert "--nodelist=node1 ray start --head --node-ip-address=10.0.0.1 --port=6379" in head
    assert "--include-dashboard=false" in head
    assert "--nodes=2 --ntasks=2" in workers
    assert "--exclude=node1 ray start --address=10.0.0.1:6379" in workers
    assert all("--num-cpus=8 --num-gpus=2" in line for line in (head, workers))
    assert job.calls("dipsearch launch") == [
        "dipsearch launch experiments/report.yaml --name mine --runs-dir runs "
        "--address 10.0.0.1:6379 --trials 9"
    ]
    assert len(job.calls("srun ended")) == 2
    assert not job.calls("scontrol requeue")


def test_a_run_that_exists_is_resumed(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=0, RUNS_DIR="s3://bucket/prefix")
    assert job.run("mine", "experiments/report.yaml", "--trials", "9") == (0, "")
    assert not job.calls("dipsearch launch")
    assert job.calls("dipsearch resume") == [
        "dipsearch resume mine --runs-dir s3://bucket/prefix --address 10.0.0.1:6379 --trials 9"
    ]


@pytest.mark.parametrize(
    ("restarts", "extended", "left_out"),
    [("0", " --hours=3", "mine exists: left out --set size=64\n"), ("2", "", "")],
)
def test_options_extend_a_run_that_is_asked_for_by_hand(
    tmp_path: Path, restarts: str, extended: str, left_out: str
) -> None:
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=0, SLURM_RESTART_COUNT=restarts)
    storage = ("--storage", "postgresql://host/name")
    options = ("--set", "size=64", *storage, "--hours=3", "--accept-changes")
    assert job.run("mine", "report.yaml", *options) == (0, left_out)
    assert job.calls("dipsearch status") == [
        "dipsearch status mine --runs-dir runs --storage postgresql://host/name"
    ]
    assert job.calls("dipsearch resume") == [
        "dipsearch resume mine --runs-dir runs --address 10.0.0.1:6379 "
        f"--storage postgresql://host/name --accept-changes{extended}"
    ]


def test_an_option_without_its_value_is_for_the_program_to_refuse(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=2)
    assert job.run("mine", "report.yaml", "--trials") == (0, "")
    assert job.calls("dipsearch launch")[0].endswith("--address 10.0.0.1:6379 --trials")


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("--name", "the first argument is the name of the run"),
        ("--runs-dir", "set RUNS_DIR instead"),
        ("--address", "this script starts its own cluster"),
    ],
)
def test_options_with_which_a_later_job_would_not_find_the_run_are_refused(
    tmp_path: Path, option: str, instead: str, joined: bool
) -> None:
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=2)
    words = (f"{option}=other",) if joined else (option, "other")
    refusal = (2, f"leave out {option}: {instead}\n")
    assert job.run("mine", "report.yaml", "--trials", "9", *words) == refusal
    assert not job.calls("srun")


def test_each_job_has_a_token_of_its_own_that_no_command_line_shows(tmp_path: Path) -> None:
    tokens = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        job = SlurmJob(tmp_path / name, ONCE_STARTED, status_code=2)
        job.run("mine", "report.yaml")
        mode, token = (job.bin / "token").read_text().split()
        assert mode == "token"
        assert len(token) == 64
        assert not [line for line in job.log() if token in line]
        tokens.add(token)
    assert len(tokens) == 2


def test_only_the_driver_gets_the_secrets_of_the_search(tmp_path: Path) -> None:
    note = 'env > "$(dirname "$0")/environment-$(basename "$0")-$$"\n'
    secrets = dict.fromkeys(SECRETS, "geheim")
    job = SlurmJob(tmp_path, note + ONCE_STARTED, status_code=2, **secrets)
    stand_in(job.bin / "srun", note + UNTIL_TERM.format(code=0))
    assert job.run("mine", "report.yaml") == (0, "")
    texts = {path.name: path.read_text() for path in job.bin.glob("environment-*")}
    found = {name.split("-")[1]: text.count("=geheim\n") for name, text in texts.items()}
    assert len(texts) == 3
    assert found == {"srun": 0, "dipsearch": len(SECRETS)}


@pytest.mark.parametrize(
    ("sent", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=str
)
def test_a_signal_ends_the_driver_then_ray_and_only_the_time_limit_requeues(
    tmp_path: Path, sent: signal.Signals, requeued: bool
) -> None:
    job = SlurmJob(tmp_path, UNTIL_TERM.format(code=130), status_code=2)
    process = job.start("mine", "report.yaml")
    wait_until(lambda: job.calls("dipsearch ready") and len(job.calls("srun ready")) == 2)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert bool(job.calls("scontrol requeue 7")) is requeued
    ended = [line for line in job.log() if line.endswith("ended")]
    assert ended == ["dipsearch ended", "srun ended", "srun ended"]


def test_a_search_that_ends_at_the_time_limit_is_not_requeued(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, UNTIL_TERM.format(code=0), status_code=2)
    process = job.start("mine", "report.yaml")
    wait_until(lambda: job.calls("dipsearch ready"))
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not job.calls("scontrol requeue")


def test_a_driver_that_fails_fails_the_job(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, f"{ONCE_STARTED}\nexit 2", status_code=2)
    assert job.run("mine", "report.yaml") == (2, "")
    assert not job.calls("scontrol requeue")


def test_a_cluster_that_does_not_start_fails_the_job_and_is_ended(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, "exit 0", status_code=2, START_SECONDS="0")
    stand_in(job.bin / "python3", f"{ONCE_STARTED}\nexit 1")
    code, errors = job.run("mine", "report.yaml")
    assert code == 1
    assert "Ray did not start on 3 nodes" in errors
    assert not job.calls("dipsearch")
    assert not [line for line in job.log() if line.startswith("scontrol requeue")]


@pytest.mark.parametrize("runs_dir", ["runs", "new/runs", "s3://bucket/prefix"])
def test_sqlite_on_nfs_is_refused(tmp_path: Path, runs_dir: str) -> None:
    """Also where the folder of runs is yet to be made."""
    (tmp_path / "runs").mkdir()
    job = SlurmJob(tmp_path, ONCE_STARTED, status_code=2, RUNS_DIR=runs_dir)
    stand_in(job.bin / "stat", "echo nfs")
    code, errors = job.run("mine", "report.yaml")
    if runs_dir.startswith("s3"):
        assert (code, errors) == (0, "")
        return
    assert code == 2
    assert "set DIPSEARCH_STORAGE" in errors
    assert not job.calls("srun")
    assert job.run("mine", "report.yaml", "--storage=postgresql://host/name") == (0, "")


@pytest.mark.parametrize("getent", ['printf "127.0.1.1 STREAM\\n"', "exit 2"])
def test_a_node_without_an_address_for_others_is_refused(tmp_path: Path, getent: str) -> None:
    job = SlurmJob(tmp_path, "exit 0", status_code=2)
    stand_in(job.bin / "getent", getent)
    code, errors = job.run("mine", "report.yaml")
    assert code == 1
    assert "node1 has no IPv4 address but loopback" in errors
