"""How much memory a training may use."""

import sys
import weakref
from contextlib import suppress
from subprocess import run as run_process
from typing import Any

import pytest
import torch

from dipstage.garbage import uncollected
from dipstage.randomness import Streams
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.training.measurements import Progress
from dipstage.training.memory import estimated_bytes, free_bytes, is_out_of_memory
from dipstage.training.network import SkipNetwork
from dipstage.training.trainer import fit


@pytest.mark.long
def test_free_memory_is_at_most_the_limit_of_the_process() -> None:
    """In a process of its own, which keeps the limit."""
    program = """
import resource
from dipstage.training.memory import free_bytes
free = free_bytes("cpu")
resource.setrlimit(resource.RLIMIT_AS, (5 * 10**9,) * 2)
assert free_bytes("cpu") < min(5 * 10**9, free + 10**9)
"""
    run_process([sys.executable, "-c", program], check=True)


def test_the_estimate_grows_with_the_channels_of_the_input() -> None:
    """In fp32 on a CPU, peaks of 126 and 399 MB were measured: a training keeps four inputs."""
    found = [
        estimated_bytes(TrainerSettings(width=32, scales=4, input_depth=depth), 128, 128)
        for depth in (32, 1024)
    ]
    assert found[0] == pytest.approx(161e6, rel=0.01)
    assert 399e6 < found[1] < 520e6
    deep = TrainerSettings(width=32, scales=4, input_depth=1024)
    assert estimated_bytes(deep, 128, 128, 3) - found[1] == 2 * (found[1] - 100_000_000)


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_has_ended_leaves_no_network_to_be_collected(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    networks = []

    class Network(SkipNetwork):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            networks.append(weakref.ref(self))

    def progress(now: Progress) -> None:
        if fails:
            raise MemoryError

    monkeypatch.setattr("dipstage.training.trainer.SkipNetwork", Network)
    settings = TrainerSettings(width=4, scales=1, input_depth=4)
    picture = torch.rand(1, 1, 16, 16)
    with uncollected(), suppress(MemoryError):
        fit(picture, None, Schedule.plain(10), settings, Streams("0" * 64, 0), progress=progress)
    assert [network() for network in networks] == [None]


@pytest.mark.parametrize(
    "said",
    [
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ],
)
def test_what_libraries_of_a_gpu_say_is_about_memory_where_little_is_free(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """The second GPU trains; the first, which others fill, does not count."""
    free = [1, 50]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: device)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free[device], 100))
    assert not is_out_of_memory(RuntimeError(said))
    free[1] = 5
    assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_a_library_that_says_that_it_got_no_memory_is_believed() -> None:
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))


def test_a_gpu_that_does_not_answer_is_not_called_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: int) -> int:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.memory_reserved", broken)
    assert not is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))


def test_memory_that_pytorch_keeps_for_reuse_on_a_gpu_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (30, 80))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 45)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 5)
    assert free_bytes("cuda") == 70
