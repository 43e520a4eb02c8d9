"""Memory that a training takes, what is free, and errors that say it ran out."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from dipstage.errors import InputError
from dipstage.schedules.settings import TrainerSettings

_RAN_OUT = re.compile(
    r"(?i)can't allocate memory|not enough memory|out of memory|bad_alloc|status_alloc_failed"
)
_MAY_HAVE_RUN_OUT = re.compile(r"(?i)unable to find an engine|cudnn_status_|cublas_status_")
"""Errors of cuDNN and cuBLAS that lack of memory raises, and other faults as well."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's allocator for the CPU raises a plain RuntimeError.
    if not isinstance(error, RuntimeError):
        return False
    said = str(error)
    return _RAN_OUT.search(said) is not None or (
        _MAY_HAVE_RUN_OUT.search(said) is not None and _is_a_gpu_full()
    )


def _is_a_gpu_full() -> bool:
    """Return whether less than a tenth of a GPU is free, of those that this process uses."""
    with suppress(RuntimeError):  # After some errors a GPU does not answer any more.
        for device in range(torch.cuda.device_count()):
            if torch.cuda.memory_reserved(device):
                free, total = torch.cuda.mem_get_info(device)
                if free < total / 10:
                    return True
    return False


def estimated_bytes(settings: TrainerSettings, height: int, width: int, trainings: int = 1) -> int:
    """Return about what so many trainings at a time take at their peak, fitted to eight on a CPU.

    height, width: of the picture, in pixels.
    """
    skips = max(settings.skip_channels - 4, 0)
    finest = settings.widths[0]
    inputs = 5 * max(settings.input_depth - 32, 0)
    activations = 4 * height * width * (20 * finest + 12 * skips + 256 + inputs)
    weights = 20 * sum(w * (28 * w + 9 * skips) for w in settings.widths)
    return 100_000_000 + trainings * (activations + weights)


def free_bytes(device: str) -> int:
    """Return the memory that this process can still take: of a GPU, or of the machine.

    Limits of the process (`ulimit -v`) and of its container count as well as what others use.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        # PyTorch keeps what it has freed, and takes it first.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    with suppress(ImportError, OSError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free = min(free, limit - psutil.Process().memory_info().vms)
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        used = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, limit - int(used["anon"]))
    return max(free, 0)


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device; InputError if PyTorch cannot use it here."""
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except Exception as error:  # Each kind of device raises errors of its own.
        if is_out_of_memory(error):
            raise
        raise InputError(f"device {device!r} cannot be used on this machine: try 'cpu'") from None
    return found
