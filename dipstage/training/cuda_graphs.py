"""CUDA graphs: many small kernels of one iteration as a single launch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from dipstage.garbage import uncollected

EAGER_CALLS = 2
"""Calls before the capture, in which libraries choose algorithms and allocate workspaces."""


class Replayed:
    """A function without arguments that a GPU replays as a CUDA graph after its first calls.

    The function reads and writes the same tensors each time, reads nothing back from the device and
    draws only from the given generators. It must be called in the stream that it is captured in. On
    a CPU, and without `capture`, it is simply called.

    Args:
        function: What is called.
        generators: Random generators of the device that it draws from.
        capture: Whether to replay it.
    """

    def __init__(
        self, function: Callable[[], None], generators: Sequence[torch.Generator], *, capture: bool
    ) -> None:
        self._function, self._generators = function, generators
        self._eager = EAGER_CALLS if capture else math.inf
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do what the function does."""
        if self._graph is not None:
            self._graph.replay()
        elif self._eager:
            self._eager -= 1
            self._function()
        else:
            self._graph = torch.cuda.CUDAGraph()
            for generator in self._generators:
                self._graph.register_generator_state(generator)
            # What the first calls have left in PyTorch's cache is given back, because the capture
            # allocates the same once more and cannot use it. Memory that is freed during a capture
            # would end it. `torch.cuda.graph` does both as well, but waits for all streams.
            torch.cuda.empty_cache()
            with uncollected():
                self._graph.capture_begin()
                try:
                    self._function()
                finally:
                    self._graph.capture_end()
            self._graph.replay()
