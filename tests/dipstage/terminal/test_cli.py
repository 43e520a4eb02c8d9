"""dipstage as a person types it."""

import sys
from pathlib import Path
from subprocess import run as run_process

import pytest
from small_commands import SMALL, dipstage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.png"], "picture 'none.png' does not exist"),
        (["run", "skimage:lena"], "unknown picture 'skimage:lena'"),
        (
            ["run", "skimage:camera", "--schedule", "log11"],
            "unknown schedule 'log11': choose fast, best, baseline",
        ),
        (["run", "skimage:camera", "--schedule", "none.yaml"], "none.yaml does not exist"),
        (["run", "skimage:camera", "--schedule", "uniform:stages=0"], "stages must be"),
        (["run", "skimage:camera", "--iterations", "0"], "iterations must be at least 1, got 0"),
        (
            ["run", "skimage:camera", "--schedule", "sharp-linear", "--iterations", "60"],
            "more than the ramp of 70, got 60",
        ),
        (["run", "skimage:camera", "--size", "50"], "size must be a multiple of 32"),
        (["run", "skimage:camera", "--size", "0"], "and above 0, got 0"),
        (["run", "skimage:camera", "--threads", "257"], "--threads must be at most 256, got 257"),
        (["run", "skimage:camera", "--output", ""], "--output is empty: give a value"),
        (
            ["run", "skimage:camera", "--task", "inpaint:missing=0.5,missing=0.9"],
            "gives missing twice",
        ),
        (
            ["run", "skimage:camera", "--task", "denoise:sigma_255=5", "--sigma", "9"],
            "--sigma 9 and sigma_255 in --task are both given",
        ),
        (["run", "skimage:camera", "--sigma", "nan"], "--sigma must be a finite number"),
        (["run", "skimage:camera", "--sigma", "-1"], "--sigma must be at least 0, got -1"),
        (
            ["run", "skimage:camera", "--learning-rate", "0"],
            "learning_rate must be in (0, 1], got 0",
        ),
        (["run", "skimage:camera", "--scales", "0"], "scales must be from 1 to 8, got 0"),
        (["run", "skimage:camera", "--seed", "-1"], "seed"),
        (
            ["run", "skimage:camera", "--iterations", "30", "--snapshots", "31"],
            "--snapshots 31 is above the training's 30 iterations, so that nothing would be kept",
        ),
        (["run", "skimage:camera", "--device", "tpu9"], "this machine has cpu"),
        *(
            (["run", "skimage:camera", "--device", name], "this machine has cpu")
            for name in (
                "mps:7",
                "xpu:9",
                "meta",
                "hpu",
                "vulkan",
                "CPU",
                "cpu:3",
                "cpu:",
                "gpu",
                "0",
                "cuda:-1",
            )
        ),
        (["run", "skimage:camera", "--device", "cuda:99"], "this machine has cpu"),
        (["schedules", "log10", "--size", "64"], "--size is only for fast and best: name one"),
        (["schedules", "--size", "64"], "--size is only for fast and best"),
        (["schedules", "log10:max_level=0.5", "--sigma", "50"], "--sigma changes no preset: name"),
        (["schedules", "--sigma", "50"], "--sigma changes no preset"),
        (["restore", "skimage:chelsea"], "is a picture of scikit-image: name a file instead"),
        (["schedules", "log11"], "unknown schedule 'log11': choose fast, best, baseline"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_requests_get_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dipstage(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_dipstage_stands_without_ray_optuna_and_pydantic(tmp_path: Path) -> None:
    """In a process where importing any of them fails."""
    program = f"""
import sys
for name in ("ray", "optuna", "pydantic"):
    sys.modules[name] = None
from dipstage.terminal.cli import main
main(["run", "skimage:camera", *{SMALL}, "--output", {str(tmp_path)!r}])
"""
    run_process([sys.executable, "-c", program], check=True)
    assert (tmp_path / "curves.csv").exists()
