"""How much memory a training may use."""

import sys
from subprocess import run as run_process

import pytest


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
