"""What a table may come as: each library's frames, each of Arrow's shapes, and what is refused."""

import importlib
import mmap
import pickle
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from genid import ColumnError, Draft, Essay, Grid, SignatureError, gen_id

pa = pytest.importorskip("pyarrow")
arrow = pytest.importorskip("genid.arrow")

AXES: dict[str, Any] = {
    "combo_id": ["c1", " C2 "],
    "template_id": ["t1", "T-2\n", "t3"],
    "llm_model_id": ["m"],
    "replicate": [1, 2, 2**31 - 1],
}
ROWS: list[dict[str, Any]] = [
    dict(zip(AXES, cell, strict=True)) for cell in Grid(Draft, **AXES).cells()
]
EXPECTED = [gen_id(Draft(**row)) for row in ROWS]
BAD = {3: ("combo_id", "a b"), 7: ("replicate", 0), 11: ("template_id", "")}
BAD_ROWS: list[dict[str, Any]] = [
    {**row, **dict([BAD.get(at, ("replicate", 1))])} for at, row in enumerate(ROWS)
]


def table(rows: list[dict[str, Any]]) -> Any:
    return pa.Table.from_pylist(rows)


def polars_frame(made: Any) -> Any:
    return pytest.importorskip("polars").from_arrow(made)


def polars_categories(made: Any) -> Any:
    """Texts as categories and as an enumeration: dictionaries of string views."""
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(made)
    models = polars.Enum(frame["llm_model_id"].drop_nulls().unique().sort())
    return frame.with_columns(
        polars.col("combo_id").cast(polars.Categorical), polars.col("llm_model_id").cast(models)
    )


def duckdb_relation(made: Any) -> Any:
    return pytest.importorskip("duckdb").connect().from_arrow(made)


def pandas_objects(made: Any) -> Any:
    """Texts as Python objects, as pandas reads files by default before version 3."""
    pytest.importorskip("pandas")
    return made.to_pandas().astype(dict.fromkeys(["combo_id", "template_id"], object))


def pandas_arrow(made: Any) -> Any:
    """Every column in Arrow's memory."""
    pandas = pytest.importorskip("pandas")
    return made.to_pandas(types_mapper=pandas.ArrowDtype)


def pandas_strings(made: Any) -> Any:
    """pandas' own types of text and whole numbers, behind an index with gaps."""
    pytest.importorskip("pandas")
    frame = made.to_pandas().astype({"combo_id": "string", "replicate": "Int64"})
    return frame.set_index(frame.index * 3 + 5)


def pandas_categories(made: Any) -> Any:
    """Texts as categories, which come as dictionaries."""
    pytest.importorskip("pandas")
    return made.to_pandas().astype(dict.fromkeys(["combo_id", "llm_model_id"], "category"))


def chunked(made: Any) -> Any:
    """One chunk a row, empty ones between and behind."""
    pieces = [made.slice(at, size) for at in range(len(made) + 1) for size in (0, 1)]
    return pa.concat_tables(pieces)


def sliced(made: Any) -> Any:
    """Rows from the middle of longer columns, beyond a whole byte of validity."""
    around = pa.concat_tables([made.slice(0, 9), made, made.slice(0, 1)])
    return around.combine_chunks().slice(9, len(made))


def dictionaries(made: Any) -> Any:
    """Every column as a dictionary, each chunk with a dictionary of its own."""
    parts = [made.slice(0, 5), made.slice(5)]
    encoded = [[part[name].combine_chunks().dictionary_encode() for part in parts] for name in AXES]
    return pa.table(dict(zip(AXES, map(pa.chunked_array, encoded), strict=True)))


def small_dictionaries(made: Any) -> Any:
    """Chunks whose dictionaries together have more values than their indices could count."""
    combos = [f"combo_{at}" for at in range(100)]
    parts = [made.slice(0, 5), made.slice(5)]
    encoded = [
        pa.DictionaryArray.from_arrays(
            pa.array([100 + at for at in range(len(part))], pa.int8()),
            [f"{number}-{combo}" for combo in combos] + part["combo_id"].to_pylist(),
        )
        for number, part in enumerate(parts)
    ]
    return made.set_column(0, "combo_id", pa.chunked_array(encoded))


def far_inside(made: Any) -> Any:
    """Rows that lie behind 2 GiB of another row's text, in one array of `large_string`."""
    texts = made["combo_id"].to_pylist()
    joined = "".join(texts).encode()
    starts = [0, *accumulate(map(len, texts), initial=2**31)]
    buffer = mmap.mmap(-1, 2**31 + len(joined))  # of zeros, which take no memory until looked at
    buffer[2**31 :] = joined
    ends = pa.array(starts, pa.int64()).buffers()[1]
    array = pa.LargeStringArray.from_buffers(len(texts) + 1, ends, pa.py_buffer(buffer))
    return made.set_column(0, "combo_id", pa.chunked_array([array.slice(1)]))


