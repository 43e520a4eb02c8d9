"""Curves in few points that tell the same: no maximum moves, no stage switch is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 150
"""Of a curve, beside stage switches and maxima."""


def kept(
    curves: Sequence[NDArray[np.floating[Any]]], always: Iterable[int] = (), points: int = POINTS
) -> NDArray[np.int64]:
    """Iterations, rising, at which curves of one length say what they say at all of them.

    The ends, each curve's first maximum, those in `always` that there are, and of even stretches
    the lowest and the highest point of the first curve, which so keeps its envelope.
    """
    length = len(curves[0])
    wanted = {0, length - 1, *(int(np.argmax(curve)) for curve in curves)}
    wanted |= {index for index in always if 0 <= index < length}
    if length <= points:
        return np.arange(length)
    edges = np.linspace(0, length, max(points // 2, 1) + 1).astype(int)
    for start, end in pairwise(edges.tolist()):
        stretch = curves[0][start:end]
        wanted |= {start + int(np.argmin(stretch)), start + int(np.argmax(stretch))}
    return np.array(sorted(wanted))
