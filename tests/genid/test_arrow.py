"""Tables: every kind of input, columns of every type, many rows, and whole experiments."""

from typing import Any

import pytest

from genid import ColumnError, Draft, Essay, Evaluation, Grid, gen_id

pa = pytest.importorskip("pyarrow")
arrow = pytest.importorskip("genid.arrow")
bulk = pytest.importorskip("genid._bulk")

AXES: dict[str, Any] = {
    "combo_id": [f"combo_v1_{at:012x}" for at in range(900)],
    "template_id": ["t1", "t2"],
    "llm_model_id": ["m1", "m2", "m3"],
    "replicate": [1, 2],
}


def table(**columns: Any) -> Any:
    """A small table of drafts with some columns replaced; None leaves one out."""
    data = {
        "combo_id": ["c1", " C2"],
        "template_id": ["t", "t"],
        "llm_model_id": ["m", "M\n"],
        "replicate": [1, 2],
        **columns,
    }
    return pa.table({name: values for name, values in data.items() if values is not None})


def problems(data: Any, stage: Any = Draft) -> list[str]:
    """Derive, and return the problems of the error that must come."""
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(data, stage)
    return [str(problem) for problem in caught.value.problems]


EXPECTED = [
    gen_id(Draft(combo_id="c1", template_id="t", llm_model_id="m", replicate=1)),
    gen_id(Draft(combo_id="c2", template_id="t", llm_model_id="m", replicate=2)),
]


def test_ids_of_more_rows_than_one_slab_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand rows through the engine, in slabs and on all cores: the order of a grid."""
    monkeypatch.setattr(arrow, "ROWS", 4_900)
    grid = Grid(Draft, **AXES)
    names = ["combo_id", "template_id", "llm_model_id", "replicate"]
    columns = dict(zip(names, zip(*grid.cells(), strict=True), strict=True))
    made = pa.table({name: pa.array(values) for name, values in columns.items()})
    assert list(grid) == arrow.gen_ids(made, Draft).to_pylist()
    assert (
        list(grid)
        == arrow.gen_ids(
            pa.concat_tables([made.slice(0, 1), made.slice(1, 6_000), made.slice(6_001)]), Draft
        ).to_pylist()
    )


@pytest.mark.parametrize(
    "text", ["string", "large_string", "string_view", "dictionary", "large dictionary"]
)
def test_every_type_of_text_is_taken(text: str) -> None:
    """Spelled by any Arrow type that holds text, sliced or not."""
    kinds = {
        "string": pa.string(),
        "large_string": pa.large_string(),
        "string_view": pa.string_view(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
        "large dictionary": pa.dictionary(pa.int8(), pa.large_string()),
    }
    columns = {
        name: pa.array(["é", *values]).cast(kinds[text])
        for name, values in {
            "combo_id": ["c1", " C2"],
            "template_id": ["t", "t"],
            "llm_model_id": ["m", "M\n"],
        }.items()
    }
    made = pa.table({**columns, "replicate": [0, 1, 2]}).slice(1)
    assert EXPECTED == arrow.gen_ids(made, Draft).to_pylist()
    assert EXPECTED == arrow.gen_ids(made.to_batches()[0], Draft).to_pylist()


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_every_type_of_whole_number_is_taken(kind: str) -> None:
    """Signed or not, of any width."""
    replicate = pa.array([1, 2], getattr(pa, kind)())
    assert EXPECTED == arrow.gen_ids(table(replicate=replicate), Draft).to_pylist()


def test_frames_with_the_capsule_interface_are_taken() -> None:
    """Polars and DuckDB; no other library is named in the code."""
    polars = pytest.importorskip("polars")
    duckdb = pytest.importorskip("duckdb")
    made = table()
    assert EXPECTED == arrow.gen_ids(polars.from_arrow(made), Draft).to_pylist()
    relation = duckdb.connect().from_arrow(made)
    assert EXPECTED == arrow.gen_ids(relation, Draft).to_pylist()


def test_a_column_of_the_wrong_type_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slabs it is worked on in."""
    monkeypatch.setattr(arrow, "ROWS", 1)
    assert 1 == len(problems(table(replicate=[1.0, 2.0])))
    assert 2 == len(problems(table(combo_id=["a b", "c d"])))


