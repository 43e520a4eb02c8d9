"""The wheel alone, without the repository: it runs a search from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from search import Run

ROOT = Path(__file__).parents[1]
SMALL = [
    "name=small", "images=[skimage:camera]", "size=16", "seeds=[0]", "candidates=[baseline]",
    "trainer.iterations=20", "trainer.width=4", "trainer.scales=1", "trainer.input_depth=4",
    "trainer.patience=5", "space.ramp={low: 5, high: 15}", "search.trials=1",
    "resources.concurrent=1",
]  # fmt: skip


@pytest.mark.ray
@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling, of dev, is not installed")
def test_a_wheel_in_an_empty_environment_runs_a_packaged_experiment(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    _run(
        sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels),
        folder=ROOT,
    )  # fmt: skip
    [wheel] = wheels.glob("*.whl")
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    _run(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
        "--no-index", str(wheel), folder=tmp_path,
    )  # fmt: skip
    # Only now does it see what this environment has: all but what is installed as editable, because
    # files that end in .pth are read in an environment's own folder only.
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    for package in ("dipstage", "search"):
        program = f"import {package}; print({package}.__file__)"
        file = Path(_run(str(python), "-c", program, folder=empty).strip())
        assert file.is_relative_to(packages)
        assert file.with_name("py.typed").is_file()
    schedules = {path.name for path in (packages / "dipstage/published").iterdir()}
    assert schedules == {path.name for path in (ROOT / "dipstage/published").iterdir()}
    shipped, ours = packages / "search/experiments", ROOT / "experiments"
    names, own = (
        {str(path.relative_to(folder)) for path in folder.rglob("*.yaml")}
        for folder in (shipped, ours)
    )
    assert names == {name for name in own if not name.startswith("results/")}
    shipped, ours = packages / "search/docs", ROOT / "docs"
    pages, own = (
        {str(path.relative_to(folder)) for path in folder.rglob(kind) if path.is_file()}
        for folder, kind in ((shipped, "*"), (ours, "*.md"))
    )
    assert pages == own
    assert "commands/dipsearch.md" in pages
    # Neither the commands nor their workers import from the user's folder.
    for package in ("dipstage", "search"):
        (empty / f"{package}.py").write_text("raise RuntimeError('the wrong module')\n")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    _run(str(python.with_name("dipsearch")), "launch", "quickstart", *settings, folder=empty)
    records = Run.open("small", empty / "runs").records()
    assert [trial.state for trial in records] == ["complete"] * 2


def _run(*command: str, folder: Path) -> str:
    """Run a command without what would lead to the repository; return its output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
