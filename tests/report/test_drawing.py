"""Bars: where things lie, before any colour."""

from hypothesis import given
from hypothesis import strategies as st

from genid_store.report.drawing import bar


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_every_share_that_is_there_is_seen_and_the_bar_is_not_left(counts: list[int]) -> None:
    """A bar shows exactly the shares above zero, side by side, inside its width."""
    segments = bar([(f"s{at}", count) for at, count in enumerate(counts)])
    assert [(f"s{at}", n) for at, n in enumerate(counts) if n] == [
        (piece.name, piece.count) for piece in segments
    ]
    edges = [edge for piece in segments for edge in (piece.x, piece.x + piece.width)]
    assert edges == sorted(edges)
    assert all(piece.width >= 5.9 for piece in segments)
    assert not segments or edges[-1] <= 1000.1


def test_shares_are_drawn_in_proportion() -> None:
    """Twice as many is about twice as wide."""
    left, right = bar([("a", 100), ("b", 200)])
    assert 2.0 == round(right.width / left.width, 1)
