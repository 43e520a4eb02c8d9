"""The machine that a benchmark ran on, and the file that keeps its results."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scikit-image", "ray", "optuna", "sqlalchemy")


def machine(**more: Any) -> dict[str, Any]:
    """Return hardware, load and versions, and print them."""
    found = {
        "hardware": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: known for name in PACKAGES if (known := _version(name)) is not None},
        **more,
    }
    print(", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    return found


def _processor() -> str:
    """Return the name of the processor and its instructions for bf16."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in values.items()}
    bf16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in known.get("flags", "").split()]
    name = known.get("model name", platform.machine())
    return f"{name} ({', '.join(bf16) or 'no bf16'})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(content: dict[str, Any], path: Path) -> None:
    """Write all raw numbers to a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written to {path}")
