"""Plain tables that fit the console: fewer columns where it is narrow, and no broken name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

BOUND = "\N{NO-BREAK SPACE}"
"""A space at which no line ends, for names such as `trial 12` inside a cell."""
_GAP = 2
_FLOW = 12
"""Least width of a column whose cells go over several lines."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of `FittedTable.of`.

    Args:
        head: Head of the column; it may have several lines.
        cell: Returns the cell of a row's item.
        left: Whether it is left-justified.
        flow: Whether its cells may go over several lines, between words.
        drop: Rank in which it is left out where the console is too narrow; None for never.
    """

    head: str
    cell: Callable[[T], str]
    left: bool = False
    flow: bool = False
    drop: int | None = None


class FittedTable:
    """A table for a console of any width, made quickly also for thousands of rows.

    Args:
        columns: Heads of the columns; they may have several lines.
        rows: Cells, row by row. No cell is read as markup.
        title: Line above the table; empty for none.
        left: Columns that are left-justified.
        flow: Columns whose cells may go over several lines, between words.
        drop: Columns that are left out where the console is too narrow, the first one first.
        instead: Lines that stand below the table in place of a column that is left out.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        title: str = "",
        *,
        left: Collection[int] = (0,),
        flow: Collection[int] = (),
        drop: Sequence[int] = (),
        instead: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        """See the class."""
        self._columns, self._title = columns, title
        self._rows = [[_shown(cell) for cell in row] for row in rows]
        self._left, self._flow, self._drop = left, flow, drop
        self._instead = instead or {}
        self._heads = [head.split("\n") for head in columns]

    @classmethod
    def of(
        cls, columns: Sequence[Column[T]], items: Iterable[T], title: str = "", **options: Any
    ) -> FittedTable:
        """Return the table that has a row for each item; `instead` is the only option."""
        ranks = {i: each.drop for i, each in enumerate(columns) if each.drop is not None}
        return cls(
            [each.head for each in columns],
            [[each.cell(item) for each in columns] for item in items],
            title,
            left=[i for i, each in enumerate(columns) if each.left],
            flow=[i for i, each in enumerate(columns) if each.flow],
            drop=sorted(ranks, key=ranks.__getitem__),
            **options,
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay out the rows here, under a head and a rule that Rich draws."""
        from rich.segment import Segment
        from rich.text import Text

        widths, left_out = self._fit(options.max_width)
        if self._title:
            yield Text(self._title, "table.title")
        yield from self._head(console, options, widths)
        for row in self._rows:
            for line in self._lines(row, widths):
                yield Segment(line + "\n")
        if left_out:
            names = ", ".join(" ".join(self._heads[i]) for i in left_out)
            yield Text(f"not shown: {names} (--wide shows all columns)", "dim")
        for i in left_out:
            for words in self._instead.get(i, ()):
                yield Text(words)

    def _fit(self, room: int) -> tuple[dict[int, int], list[int]]:
        """Return the widths of the columns that are shown, and the columns that are not."""
        least = [self._least(i) for i in range(len(self._columns))]
        shown, waiting = list(range(len(self._columns))), list(self._drop)
        while waiting and _width(least[i] for i in shown) > room:
            shown.remove(waiting.pop(0))
        widths = {i: least[i] for i in shown}
        spare = room - _width(widths.values())
        if spare < 0:  # A name or a word is wider than the console: it is folded.
            widest = max(shown, key=widths.__getitem__)
            widths[widest] = max(1, widths[widest] + spare)
        for i in sorted(shown, key=lambda i: i not in self._flow):
            more = max(0, min(spare, self._natural(i) - widths[i]))
            widths[i], spare = widths[i] + more, spare - more
        return widths, sorted(set(self._drop) - set(shown))

    def _cells(self, i: int) -> int:
        return max((_extent(row[i]) for row in self._rows), default=0)

    def _least(self, i: int) -> int:
        """Return the least width of a column: its widest cell, or its longest word."""
        words = [_extent(word) for line in self._heads[i] for word in line.split()]
        if i not in self._flow:
            return max(self._cells(i), *words, 0)
        inside = [_extent(word) for row in self._rows for word in row[i].split(" ")]
        return max([*words, *inside, min(self._cells(i), _FLOW)], default=0)

    def _natural(self, i: int) -> int:
        return max(self._cells(i), *(_extent(line) for line in self._heads[i]))

    def _head(
        self, console: Console, options: ConsoleOptions, widths: dict[int, int]
    ) -> RenderResult:
        """Take head and rule from Rich, of a table with one row of full cells."""
        from rich import box
        from rich.segment import Segment
        from rich.table import Table
        from rich.text import Text

        made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for i, width in widths.items():
            head = [part for line in self._heads[i] for part in _wrapped(line, width)]
            justify = "left" if i in self._left else "right"
            made.add_column(Text("\n".join(head)), justify=justify, no_wrap=True)  # type: ignore[arg-type]
        made.add_row(*("x" * width for width in widths.values()))
        *lines, _ = Segment.split_lines(console.render(made, options))
        for line in lines:
            yield from (*line, Segment.line())

    def _lines(self, row: Sequence[str], widths: dict[int, int]) -> list[str]:
        """Return a row as lines of text."""
        cells = {
            i: _wrapped(row[i], width) if _extent(row[i]) > width else [row[i]]
            for i, width in widths.items()
        }
        lines = []
        for k in range(max(map(len, cells.values()), default=0)):
            parts = []
            for i, width in widths.items():
                text = cells[i][k].replace(BOUND, " ") if k < len(cells[i]) else ""
                blank = " " * (width - _extent(text))
                parts.append(text + blank if i in self._left else blank + text)
            lines.append((" " * _GAP).join(parts))
        return lines


def bound(text: str) -> str:
    """Return text in which no line ends before a number, as in `trial 12` or `rate 0.01`."""
    return re.sub(r"(?<=\w) (?=\d)", BOUND, text)


def _width(widths: Iterable[int]) -> int:
    """Return the width of a table."""
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1)


def _shown(cell: str) -> str:
    """Return a cell on one line, without what would move the cursor."""
    if cell.isprintable():
        return cell
    return "".join(
        c if c.isprintable() or c == BOUND else " " if c.isspace() else "?" for c in cell
    )


def _extent(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def _wrapped(text: str, width: int) -> list[str]:
    """Break text between words; a word that is wider is broken itself."""
    from rich.cells import chop_cells

    if _extent(text) <= width:
        return [text]
    lines = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [part for line in lines for part in chop_cells(line, width)] or [""]
