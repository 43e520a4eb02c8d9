"""Thinning of curves that keeps every maximum and every stage switch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 150
"""Number of points of a thinned curve, not counting stage switches and maxima."""


def kept(
    curves: Sequence[NDArray[np.floating[Any]]], always: Iterable[int] = (), points: int = POINTS
) -> NDArray[np.int64]:
    """Return the iterations at which curves are drawn, in increasing order.

    The result contains both ends, the first maximum of each curve and the valid iterations in
    `always`. It also contains the lowest and the highest point of the first curve in each of
    several equal intervals, which preserves the envelope of that curve.

    Args:
        curves: Curves of equal length.
        always: Iterations to keep if they exist.
        points: Number of points, not counting maxima and `always`.
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
