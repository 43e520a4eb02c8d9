"""CUDA graphs: many small kernels of one iteration as a single launch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence

import torch

from dipstage.garbage import uncollected

EAGER_CALLS = 2
"""Calls before the capture, in which libraries choose algorithms and allocate workspaces."""


class Replayed:
    """A method without arguments that a GPU replays as a CUDA graph after its first calls.

    The method reads and writes the same tensors each time, reads nothing back from the device and
    draws only from the given generators. It must be called in the stream that it is captured in. On
    a CPU, and without `capture`, it is simply called.

    Args:
        method: What is called, of the object that holds this one: it is held weakly, so that the
            memory of a run is free as soon as it ends.
        generators: Random generators of the device that it draws from.
        capture: Whether to replay it.
    """

    def __init__(
        self, method: Callable[[], None], generators: Sequence[torch.Generator], *, capture: bool
    ) -> None:
        self._method, self._generators = weakref.WeakMethod(method), generators
        self._eager = EAGER_CALLS if capture else math.inf
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do what the method does."""
        method = self._method()
        assert method is not None
        if self._graph is not None:
            self._graph.replay()
        elif self._eager:
            self._eager -= 1
            method()
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
                    method()
                finally:
                    self._graph.capture_end()
            self._graph.replay()
