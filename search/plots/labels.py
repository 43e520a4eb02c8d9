"""Names beside points, placed so that they cover neither points, lines nor each other."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

_PLACES = tuple(
    (dx * far, dy * far, {-1: "right", 0: "center", 1: "left"}[dx],
     {-1: "top", 0: "center", 1: "bottom"}[dy])
    for far in (1, 2, 3)
    for dx, dy in ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
)  # fmt: skip
"""Possible places of a name: offsets to the right and up, in units of its distance, and
alignment."""
_BEFORE = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}
"""Share of a text that is left of or below the place that it is aligned to."""
_MARKER = 0.6
"""Half the side of a marker that names must not cover, as a fraction of the text size."""
_STROKE = 0.15
"""Half the width of a line that names must not cover, as a fraction of the text size."""
_PLACES_WITHOUT_LINE = 8
"""Number of places that are so near that no line to the point is needed."""


def label_points(
    figure: Figure,
    axes: Axes,
    named: Sequence[tuple[float, float, str]],
    others: Sequence[tuple[float, float]],
    size: float,
    strokes: Sequence[tuple[float, float, float, float]] = (),
) -> None:
    """Write a name beside each point (x, y, name), where it covers the least of all else.

    The limits of the axes must be final.

    others: points without a name. size: text size in points. strokes: horizontal and vertical lines
    from (x, y) to (x, y).
    """
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    radius, distance = _MARKER * size * scale, 0.55 * size
    spots = [axes.transData.transform(point) for point in [*((x, y) for x, y, _ in named), *others]]
    taken = [Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in spots]
    taken += [
        Bbox(axes.transData.transform([[x, y], [to_x, to_y]])).padded(_STROKE * size * scale)
        for x, y, to_x, to_y in strokes
    ]
    inside = axes.get_window_extent()
    for (x, y, name), (across, up) in zip(named, spots, strict=False):
        text = axes.annotate(
            name,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            annotation_clip=False,
            parse_math=False,  # File names can contain dollar signs.
            zorder=5,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": "0.4", "linewidth": 0.5, "shrinkA": 0,
                        "shrinkB": 0},
        )  # fmt: skip
        extent = text.get_window_extent()
        best: tuple[float, int, Bbox] | None = None
        for i, (dx, dy, ha, va) in enumerate(_PLACES):
            left = across + dx * distance * scale - _BEFORE[ha] * extent.width
            bottom = up + dy * distance * scale - _BEFORE[va] * extent.height
            right, top = left + extent.width, bottom + extent.height
            # With the line to the point.
            box = Bbox.from_extents(
                min(left, across), min(bottom, up), max(right, across), max(top, up)
            )
            cost = sum(_shared(box, other) for other in taken)
            cost += 4 * (box.width * box.height - _shared(box, inside))
            # Among equally free places the first wins, because it is the nearest.
            if best is None or cost < best[0] - 1e-6:
                best = cost, i, box
        assert best is not None
        dx, dy, ha, va = _PLACES[best[1]]
        text.set(horizontalalignment=ha, verticalalignment=va)
        text.xyann = (dx * distance, dy * distance)
        assert text.arrow_patch is not None
        text.arrow_patch.set_visible(best[1] >= _PLACES_WITHOUT_LINE)
        taken.append(best[2].padded(0.15 * size * scale))


def _shared(one: Bbox, other: Bbox) -> float:
    """Return the area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
