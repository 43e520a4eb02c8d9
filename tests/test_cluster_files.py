"""What can be checked of the cluster files without a cluster: see docs/cluster.md.

cluster.yaml goes through Ray's own validation, its autoscaler and, with AWS simulated, its
provider; the Slurm script runs with stand-ins for Slurm, Ray and dipsearch; the RayJob is checked
against KubeRay's schema where KUBERAY_RAYJOB_CRD names its file (ray.io_rayjobs.yaml).
"""

from __future__ import annotations

import copy
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CLUSTER, ON_PREMISES = ROOT / "cluster.yaml", ROOT / "deploy/on-premises.yaml"
RAYJOB, SLURM = ROOT / "deploy/rayjob.yaml", ROOT / "deploy/slurm.sh"
LAUNCHED = pytest.mark.parametrize("path", [CLUSTER, ON_PREMISES], ids=lambda path: path.stem)


def read_yaml(path: Path) -> dict[str, Any]:
    """As Ray and Kubernetes read it: with anchors, which this project's own files may not have."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return content


def prepared(path: Path) -> dict[str, Any]:
    """A cluster file with Ray's defaults filled in, as `ray up` makes it."""
    config: dict[str, Any] = prepare_config(read_yaml(path))
    validate_config(config)
    return config


def starts(config: dict[str, Any]) -> list[str]:
    """The commands that start Ray on the head and on a worker."""
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


# Both files for `ray up`


@LAUNCHED
def test_ray_accepts_the_file(path: Path) -> None:
    prepared(path)


@LAUNCHED
def test_ray_refuses_the_file_with_a_misspelt_key(path: Path) -> None:
    broken = read_yaml(path) | {"setup_comands": []}
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        validate_config(prepare_config(broken))


def test_ray_refuses_a_head_of_no_type() -> None:
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(prepare_config(read_yaml(CLUSTER) | {"head_node_type": "haed"}))


@LAUNCHED
def test_every_start_is_under_token_authentication(path: Path) -> None:
    config = prepared(path)
    assert len(starts(config)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts(config))
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@LAUNCHED
def test_the_dashboard_listens_on_loopback(path: Path) -> None:
    (head, _) = starts(prepared(path))
    options = shlex.split(head)
    assert [o for o in options if o.startswith("--dashboard-host")] == [
        "--dashboard-host=127.0.0.1"
    ]


@LAUNCHED
def test_setting_up_installs_this_project(path: Path) -> None:
    config = prepared(path)
    sent = {local for local in config["file_mounts"].values() if not local.startswith("~")}
    assert all((ROOT / local).exists() for local in sent)
    # What a build reads: both packages, and the files that pyproject.toml names.
    assert {"dipstage", "search", "pyproject.toml", "README.md", "LICENSE"} <= sent
    for node in ("head", "worker"):
        commands = config[f"{node}_setup_commands"]
        (install,) = [command for command in commands if "pip install" in command]
        assert "cd ~/dipsearch" in install
        assert "'.[postgresql,s3]'" in install


@LAUNCHED
def test_all_commands_are_shell(path: Path) -> None:
    config = prepared(path)
    for key in ("setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"):
        for command in config[f"{key}_commands"]:
            subprocess.run(["bash", "-n", "-c", command], check=True)


@LAUNCHED
def test_the_file_holds_no_secret(path: Path) -> None:
    text = path.read_text()
    assert "RAY_AUTH_TOKEN=" not in text
    assert "postgresql://" not in text
    assert "AKIA" not in text


def test_the_on_premises_head_listens_where_the_file_says() -> None:
    config = prepared(ON_PREMISES)
    (head, _) = starts(config)
    assert f"--node-ip-address={config['provider']['head_ip']} " in head
    assert "--num-cpus=0 --num-gpus=0" in head


# cluster.yaml alone


def test_the_head_runs_no_trials() -> None:
    config = prepared(CLUSTER)
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_workers_come_from_zero_and_within_the_bound() -> None:
    config = prepared(CLUSTER)
    types = {k: v for k, v in config["available_node_types"].items() if k != "head"}
    assert [node["min_workers"] for node in types.values()] == [0, 0]
    assert all(node["max_workers"] <= config["max_workers"] for node in types.values())
    assert all(node["resources"]["GPU"] for node in types.values())
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False


