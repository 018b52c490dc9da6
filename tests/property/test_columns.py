"""Law: the column path gives the ids, and refuses the rows, of the single path."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid import ColumnError, SignatureError, gen_id
from genid.errors import NO_VALUE
from signature_kit import WITH_REVISION, Fields, fields_of

pa = pytest.importorskip("pyarrow")
arrow = pytest.importorskip("genid.arrow")
bulk = pytest.importorskip("genid._bulk")

NAMES = {stage: list(cls.__annotations__) for stage, cls in WITH_REVISION.items()}


def table(stage: str, rows: list[Fields]) -> Any:
    """Make a table of rows; a field that is absent everywhere is a column of nulls."""
    types = {name: pa.string() for name in NAMES[stage]} | {"replicate": pa.int64()}
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], types[name]) for name in NAMES[stage]}
    )


def rows_of(stage: str) -> st.SearchStrategy[list[Fields]]:
    return st.lists(fields_of(stage), max_size=6)


@given(st.sampled_from(sorted(WITH_REVISION)), st.data())
def test_columns_give_the_ids_of_the_single_path(stage: str, data: st.DataObject) -> None:
    """Over the whole accepted domain, for every stage."""
    rows = data.draw(rows_of(stage))
    expected = [gen_id(WITH_REVISION[stage](**row)) for row in rows]
    made = table(stage, rows)
    assert expected == arrow.gen_ids(made, WITH_REVISION[stage]).to_pylist()
    assert [False] * len(rows) == arrow.bad_rows(made, WITH_REVISION[stage]).to_pylist()


@given(st.sampled_from(sorted(WITH_REVISION)), st.data())
def test_both_ways_of_hashing_agree(stage: str, data: st.DataObject) -> None:
    """The engine and the loop give the same digests, in the same order."""
    rows = data.draw(st.lists(fields_of(stage), min_size=1, max_size=6)) * 7
    texts = pa.array([str(row) for row in rows])
    parts = ["{", pa.array(map(str, range(len(rows)))), "|", texts, "}"]
    by_loop, by_engine = (
        [words for batch in hashed(parts) for words in batch.tolist()]
        for hashed in (bulk._by_loop, bulk._by_engine)
    )
    assert by_loop == by_engine


_anything = st.none() | st.text(max_size=300)


@given(st.sampled_from(sorted(WITH_REVISION)), st.data())
def test_columns_refuse_what_the_single_path_refuses(stage: str, data: st.DataObject) -> None:
    """Row by row: the same rows are bad, for the same reasons, all listed at once."""
    rows = data.draw(rows_of(stage))
    for row in rows:
        name = data.draw(st.sampled_from(NAMES[stage]))
        row[name] = data.draw(st.integers(-(2**40), 2**40) if name == "replicate" else _anything)
    made = table(stage, rows)
    reasons = {}
    for at, row in enumerate(rows):
        try:
            WITH_REVISION[stage](**row)
        except SignatureError as error:
            reasons[at] = [
                (f"row {at}, {problem.place}", problem.value) for problem in error.problems
            ]
    assert [at in reasons for at in range(len(rows))] == arrow.bad_rows(
        made, WITH_REVISION[stage]
    ).to_pylist()
    if reasons:
        with pytest.raises(ColumnError) as caught:
            arrow.gen_ids(made, WITH_REVISION[stage])
        assert [reason for at in sorted(reasons) for reason in reasons[at]] == [
            (problem.place, None if problem.value is NO_VALUE else problem.value)
            for problem in caught.value.problems
        ]
