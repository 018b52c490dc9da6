"""A CSV that is offered for reading runs nothing in a spreadsheet, and still says what it said."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.fs.csvfile import dump_safe_csv, safe_cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])  # noqa: RUF001
def test_a_cell_that_begins_like_a_formula_gets_an_apostrophe(start: str) -> None:
    """What a spreadsheet would run is text to it."""
    assert f"'{start}1+1" == safe_cell(f"{start}1+1")


@pytest.mark.parametrize("value", [-3, 0.5, "a=b", "novelty-v1", "", "'=1"])
def test_any_other_cell_stays_as_it_is(value: object) -> None:
    """Numbers and plain texts are not touched."""
    assert str(value) == safe_cell(value)


def test_nothing_is_an_empty_cell() -> None:
    """None is written as an empty cell."""
    assert "" == safe_cell(None)


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_reading_a_document_gives_every_cell_back(rows: list[list[str]]) -> None:
    """Whatever stands in a cell, a reader gets it, with nothing but an apostrophe added."""
    text = dump_safe_csv(["first", "second"], rows)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert [["first", "second"], *[[safe_cell(cell) for cell in row] for row in rows]] == read
