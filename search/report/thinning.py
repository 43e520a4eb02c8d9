"""Thinning of curves: no maximum moves, and no stage switch is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 150
"""Points of a thinned curve, besides stage switches and maxima."""


def kept(
    curves: Sequence[NDArray[np.floating[Any]]], always: Iterable[int] = (), points: int = POINTS
) -> NDArray[np.int64]:
    """Return the iterations, in rising order, at which curves of equal length are drawn.

    They are the ends, each curve's first maximum, those of `always` that exist, and the lowest and
    highest point of the first curve in equal stretches, which keeps its envelope.
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
