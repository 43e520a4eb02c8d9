"""How much memory a training may use."""

import sys
from subprocess import run as run_process

import pytest

from dipstage.training.memory import free_bytes


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


def test_memory_that_pytorch_keeps_for_reuse_on_a_gpu_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (30, 80))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 45)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 5)
    assert free_bytes("cuda") == 70
