"""The colours of every figure and page.

Those of figures are from Okabe and Ito (2008), which people with any of the common colour
blindnesses tell apart. Those of pages are near them, with a contrast of at least 4.5 for text.
"""

from __future__ import annotations

from types import MappingProxyType

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY, FAINT = "0.72", "0.85"
"""Points of no interest; lines behind the others. Figures take greys as matplotlib writes them."""

THEMES = MappingProxyType(
    {
        "light": MappingProxyType(
            {
                "paper": "#ffffff", "raised": "#f4f5f7", "ink": "#16191d", "quiet": "#59616b",
                "line": "#dcdfe4", "blue": BLUE, "orange": "#b84a00", "green": "#00734f",
                "purple": "#a04c85", "grey": "#858d97", "faint": "#b9c0c8", "focus": "#0b57d0",
            }
        ),
        "dark": MappingProxyType(
            {
                "paper": "#14171b", "raised": "#1f242a", "ink": "#eceff2", "quiet": "#a3acb6",
                "line": "#343a42", "blue": SKY, "orange": "#f0983a", "green": "#2fc495",
                "purple": "#dd92bd", "grey": "#7d8690", "faint": "#4d555f", "focus": "#8ab4f8",
            }
        ),
    }
)  # fmt: skip
"""Colours of a page by theme and by what they are for."""