def asked_for(config: dict[str, Any], trials: int) -> dict[str, int]:
    """Which nodes Ray's autoscaler asks for where only the head runs and so many trials wait."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.core.generated.autoscaler_pb2 import ResourceRequest, ResourceRequestByCount

    autoscaling = AutoscalingConfig(config, skip_content_hash=True)
    trial = ResourceRequest(resources_bundle={"CPU": 1, "GPU": 1})
    reply = ResourceDemandScheduler(event_logger=None).schedule(
        SchedulingRequest(
            node_type_configs=autoscaling.get_node_type_configs(),
            disable_launch_config_check=True,
            max_num_nodes=autoscaling.get_max_num_nodes(),
            resource_requests=[ResourceRequestByCount(request=trial, count=trials)],
        )
    )
    wanted: dict[str, int] = {}
    for request in reply.to_launch:
        wanted[request.instance_type] = wanted.get(request.instance_type, 0) + request.count
    return wanted


def test_waiting_trials_bring_spot_workers_up_to_the_bound() -> None:
    config = prepared(CLUSTER)
    workers = {n: asked_for(config, n).get("gpu-spot", 0) for n in (0, 2, 9)}
    assert workers == {0: 0, 2: 2, 9: config["max_workers"]}
    assert "gpu-on-demand" not in asked_for(config, 9)


def test_spot_is_preferred_where_both_types_may_start_and_can_be_given_up() -> None:
    config = prepared(CLUSTER)
    spot, demand = (config["available_node_types"][k] for k in ("gpu-spot", "gpu-on-demand"))
    demand["max_workers"] = 4
    assert asked_for(config, 2).get("gpu-spot") == 2
    spot["max_workers"] = 0  # As the file's comment says.
    assert asked_for(config, 2).get("gpu-on-demand") == 2


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """cluster.yaml as `ray up` bootstraps it, on a simulated AWS."""
    moto = pytest.importorskip("moto")
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))  # For the key pair that Ray makes.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with moto.mock_aws():
        import boto3
        from ray.autoscaler._private.aws.config import bootstrap_aws

        image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
        config = prepared(CLUSTER)
        for node in config["available_node_types"].values():
            node["node_config"]["ImageId"] = image
        # A profile of one's own: moto takes ten seconds to know AWS's policies.
        head = config["available_node_types"]["head"]["node_config"]
        head["IamInstanceProfile"] = {"Name": "mine"}
        yield bootstrap_aws(config)


def test_nothing_but_ssh_is_open_to_the_world(aws: dict[str, Any]) -> None:
    import boto3

    groups = {
        group
        for node in aws["available_node_types"].values()
        for group in node["node_config"]["SecurityGroupIds"]
    }
    assert len(groups) == 1
    (group,) = boto3.client("ec2").describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    assert group["GroupName"] == "dipsearch"
    from_outside = [
        rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule["Ipv6Ranges"]
    ]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in from_outside] == [(22, 22)]
    within = [
        pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]
    ]
    assert set(within) == groups


@pytest.mark.parametrize(("kind", "lifecycle"), [("gpu-spot", "spot"), ("gpu-on-demand", None)])
def test_workers_are_bought_as_their_type_says(
    aws: dict[str, Any], kind: str, lifecycle: str | None
) -> None:
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(aws["provider"], aws["cluster_name"])
    node = aws["available_node_types"][kind]["node_config"]
    (made,) = provider.create_node(node, {"ray-node-type": "worker"}, 1)
    (reservation,) = boto3.client("ec2").describe_instances(InstanceIds=[made])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance.get("InstanceLifecycle") == lifecycle
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert all(disk["Ebs"]["DeleteOnTermination"] for disk in instance["BlockDeviceMappings"])


# Kubernetes


def test_the_ray_job_starts_empty_authenticates_and_cleans_up() -> None:
    job = read_yaml(RAYJOB)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] < 600
    assert spec["activeDeadlineSeconds"] > 0
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert head["serviceType"] == "ClusterIP"
    assert workers["minReplicas"] == workers["replicas"] == 0
    (worker,) = workers["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "envFrom" not in worker, "workers need no password"


@pytest.mark.parametrize("known", [True, False], ids=["resumes", "launches"])
def test_the_ray_job_s_entrypoint_survives_two_shells(tmp_path: Path, known: bool) -> None:
    """KubeRay's submitter splits it as a shell does, and Ray's client joins the words again."""
    stand_in(tmp_path / "dipsearch", f'echo "$@"\n[[ $1 != status ]] || exit {0 if known else 2}')
    words = shlex.split(read_yaml(RAYJOB)["spec"]["entrypoint"])
    done = subprocess.run(
        ["bash", "-c", subprocess.list2cmdline(words)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "RUNS_DIR": "s3://bucket/prefix"},
        capture_output=True,
        text=True,
        check=True,
    )
    end = "--runs-dir s3://bucket/prefix --address auto"
    assert done.stdout.strip() == (
        f"resume report {end}"
        if known
        else f"launch /home/ray/dipsearch/experiments/report.yaml --name report {end} "
        "--concurrent 4 --set resources.gpus_per_trial=1"
    )


def closed(schema: Any) -> Any:
    """A Kubernetes schema as a strict API server reads it: an unknown field is an error."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(part) for key, part in schema.items()}
    if strict.get("type") == "object" and isinstance(strict.get("properties"), dict):
        open_ended = strict.get("x-kubernetes-preserve-unknown-fields", False)
        strict.setdefault("additionalProperties", open_ended)
    if strict.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    return strict


