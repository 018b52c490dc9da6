"""The geometry of the report's bars; pure.

Colours are classes of the style sheet, so that bars follow the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

_LEAST: Final = 6  # units: the width of the smallest share that is not zero
_GAP: Final = 2  # units between two segments


@frozen
class Segment:
    """One piece of a bar: its left edge and width in units, and the name and count it shows."""

    x: float
    width: float
    name: str
    count: int


def bar(shares: Sequence[tuple[str, int]], width: int = 1000) -> tuple[Segment, ...]:
    """Return the segments of one stacked bar, in order, without the shares that are zero.

    Every segment is a few units wide at least, at the cost of the others, so that it can be seen.
    """
    shown = [(name, count) for name, count in shares if count > 0]
    if not shown:
        return ()
    total = sum(count for _, count in shown)
    room = width - _GAP * (len(shown) - 1)
    least = min(_LEAST, room / len(shown))
    segments, x = [], 0.0
    for name, count in shown:
        share = least + (room - least * len(shown)) * count / total
        segments.append(Segment(round(x, 1), round(share, 1), name, count))
        x += share + _GAP
    return tuple(segments)
