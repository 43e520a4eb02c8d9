"""Device, threads and memory of the commands that train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dipstage.errors import InputError, WorkError

if TYPE_CHECKING:
    from dipstage.schedules.settings import TrainerSettings


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, or another device of PyTorch such as mps or xpu.",
)


def refuse_too_large(
    wanted: int, settings: TrainerSettings, height: int, width: int, device: str
) -> None:
    """Raise InputError if a training that takes about `wanted` bytes clearly does not fit."""
    from dipstage.training.memory import free_bytes

    free = free_bytes(device)
    if 0.7 * wanted > free:
        raise InputError(
            f"{width} × {height} pixels with width {settings.width} take about "
            f"{wanted / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free on {device}: "
            "lower --size or --width"
        )


def use_threads(threads: int | None, pixels: int, runs: int = 1) -> None:
    """Set the CPU threads that were asked for; by default one for each run on a small picture."""
    import torch

    if threads is None and pixels <= 128 * 128:
        threads = min(runs, torch.get_num_threads())
    if threads is not None:
        torch.set_num_threads(threads)


@contextmanager
def out_of_memory_said(device: str, lower: str = "--size or --width") -> Iterator[None]:
    """Turn the error of a training for which memory runs out into one that says what to lower."""
    from dipstage.training.memory import is_out_of_memory

    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise WorkError(f"memory ran out on {device}: lower {lower}") from None
        raise


def choose_device(name: str) -> str:
    """Return the device of a name, and of `auto`; InputError if it cannot be used."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu:0":
        return "cpu"
    try:
        if name.startswith("cpu:"):  # PyTorch takes any number of the one CPU.
            raise ValueError(name)
        torch.Generator(device=name)
        torch.zeros(1, device=name).cpu()
    except Exception as error:  # Each kind of device raises errors of its own.
        from dipstage.training.memory import is_out_of_memory

        if is_out_of_memory(error):
            raise InputError(
                f"--device {name} has no memory left: free it or name another"
            ) from None
        raise InputError(
            f"--device {name!r} cannot be used: this machine has {', '.join(_devices())}"
        ) from None
    return name


def _devices() -> list[str]:
    """Return the devices of this machine that PyTorch can use."""
    import torch

    kinds = {"cuda": torch.cuda, "xpu": torch.xpu, "mps": torch.mps}
    return ["cpu"] + [
        f"{kind}:{i}" if kind != "mps" else kind
        for kind, module in kinds.items()
        for i in range(module.device_count())
    ]
