"""cluster.yaml and its on-premises sister, by Ray's validation, autoscaler and provider.

AWS is simulated; see docs/cluster.md.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from cluster_files import CLUSTER, ON_PREMISES, ROOT, read_yaml, stand_in
from ray.autoscaler._private.util import prepare_config, validate_config

pytestmark = pytest.mark.ray

LAUNCHED = pytest.mark.parametrize("path", [CLUSTER, ON_PREMISES], ids=lambda path: path.stem)


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
    assert {"dipsearch.py", "dipstage", "search", "pyproject.toml", "README.md", "LICENSE"} <= sent
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


def start_head(path: Path, home: Path) -> subprocess.CompletedProcess[bytes]:
    stand_in(home / "venv/bin/ray", 'env -0 > "$HOME/environment"')
    (head, _) = starts(prepared(path))
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(["bash", "-c", head], check=False, env=environment)


@LAUNCHED
def test_settings_reach_the_head_as_they_stand(path: Path, tmp_path: Path) -> None:
    settings = {
        "DIPSEARCH_STORAGE": "postgresql://u:a$HOME;'b@h/d?sslmode=require&channel_binding=require",
        "PGPASSWORD": ' a "b\\',
        "https_proxy": "http://proxy:3128",
    }
    lines = ["# the driver's", "", "EMPTY=", *(f"{k}={v}\r" for k, v in settings.items())]
    (tmp_path / "dipsearch.env").write_text("\n".join(lines))
    assert start_head(path, tmp_path).returncode == 0
    pairs = (tmp_path / "environment").read_text().rstrip("\0").split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs)
    assert settings == {name: environment.get(name) for name in settings}


@LAUNCHED
@pytest.mark.parametrize("line", ["export A=b", " A=b", 'A="b"', "A='b'", "A B=c", "A"])
def test_a_setting_that_would_be_lost_stops_the_head(path: Path, line: str, tmp_path: Path) -> None:
    (tmp_path / "dipsearch.env").write_text(f"{line}\nDIPSEARCH_STORAGE=sqlite:///a.db\n")
    assert start_head(path, tmp_path).returncode == 1
    assert not (tmp_path / "environment").exists()


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
