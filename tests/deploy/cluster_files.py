"""Where the cluster files are, how they are read, and programs that stand in for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CLUSTER, ON_PREMISES = ROOT / "cluster.yaml", ROOT / "deploy/on-premises.yaml"
RAYJOB, SLURM = ROOT / "deploy/rayjob.yaml", ROOT / "deploy/slurm.sh"


def read_yaml(path: Path) -> dict[str, Any]:
    """As Ray and Kubernetes read it: with anchors, which this project's own files may not have."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return content


def stand_in(path: Path, script: str) -> None:
    """A program that notes how it was called in a log beside it, then does what the script says."""
    path.parent.mkdir(exist_ok=True)
    note = 'echo "$(basename "$0") $*" >> "$(dirname "$0")/log"'
    path.write_text(f"#!/usr/bin/env bash\n{note}\n{script}\n")
    path.chmod(0o755)