def test_what_is_no_table_is_refused() -> None:
    """By name, with what would do."""
    assert ["is not a table"] == [text[text.index("is not") :][:14] for text in problems([1, 2])]


def test_bad_rows_are_listed_together_with_row_column_and_value() -> None:
    """In the order of rows, then of fields."""
    made = table(
        combo_id=["a b", None, "ok", "x" * 256],
        template_id=["t", "t", "é", ""],
        llm_model_id=["m", "m", "m", "m"],
        replicate=[1, 0, 2**31, None],
    )
    assert [
        "row 0, draft.combo_id: 'a b'",
        "row 1, draft.combo_id:",
        "row 1, draft.replicate: 0",
        "row 2, draft.template_id: 'é'",
        "row 2, draft.replicate: 2147483648",
        "row 3, draft.combo_id: '",
        "row 3, draft.template_id: ''",
        "row 3, draft.replicate:",
    ] == [text.split(" has ")[0].split(" is ")[0][:40].rstrip("x") for text in problems(made)]
    assert [True] * 4 == arrow.bad_rows(made, Draft).to_pylist()
    good = table(combo_id=["a b", "c"])
    assert [True, False] == arrow.bad_rows(good, Draft).to_pylist()


def test_a_message_lists_the_first_problems_and_counts_the_rest() -> None:
    """The record of each stays in the error."""
    made = pa.table(
        {"combo_id": ["a b"] * 50, "template_id": ["t"] * 50, "llm_model_id": ["m"] * 50,
         "replicate": [1] * 50}
    )  # fmt: skip
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(made, Draft)
    assert 50 == len(caught.value.problems)
    assert str(caught.value).endswith("  … and 30 more")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"replicate": [1.0, 2.0]}, "'double' is the type of the column, not one of whole numbers"),
        ({"replicate": [True, False]}, "'bool' is the type of the column"),
        ({"replicate": ["1", "2"]}, "'string' is the type of the column"),
        ({"combo_id": [1, 2]}, "'int64' is the type of the column, not one of text"),
        ({"combo_id": [b"c", b"d"]}, "'binary' is the type of the column"),
        ({"combo_id": None}, "column combo_id: is "),
        ({"replicate": None}, "column replicate: is "),
    ],
)
def test_a_column_of_the_wrong_type_is_refused_whole(columns: Any, says: str) -> None:
    """Nothing is converted; a mask cannot express it either."""
    made = table(**columns)
    assert says in problems(made)[0]
    with pytest.raises(ColumnError):
        arrow.bad_rows(made, Draft)


def test_a_column_that_is_there_twice_is_refused() -> None:
    """Which one to take is not for us to say."""
    made = table().append_column("combo_id", pa.array(["x", "y"]))
    assert "more than once" in problems(made)[0]


def test_nulls_are_errors_except_for_an_optional_field() -> None:
    """An essay's model may be null, absent, or a column of nulls; its parent not."""
    essays = {"parent_gen_id": ["d_x", "d_y"], "template_id": ["t", "t"], "replicate": [1, 1]}
    plain = [
        gen_id(Essay(parent_gen_id=Draft.reference(p), template_id="t", replicate=1))
        for p in ("d_x", "d_y")
    ]
    other = Essay(
        parent_gen_id=Draft.reference("d_y"), template_id="t", replicate=1, llm_model_id="m"
    )
    for models, expected in [
        (pa.nulls(2), plain),
        (pa.array([None, None], pa.string()), plain),
        (pa.array([None, "m"]), [plain[0], gen_id(other)]),
    ]:
        made = pa.table({**essays, "llm_model_id": models})
        assert expected == arrow.gen_ids(made, Essay).to_pylist()
    assert plain == arrow.gen_ids(pa.table(essays), Essay).to_pylist()
    for name in essays:
        nulls = pa.table({**essays, name: pa.nulls(2)})
        assert ["is null"] * 2 == [text.split("; ")[0][-7:] for text in problems(nulls, Essay)]


def test_text_that_is_no_text_is_refused() -> None:
    """Bytes that are no UTF-8 in a column that says it is text."""
    broken = pa.array([b"\xff\xfe", b"ok"]).view(pa.string())
    assert "row 0, draft.combo_id" in problems(table(combo_id=broken))[0]