def structs(made: Any) -> Any:
    return pa.array(made.to_pylist(), pa.struct(list(made.schema)))


def in_type(text: str) -> Callable[[Any], Any]:
    def cast(made: Any) -> Any:
        types = {"replicate": made.schema.field("replicate").type}
        schema = [(name, types.get(name, pa.type_for_alias(text))) for name in AXES]
        return made.cast(pa.schema(schema))

    return cast


INPUTS: dict[str, Callable[[Any], Any]] = {
    "pyarrow table": lambda made: made,
    "pyarrow record batch": lambda made: pa.RecordBatch.from_pylist(made.to_pylist(), made.schema),
    "pyarrow reader": lambda made: made.to_reader(max_chunksize=4),
    "pyarrow array of structs": structs,
    "pyarrow chunked array of structs": lambda made: pa.chunked_array([structs(made)]),
    "polars": polars_frame,
    "polars, categories": polars_categories,
    "duckdb": duckdb_relation,
    "pandas, objects": pandas_objects,
    "pandas, Arrow types": pandas_arrow,
    "pandas, its own types": pandas_strings,
    "pandas, categories": pandas_categories,
    "many chunks": chunked,
    "a slice": sliced,
    "a slice of a slice": lambda made: sliced(sliced(made)),
    "dictionaries": dictionaries,
    "dictionaries, small indices": small_dictionaries,
    "large_string": in_type("large_string"),
    "large_string, far inside": far_inside,
    "string_view": lambda made: in_type("string_view")(chunked(made)),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_each_input_gives_the_ids_of_the_single_path(kind: str) -> None:
    """Row for row, in order, whoever made the table."""
    assert EXPECTED == arrow.gen_ids(INPUTS[kind](table(ROWS)), Draft).to_pylist()


@pytest.mark.parametrize("kind", INPUTS)
def test_each_input_gets_its_ids_added(kind: str) -> None:
    """A record batch comes back as one, everything else as a table, its columns kept."""
    data = INPUTS[kind](table(ROWS))
    made = arrow.add_gen_id(data, Draft, column="id")
    assert isinstance(made, pa.RecordBatch if kind == "pyarrow record batch" else pa.Table)
    assert (EXPECTED, "id") == (made["id"].to_pylist(), made.schema.names[-1])
    assert [row["combo_id"] for row in ROWS] == made["combo_id"].to_pylist()


@pytest.mark.parametrize("kind", INPUTS)
def test_bad_rows_of_each_input_are_told_together(kind: str) -> None:
    """With row, column and value as a single signature words them; and as a mask."""
    expected = []
    for at, row in enumerate(BAD_ROWS):
        try:
            Draft(**row)
        except SignatureError as error:
            expected += [f"row {at}, {problem}" for problem in error.problems]
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(INPUTS[kind](table(BAD_ROWS)), Draft)
    assert expected == [str(problem) for problem in caught.value.problems]
    assert list(BAD) == [int(text.split(",")[0][4:]) for text in expected]
    mask = arrow.bad_rows(INPUTS[kind](table(BAD_ROWS)), Draft)
    assert [at in BAD for at in range(len(ROWS))] == mask.to_pylist()


@pytest.mark.parametrize("kind", INPUTS)
def test_an_empty_table_of_each_kind_has_no_ids(kind: str) -> None:
    """Whatever carries the columns, no rows are no error."""
    empty = table(ROWS).slice(0, 0)
    assert [] == arrow.gen_ids(INPUTS[kind](empty), Draft).to_pylist()
    assert [] == arrow.bad_rows(INPUTS[kind](empty), Draft).to_pylist()


WITHOUT_NULLS = {"dictionaries", "large_string, far inside"}


@pytest.mark.parametrize("kind", sorted(INPUTS.keys() - WITHOUT_NULLS))
def test_nulls_of_each_input_are_told(kind: str) -> None:
    """However a library spells a missing text."""
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(INPUTS[kind](table([*ROWS[:9], {**ROWS[9], "combo_id": None}])), Draft)
    assert ["row 9, draft.combo_id: is null; fill the value in, or leave the row out"] == [
        str(problem) for problem in caught.value.problems
    ]


def test_nulls_in_and_behind_a_dictionary_are_told() -> None:
    """Of the index, and of the dictionary's own values."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["c", None]))
    made = table(ROWS[:3]).set_column(0, "combo_id", texts)
    assert [False, True, True] == arrow.bad_rows(made, Draft).to_pylist()


def test_the_types_of_an_empty_tables_columns_are_looked_at() -> None:
    """Another type is a fault of the column, rows or none."""
    empty = table([{**row, "replicate": 1.0} for row in ROWS]).slice(0, 0)
    for call in (arrow.gen_ids, arrow.bad_rows, arrow.add_gen_id):
        with pytest.raises(ColumnError, match="'double' is the type of the column"):
            call(empty, Draft)


def test_a_column_with_whole_books_is_refused_whole() -> None:
    """More text than one array can hold: this cannot be a column of ids."""
    ends, text = pa.array([0, 2**31]), mmap.mmap(-1, 2**31)  # of zeros, which nobody looks at
    book = pa.LargeStringArray.from_buffers(1, ends.buffers()[1], pa.py_buffer(text))
    for call in (arrow.gen_ids, arrow.bad_rows):
        with pytest.raises(ColumnError, match=r"draft.combo_id: 'large_string' .* 2 GiB"):
            call(table(ROWS[:1]).set_column(0, "combo_id", book), Draft)


def test_a_missing_replicate_in_pandas_is_told_as_what_pandas_makes_of_it() -> None:
    """A column of whole numbers with a gap is one of floats there, and refused as such."""
    pytest.importorskip("pandas")
    frame = table([*ROWS[:2], {**ROWS[2], "replicate": None}]).to_pandas()
    with pytest.raises(ColumnError, match="'double' is the type of the column"):
        arrow.gen_ids(frame, Draft)


def mixed(pandas: Any) -> Any:
    return pandas.DataFrame({"combo_id": ["c", 1]})


def doubled(pandas: Any) -> Any:
    return pandas.DataFrame([["c", "d"]], columns=["combo_id", "combo_id"])


@pytest.mark.parametrize(("make", "says"), [(mixed, "combo_id"), (doubled, "Duplicate column")])
def test_a_frame_that_gives_no_arrow_table_is_refused(make: Any, says: str) -> None:
    """With the reason that its library names."""
    frame = make(pytest.importorskip("pandas"))
    for call in (arrow.gen_ids, arrow.bad_rows, arrow.add_gen_id):
        with pytest.raises(ColumnError, match=f"'DataFrame' gives no Arrow table: .*{says}"):
            call(frame, Draft)


def columns_of_one_type(values: Any) -> Any:
    return [values, pa.chunked_array([values]), values.slice(1)]


@pytest.mark.parametrize(
    "data", columns_of_one_type(pa.array(["a", "b"])), ids=["array", "chunks", "slice"]
)
def test_a_column_is_no_table(data: Any) -> None:
    """Arrays are taken where they are structs, which have columns."""
    with pytest.raises(ColumnError, match="gives no Arrow table"):
        arrow.gen_ids(data, Draft)


@pytest.mark.parametrize("data", [None, 1, "text", [1], {"combo_id": ["c"]}, b"c"], ids=repr)
def test_what_has_no_arrow_interface_is_refused(data: Any) -> None:
    """By every function, with what would do."""
    for call in (arrow.gen_ids, arrow.bad_rows, arrow.add_gen_id):
        with pytest.raises(ColumnError, match="is not a table; pass a pyarrow table or a frame"):
            call(data, Draft)
    with pytest.raises(ColumnError, match="is not a table"):
        arrow.chain((Draft, data))


@pytest.mark.parametrize("kind", INPUTS)
def test_each_input_may_begin_a_chain(kind: str) -> None:
    """Drafts from anywhere, and essays over them."""
    essays = pa.table({"parent_row": [len(ROWS) - 1], "template_id": ["e"], "replicate": [1]})
    drafts, made = arrow.chain((Draft, INPUTS[kind](table(ROWS))), (Essay, essays))
    parent = Draft.reference(EXPECTED[-1])
    assert EXPECTED == drafts["gen_id"].to_pylist()
    expected = gen_id(Essay(parent_gen_id=parent, template_id="e", replicate=1))
    assert [expected] == made["gen_id"].to_pylist()


def test_a_parent_row_that_is_there_twice_is_refused() -> None:
    """Which one to take is not for us to say."""
    essays = pa.table({"parent_row": [0], "template_id": ["e"], "replicate": [1]})
    essays = essays.append_column("parent_row", essays["parent_row"])
    with pytest.raises(ColumnError, match="give the parents by parent_row alone"):
        arrow.chain((Draft, table(ROWS)), (Essay, essays))


def test_an_error_travels_between_processes() -> None:
    """Engines send it from their workers, every problem with it."""
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(table(BAD_ROWS), Draft)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (ColumnError, caught.value.problems) == (type(again), again.problems)


def test_what_columns_need_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is not there, and the extra that brings it."""
    for name in ("genid.arrow", "genid._bulk", "genid._columns"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = r"pip install '\.\[arrow\]' in a checkout"
    with pytest.raises(ModuleNotFoundError, match=line) as caught:
        importlib.import_module("genid.arrow")
    assert "pyarrow" == caught.value.name
