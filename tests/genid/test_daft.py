"""Daft frames on the engine's own runner: the ids of the single path, and its refusals.

Daft wants an older pyarrow than the one that the other tests are pinned to (see
`tests/README.md`): `make test-engines` runs this file where it is installed.
"""

from typing import Any

import pytest

from genid import ColumnError, Draft, Essay, Grid, gen_id

daft = pytest.importorskip(
    "daft", reason="Daft is not installed here; `make test-engines` runs this"
)
pa = pytest.importorskip("pyarrow")

AXES: dict[str, Any] = {
    "combo_id": [f"combo_v1_{at:03x}" for at in range(500)],
    "template_id": ["t1", " T2\n"],
    "llm_model_id": ["m"],
    "replicate": [1, 2, 3],
}


def frame(cls: Any = Draft, **axes: Any) -> Any:
    columns = zip(*Grid(cls, **(AXES | axes)).cells(), strict=True)
    return daft.from_arrow(pa.table(dict(zip(AXES, map(pa.array, columns), strict=True))))


def derived(made: Any, cls: Any = Draft, column: str = "gen_id") -> list[str]:
    from genid.daft import add_gen_id

    ids: list[str] = add_gen_id(made, cls, column=column).to_pydict()[column]
    return ids


@pytest.mark.parametrize("rows", [7, 400, 10_000])
def test_a_frame_gets_the_ids_of_the_single_path(rows: int) -> None:
    """In order, in batches of any size, in a column of any name."""
    made = frame().into_batches(rows)
    assert list(Grid(Draft, **AXES)) == derived(made, column="id")


def test_the_other_columns_stay_and_nothing_is_computed_before_it_is_asked_for() -> None:
    """The frame is as lazy as it was."""
    from genid.daft import add_gen_id

    made = add_gen_id(frame().with_column("note", daft.lit("x")), Draft)
    assert [*AXES, "note", "gen_id"] == made.column_names
    assert {"x"} == set(made.limit(10).to_pydict()["note"])
    bad = add_gen_id(frame().with_column("combo_id", daft.lit("a b")), Draft)
    assert ["gen_id"] == bad.column_names[-1:]


def test_an_absent_model_is_absent() -> None:
    """Left out, or null in some rows."""
    parents = [Draft.reference("d_x"), Draft.reference("d_y")]
    plain = [gen_id(Essay(parent_gen_id=one, template_id="t", replicate=1)) for one in parents]
    other = Essay(parent_gen_id=parents[1], template_id="t", replicate=1, llm_model_id="m")
    columns = {"parent_gen_id": parents, "template_id": ["t", "t"], "replicate": [1, 1]}
    assert plain == derived(daft.from_pydict(columns), Essay)
    models = daft.from_pydict({**columns, "llm_model_id": [None, "m"]})
    assert [plain[0], gen_id(other)] == derived(models, Essay)


def test_columns_are_refused_at_once() -> None:
    """One that is missing, and one that exists already, before anything is computed."""
    with pytest.raises(ColumnError, match=r"column replicate: is missing"):
        derived(frame().exclude("replicate"))
    with pytest.raises(ColumnError, match="'combo_id' exists already"):
        derived(frame(), column="combo_id")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [("combo_id", "a b", "row 0, draft.combo_id: 'a b' has"), ("replicate", 1.5, "whole numbers")],
)
def test_bad_rows_are_told_through_the_engine(column: str, value: Any, says: str) -> None:
    """With our words, row and column."""
    with pytest.raises(Exception, match=says):  # whose class is the engine's affair
        derived(frame().with_column(column, daft.lit(value)))


def test_an_empty_frame_has_no_ids() -> None:
    """No rows, no error."""
    assert [] == derived(frame().where(daft.col("replicate") > 3))