@pytest.mark.skipif("KUBERAY_RAYJOB_CRD" not in os.environ, reason="KUBERAY_RAYJOB_CRD is not set")
def test_the_ray_job_is_one_by_kuberay_s_schema() -> None:
    definition = read_yaml(Path(os.environ["KUBERAY_RAYJOB_CRD"]))
    (version,) = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    job = read_yaml(RAYJOB)
    jsonschema.validate(job, schema)
    misspelt = copy.deepcopy(job)
    misspelt["spec"]["rayClusterSpec"]["authOption"] = {"mode": "token"}
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        jsonschema.validate(misspelt, schema)


# Slurm


def stand_in(path: Path, script: str) -> None:
    """A program that notes how it was called in a log beside it, then does what the script says."""
    path.parent.mkdir(exist_ok=True)
    note = 'echo "$(basename "$0") $*" >> "$(dirname "$0")/log"'
    path.write_text(f"#!/usr/bin/env bash\n{note}\n{script}\n")
    path.chmod(0o755)


# Ends, as `srun` and the programs here do, at once and with a trace when it gets SIGTERM.
UNTIL_TERM = """
trap 'echo "$(basename "$0") ended" >> "$(dirname "$0")/log"; exit {code}' TERM
while :; do sleep 0.05; done
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


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_no_complaint() -> None:
    subprocess.run(["shellcheck", str(SLURM)], check=True)


def test_the_first_job_launches_over_all_nodes(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, "exit 0", status_code=2)
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
    job = SlurmJob(tmp_path, "exit 0", status_code=0, RUNS_DIR="s3://bucket/prefix")
    assert job.run("mine", "experiments/report.yaml", "--trials", "9") == (0, "")
    assert not job.calls("dipsearch launch")
    assert job.calls("dipsearch resume") == [
        "dipsearch resume mine --runs-dir s3://bucket/prefix --address 10.0.0.1:6379"
    ]


def test_each_job_has_a_token_of_its_own_that_no_command_line_shows(tmp_path: Path) -> None:
    tokens = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        job = SlurmJob(tmp_path / name, "exit 0", status_code=2)
        job.run("mine", "report.yaml")
        mode, token = (job.bin / "token").read_text().split()
        assert mode == "token"
        assert len(token) == 64
        assert not [line for line in job.log() if token in line]
        tokens.add(token)
    assert len(tokens) == 2


@pytest.mark.parametrize(
    ("sent", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=str
)
def test_a_signal_ends_the_driver_then_ray_and_only_the_time_limit_requeues(
    tmp_path: Path, sent: signal.Signals, requeued: bool
) -> None:
    job = SlurmJob(tmp_path, UNTIL_TERM.format(code=130), status_code=2)
    process = job.start("mine", "report.yaml")
    wait_until(lambda: (job.bin / "token").exists() and len(job.calls("srun --")) == 2)
    time.sleep(0.3)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert bool(job.calls("scontrol requeue 7")) is requeued
    ended = [line for line in job.log() if line.endswith("ended")]
    assert ended == ["dipsearch ended", "srun ended", "srun ended"]


def test_a_search_that_ends_at_the_time_limit_is_not_requeued(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, UNTIL_TERM.format(code=0), status_code=2)
    process = job.start("mine", "report.yaml")
    wait_until((job.bin / "token").exists)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not job.calls("scontrol requeue")


def test_a_driver_that_fails_fails_the_job(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, "exit 2", status_code=2)
    assert job.run("mine", "report.yaml") == (2, "")
    assert not job.calls("scontrol requeue")


def test_a_cluster_that_does_not_start_fails_the_job_and_is_ended(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, "exit 0", status_code=2, START_SECONDS="0")
    stand_in(job.bin / "python3", "exit 1")
    code, errors = job.run("mine", "report.yaml")
    assert code == 1
    assert "Ray did not start on 3 nodes" in errors
    assert not job.calls("dipsearch")
    assert not [line for line in job.log() if line.startswith("scontrol requeue")]


def test_sqlite_on_nfs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    job = SlurmJob(tmp_path, "exit 0", status_code=2)
    stand_in(job.bin / "stat", "echo nfs")
    code, errors = job.run("mine", "report.yaml")
    assert code == 2
    assert "set DIPSEARCH_STORAGE" in errors
    assert not job.calls("srun")


def test_a_node_with_loopback_alone_is_refused(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, "exit 0", status_code=2)
    stand_in(job.bin / "getent", 'printf "127.0.1.1 STREAM\\n"')
    code, errors = job.run("mine", "report.yaml")
    assert code == 1
    assert "node1 has no address but loopback" in errors
