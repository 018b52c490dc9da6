"""The geometry of the report's pictures: numbers in, places on a grid out; pure.

Colours are classes of the style sheet and text stands in the templates, so that a picture follows
light and dark and everything in it is escaped like the rest. Each picture has a table behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

WIDTH: Final = 1000  # units of every picture's width
_VISIBLE: Final = 6  # units: the least width of a share that is not zero
_GAP: Final = 2  # units between two segments


@frozen
class Segment:
    """One piece of a bar: its left edge and width in units, what it shows and how much."""

    x: float
    width: float
    name: str
    count: int


def bar(shares: Sequence[tuple[str, int]], width: int = WIDTH) -> tuple[Segment, ...]:
    """Return the segments of one stacked bar, in order; nothing for a share of zero.

    A share that is there is seen: it is at least a few units wide, at the others' cost.
    """
    shown = [(name, count) for name, count in shares if count > 0]
    if not shown:
        return ()
    total = sum(count for _, count in shown)
    room = width - _GAP * (len(shown) - 1)
    least = min(_VISIBLE, room / len(shown))
    wide = [least + (room - least * len(shown)) * count / total for _, count in shown]
    segments, x = [], 0.0
    for (name, count), share in zip(shown, wide, strict=True):
        segments.append(Segment(round(x, 1), round(share, 1), name, count))
        x += share + _GAP
    return tuple(segments)


@frozen(kw_only=True)
class Grid:
    """A picture of rows of cells: its size in pixels and, for each kind of cell, one path."""

    width: int
    height: int
    cell: int
    line: int
    paths: tuple[tuple[str, str], ...]


def grid(lines: Iterable[Sequence[str]], *, room: int, line: int = 18) -> Grid:
    """Return the picture of lines of kinds (the classes of cells), each `line` pixels high.

    Cells are as wide as fits into `room` pixels, 2 to 16; neighbours of one kind are one piece.
    """
    rows = [tuple(row) for row in lines]
    columns = max((len(row) for row in rows), default=0)
    cell = max(2, min(16, room // max(1, columns)))
    pieces: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        for x, length, kind in _runs(row):
            pieces.setdefault(kind, []).append(
                f"M{x * cell} {y * line + 1}h{length * cell}v{line - 2}h-{length * cell}z"
            )
    return Grid(
        width=columns * cell,
        height=len(rows) * line,
        cell=cell,
        line=line,
        paths=tuple((kind, "".join(pieces[kind])) for kind in sorted(pieces)),
    )


def _runs(row: Sequence[str]) -> Iterable[tuple[int, int, str]]:
    start = 0
    for at in range(1, len(row) + 1):
        if at == len(row) or row[at] != row[start]:
            yield start, at - start, row[start]
            start = at
