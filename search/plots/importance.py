"""The importance of the parameters for both objectives."""

from __future__ import annotations

from typing import Any

from dipstage.errors import InputError
from dipstage.terminal.palette import BLUE, ORANGE
from search.analysis.importance import importance_of
from search.plots.style import SMALL, Plot, Style, drawing, legend_below, math_label
from search.store.run import RunRecord

_BAR = 0.38


def plot_importance(run: RunRecord, style: Style = "screen") -> Plot:
    """Draw two bars for each parameter, the most important on top; InputError if there are none."""
    found = importance_of(run)
    if not found.values:
        raise InputError(found.reason)
    totals: dict[str, float] = {}
    for shares in found.values.values():
        for name, share in shares.items():
            totals[name] = totals.get(name, 0.0) + share
    if not totals:
        raise InputError(f"all trials of {run.name} have equal scores: no parameter matters")
    names = sorted(totals, key=lambda name: (totals[name], name))
    labels = (math_label(run.objective.quality.words), run.objective.cost.words)
    looks: tuple[Any, ...] = ({"color": BLUE}, {"facecolor": ORANGE, "hatch": "///"})
    width = 7.0 if style == "screen" else 3.4
    high = (0.42 if style == "screen" else 0.3) * len(names) + (1.3 if style == "screen" else 0.8)
    with drawing(style, high / width) as figure:
        axes = figure.subplots()
        for i, (shares, label, look) in enumerate(
            zip(found.values.values(), labels, looks, strict=False)
        ):
            if not shares:
                continue
            values = [shares[name] for name in names]
            places = [k + _BAR * (0.5 - i) for k in range(len(names))]
            bars = axes.barh(
                places, values, _BAR, label=label, edgecolor="black", linewidth=0.5, **look
            )
            axes.bar_label(bars, [f"{v:.2f}" for v in values], padding=2, fontsize=SMALL[style])
        axes.set_yticks(range(len(names)), names)
        axes.tick_params("y", length=0)
        axes.grid(False, axis="y")
        axes.margins(x=0.12)
        axes.set_xlabel("share of what single parameters explain")
        legend_below(figure, axes, columns=2, math=True)
        figure.explain(f"{run.name}: importance of the parameters", found.note)
    return figure