def test_parents_of_another_stage_are_refused() -> None:
    """As single signatures do: only letters of stages are claims."""
    made = pa.table(
        {
            "parent_gen_id": ["e_x", "d_x", "x_x", "v_y", "E_x", "by hand"],
            "template_id": ["t"] * 6,
            "replicate": [1] * 6,
        }
    )
    assert [True, False, False, True, False, True] == arrow.bad_rows(made, Essay).to_pylist()


def test_an_empty_table_has_no_ids() -> None:
    """But its columns are looked for."""
    made = table().slice(0, 0)
    assert [] == arrow.gen_ids(made, Draft).to_pylist()
    assert "gen_id" == arrow.add_gen_id(made, Draft).schema.names[-1]


def test_a_batch_comes_back_as_a_batch_and_a_table_as_a_table() -> None:
    """With one column more."""
    made = table(note=["a", "b"])
    batch = made.to_batches()[0]
    assert isinstance(arrow.add_gen_id(batch, Draft), pa.RecordBatch)
    assert isinstance(arrow.add_gen_id(made, Draft), pa.Table)
    assert EXPECTED == arrow.add_gen_id(batch, Draft, column="id")["id"].to_pylist()
    assert made.schema.names == arrow.add_gen_id(made, Draft).schema.names[:-1]
    empty = pa.RecordBatch.from_pylist([], schema=made.schema)
    assert 0 == arrow.add_gen_id(empty, Draft).num_rows
    with pytest.raises(ColumnError, match="exists already"):
        arrow.add_gen_id(arrow.add_gen_id(made, Draft), Draft)


def test_a_whole_experiment_in_one_call() -> None:
    """Drafts, essays and evaluations: parents feed children as they do one by one."""
    essays = pa.table(
        {"parent_row": [1, 0, 1], "template_id": ["e", "e", "f"], "replicate": [1] * 3}
    )
    evaluations = pa.table(
        {"parent_row": [2, 0], "template_id": ["n", "n"], "llm_model_id": ["j", "j"],
         "replicate": [1, 1]}
    )  # fmt: skip
    drafts, made, scored = arrow.chain((Draft, table()), (Essay, essays), (Evaluation, evaluations))
    essay = Essay(parent_gen_id=Draft.reference(EXPECTED[1]), template_id="f", replicate=1)
    score = Evaluation(parent_gen_id=gen_id(essay), template_id="n", llm_model_id="j", replicate=1)
    assert EXPECTED == drafts["gen_id"].to_pylist()
    assert gen_id(essay) == made["gen_id"][2].as_py()
    assert gen_id(score) == scored["gen_id"][0].as_py()
    assert [EXPECTED[1], EXPECTED[0], EXPECTED[1]] == made["parent_gen_id"].to_pylist()


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({}, "by parent_row alone"),
        ({"parent_row": [0], "parent_gen_id": ["d_x"]}, "by parent_row alone"),
        ({"parent_row": [0.0]}, "not a number in every row"),
        ({"parent_row": pa.array([None], pa.int32())}, "not a number in every row"),
        ({"parent_row": [2]}, "beyond the 2 rows"),
        ({"parent_row": [-1]}, "beyond the 2 rows"),
    ],
)
def test_a_chain_without_sound_parents_is_refused(columns: Any, says: str) -> None:
    """Every child names a row of the table before."""
    essays = pa.table({"template_id": ["e"], "replicate": [1], **columns})
    with pytest.raises(ColumnError, match=says):
        arrow.chain((Draft, table()), (Essay, essays))


def test_an_empty_step_of_a_chain_has_empty_children() -> None:
    """No rows, no ids, no error."""
    essays = pa.table(
        {"parent_row": pa.array([], pa.int32()), "template_id": pa.array([], pa.string()),
         "replicate": pa.array([], pa.int32())}
    )  # fmt: skip
    drafts, made = arrow.chain((Draft, table()), (Essay, essays))
    assert (2, 0) == (len(drafts), len(made))


def test_nothing_stays_behind_from_one_call_to_the_next() -> None:
    """The engine lets go of what it has hashed: memory is that of one slab, however many come."""
    texts = pa.array([f"text {at}" for at in range(5_000)])
    bulk.ids("d", ["", texts, ""])
    before = pa.total_allocated_bytes()
    for _ in range(20):
        bulk.ids("d", ["", pa.array([f"text {at}" for at in range(5_000)]), ""])
    assert before + texts.nbytes > pa.total_allocated_bytes()
