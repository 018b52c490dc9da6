"""The geometry of the report's bars: numbers in, places out; pure.

Colours are classes of the style sheet, so that a bar follows light and dark. Each stands beside the
numbers that it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

_VISIBLE: Final = 6  # units: the least width of a share that is not zero
_GAP: Final = 2  # units between two segments


@frozen
class Segment:
    """One piece of a bar: its left edge and width in units, what it shows and how much."""

    x: float
    width: float
    name: str
    count: int


def bar(shares: Sequence[tuple[str, int]], width: int = 1000) -> tuple[Segment, ...]:
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
