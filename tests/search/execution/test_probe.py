"""How many trials a GPU gets: the rule, and real processes that train side by side."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dipstage.errors import WorkError
from dipstage.pictures.images import load_picture
from dipstage.schedules.settings import TrainerSettings
from search.execution.probe import Crew, packing, probe

PICTURE = load_picture("skimage:camera", size=16, multiple=2)
SETTINGS = TrainerSettings(width=4, scales=1, input_depth=4)


@pytest.mark.parametrize(
    ("speeds", "most", "best"),
    [
        ({1: 10.0, 2: 10.5}, 8, 1),  # A twentieth more is not worth the memory.
        ({1: 10.0, 2: 18.0, 4: 19.0}, 8, 2),
        ({1: 10.0, 2: 20.0, 4: 40.0, 8: 80.0}, 8, 8),
        ({1: 10.0, 2: 20.0}, 3, 2),  # Four would be more than there are cores for.
        ({1: 10.0, 2: None}, 8, 1),
        ({1: 10.0, 2: 18.0, 4: None}, 8, 2),
        ({1: 10.0}, 1, 1),
    ],
)
def test_trials_are_doubled_while_that_gets_more_done(
    speeds: dict[int, float | None], most: int, best: int
) -> None:
    asked = []

    def speed_of(size: int) -> float | None:
        asked.append(size)
        return speeds[size]

    chosen, seen = packing(speed_of, most)
    assert chosen == best
    assert asked == list(speeds)
    assert ("does not fit" in seen) == (None in speeds.values())


@pytest.mark.long
def test_a_crew_trains_in_processes_of_its_own() -> None:
    crew = Crew(2, PICTURE, SETTINGS, "cpu", threads=1)
    try:
        assert crew.speed(5) > 0
    finally:
        crew.end()
    assert not any(process.is_alive() for process in crew.processes)


@pytest.mark.long
def test_what_a_training_cannot_do_is_told_in_words() -> None:
    with pytest.raises(WorkError, match=r"InputError: sides must be multiples"):
        probe("cpu", load_picture("skimage:camera", size=15, multiple=1), SETTINGS, 1)


_ON_A_CLUSTER = """
from fake_runs import experiment
from search.execution.ray_internals import without_services
from search.execution.resources import ray, resources_of, trials_per_gpu
from dipstage.errors import InputError
from search.experiment.objectives import Objective
from search.execution.training import Setting
from dipstage.tasks.denoise import Denoise
from test_probe import PICTURE, SETTINGS

def setting(device):
    return Setting({"camera": PICTURE}, (0,), Denoise(), SETTINGS, Objective(), 1, device)

if __name__ == "__main__":
    # A GPU that Ray counts and PyTorch does not know.
    with without_services():
        ray.init(num_cpus=2, num_gpus=1, log_to_driver=False)
    tiny = experiment()
    shares = resources_of(tiny)
    print(*trials_per_gpu(tiny, shares, setting("cpu")))
    try:
        trials_per_gpu(tiny, shares, setting("cuda"))
    except InputError as error:
        print(error)
"""


@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_cluster_s_gpu_is_probed_by_one_of_its_workers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_ON_A_CLUSTER)
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"}, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2, done.stderr
    assert re.match(r"([12]) \1 to a GPU \(iterations a second by trials on it: 1: \d", lines[0])
    assert lines[1].startswith("resources: no trial can be trained on a GPU here (")
    assert "set resources.device to cpu" in lines[1]


def test_a_training_that_is_killed_is_told_in_words() -> None:
    crew = Crew(1, PICTURE, SETTINGS, "cpu", threads=1)
    try:
        [process] = crew.processes
        process.kill()
        process.join()
        with pytest.raises(WorkError, match="a training ended without a result"):
            crew.speed(5)
    finally:
        crew.end()
