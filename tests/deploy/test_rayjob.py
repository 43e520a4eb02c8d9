"""The RayJob, against KubeRay's schema where KUBERAY_RAYJOB_CRD names its file.

That is ray.io_rayjobs.yaml of the KubeRay version that runs; see docs/cluster.md.
"""

from __future__ import annotations

import copy
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from cluster_files import RAYJOB, read_yaml, stand_in


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
