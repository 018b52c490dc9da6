"""Pictures: where things lie, before any colour."""

from hypothesis import given
from hypothesis import strategies as st

from genid_store.report.drawing import bar, grid


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


def test_neighbours_of_one_kind_are_one_piece() -> None:
    """A run of equal cells is one rectangle, so that a large map stays a small page."""
    picture = grid([["full", "full", "none"], ["none", "none", "none"]], room=48, line=10)
    assert (48, 20, 16) == (picture.width, picture.height, picture.cell)
    paths = dict(picture.paths)
    assert {"full", "none"} == set(paths)
    assert "M0 1h32v8h-32z" == paths["full"]
    assert "M32 1h16v8h-16zM0 11h48v8h-48z" == paths["none"]


def test_an_empty_map_has_no_size() -> None:
    """Nothing to draw is nothing drawn."""
    picture = grid([], room=100)
    assert (0, 0, ()) == (picture.width, picture.height, picture.paths)
