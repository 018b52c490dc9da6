"""Any Arrow table can be given to `genid.arrow`: it answers as the single path does for every row,
or raises `ColumnError` with every bad column and every bad value."""

import datetime
import decimal
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from genid import ColumnError, Signature, SignatureError, gen_id
from genid.errors import NO_VALUE
from hardening_kit import attempt, fuzzed, nasty_texts
from signature_kit import CLASSES, components

pa = pytest.importorskip("pyarrow")
arrow = pytest.importorskip("genid.arrow")
bulk = pytest.importorskip("genid._bulk")

SOUND: dict[str, Any] = {"replicate": 1}  # stands in for values of a column that is no use
NAMES = ["combo_id", "template_id", "llm_model_id", "replicate", "parent_gen_id"]
OTHER_NAMES = st.sampled_from(["", "gen_id", "parent_row", "COMBO_ID", "\0", "é"])
WHOLE = {"int8": 7, "uint8": 8, "int16": 15, "int32": 31, "uint32": 32, "int64": 63, "uint64": 64}


# -- texts, numbers and everything else ------------------------------------------------------------
def viewed(kind: str) -> Callable[[list[bytes | None]], Any]:
    """Make bytes a column that says it is text, whatever the bytes are."""
    behind = "large_binary" if kind == "large_string" else "binary"
    between = "large_string" if kind == "large_string" else "string"

    def made(values: list[bytes | None]) -> Any:
        array = pa.array(values, pa.type_for_alias(behind)).view(pa.type_for_alias(between))
        return array.cast(pa.string_view(), safe=False) if kind == "string_view" else array

    return made


def encoded(values: list[bytes | None]) -> Any:
    return viewed("string")(values).dictionary_encode()


def number(kind: str) -> Callable[[list[int | None]], Any]:
    return lambda values: pa.array(values, pa.type_for_alias(kind))


def numbers_of(kind: str) -> st.SearchStrategy[int]:
    bits = WHOLE[kind]
    lowest = 0 if kind.startswith("u") else -(2**bits)
    near = st.sampled_from([0, 1, 2, 2**31 - 1, 2**31]).filter(lambda value: value < 2**bits)
    return near | st.integers(lowest, 2**bits - 1)


TEXTS = {kind: viewed(kind) for kind in ("string", "large_string", "string_view")}
text_values = st.one_of(
    components.map(str.encode),
    st.sampled_from(["d_x", "e_x", "v_x", "x_y", " C \n", "d_2pkyzevzpngrcb4vm9d9j2b1mk"]).map(
        str.encode
    ),
    nasty_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=5),
)
A_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
OTHERS: tuple[Callable[[int], Any], ...] = (
    lambda rows: pa.array([1.0, float("nan"), None] * rows, pa.float64())[:rows],
    lambda rows: pa.array([True] * rows, pa.bool_()),
    lambda rows: pa.array([b"c"] * rows, pa.binary()),
    lambda rows: pa.array([b"c"] * rows, pa.binary(1)),
    lambda rows: pa.array([["c"]] * rows, pa.list_(pa.string())),
    lambda rows: pa.array([{"c": 1}] * rows, pa.struct([("c", pa.int8())])),
    lambda rows: pa.array([A_DAY] * rows, pa.timestamp("us", "UTC")),
    lambda rows: pa.array([decimal.Decimal(1)] * rows, pa.decimal128(5)),
    lambda rows: pa.array([1.0] * rows, pa.float64()).dictionary_encode(),
    lambda rows: pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int8())),
    lambda rows: pa.RunEndEncodedArray.from_arrays([rows or 1], ["c"])[:rows],
    lambda rows: pa.ExtensionArray.from_storage(Texts(), pa.array(["c"] * rows, pa.string())),
)  # fmt: skip


class Texts(pa.ExtensionType):  # type: ignore[misc,name-defined]
    """A type of somebody's own, kept as texts."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "genid.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: object, _serialized: object) -> "Texts":
        return cls()


# -- whole tables ----------------------------------------------------------------------------------
@frozen(kw_only=True)
class Column:
    """A drawn column: of `text`, of `number`s, of `null`s or of something `else`."""

    name: str
    kind: str
    values: list[Any]
    array: Any


@st.composite
def columns(draw: st.DrawFn, name: str, rows: int) -> Column:
    """Draw a column of any type; one that fits its name more often than not."""
    fitting = "number" if name == "replicate" else "text"
    kind = draw(st.sampled_from([fitting] * 6 + ["text", "number", "null", "else"]))
    if kind == "else":
        array = draw(st.sampled_from(OTHERS))(rows)
        return Column(name=name, kind=kind, values=[None] * rows, array=draw(cut(array)))
    if kind == "null":
        return Column(name=name, kind=kind, values=[None] * rows, array=draw(cut(pa.nulls(rows))))
    if kind == "number":
        whole = draw(st.sampled_from(sorted(WHOLE)))
        values = draw(held(st.just(1) | numbers_of(whole), rows))
        array = number(whole)(values)
        array = array.dictionary_encode() if draw(st.booleans()) else array
        return Column(name=name, kind=kind, values=values, array=draw(cut(array)))
    make = draw(st.sampled_from([*TEXTS.values(), encoded]))
    held_bytes = draw(held(st.just(b"c") | text_values, rows))
    values = [one if one is None else one.decode("utf-8", "surrogateescape") for one in held_bytes]
    return Column(name=name, kind=kind, values=values, array=draw(cut(make(held_bytes))))


def held(values: st.SearchStrategy[Any], rows: int) -> st.SearchStrategy[list[Any]]:
    gaps = st.sampled_from([values, values | st.none()])
    return gaps.flatmap(lambda value: st.lists(value, min_size=rows, max_size=rows))


@st.composite
def cut(draw: st.DrawFn, array: Any) -> Any:
    """Draw the same values in chunks, empty ones too, each a slice of something longer."""
    at = sorted(draw(st.lists(st.integers(0, len(array)), max_size=3)))
    ends = zip([0, *at], [*at, len(array)], strict=True)
    return pa.chunked_array([array[start:end] for start, end in ends], type=array.type)


@st.composite
def tables(draw: st.DrawFn, stage: str) -> list[Column]:
    """Draw columns of one length: mostly a stage's, some missing, twice or of other names."""
    rows = draw(st.integers(0, 7))
    names = [*CLASSES[stage].__annotations__]
    if draw(st.integers(0, 3)) == 0:
        names = draw(st.lists(st.sampled_from(NAMES) | OTHER_NAMES, max_size=6))
    elif draw(st.booleans()):
        names += draw(st.lists(OTHER_NAMES, max_size=2))
    return [draw(columns(name, rows)) for name in draw(st.permutations(names))]


def table(drawn: list[Column]) -> Any:
    return pa.table([column.array for column in drawn], [column.name for column in drawn])


# -- what the single path says ---------------------------------------------------------------------
@frozen(kw_only=True)
class Answer:
    """What is to be told: faults of the whole, of columns, of rows; or the ids."""

    whole: list[str]
    types: list[str]
    bad: list[tuple[int, str, Any]]
    ids: list[str]


def answer(cls: type[Signature[Any]], drawn: list[Column], rows: int) -> Answer:
    """Say what one signature after the other would say."""
    fields = list(cls.__annotations__)
    names = [column.name for column in drawn]
    may_be_absent = {"llm_model_id"} if cls is CLASSES["essay"] else set()
    counts = {
        name: names.count(name) for name in fields if name in names or name not in may_be_absent
    }
    whole = [f"column {name}" for name, count in counts.items() if count != 1]
    if whole:
        return Answer(whole=whole, types=[], bad=[], ids=[])
    used = {column.name: column for column in drawn if column.name in counts}
    kinds = {name: {"null", "number" if name == "replicate" else "text"} for name in counts}
    wrong = [name for name in counts if used[name].kind not in kinds[name]]
    bad, ids = [], []
    for row in range(rows):
        values = {name: column.values[row] for name, column in used.items()}
        values |= {name: SOUND.get(name, "c") for name in wrong}
        try:
            ids.append(gen_id(cls(**values)))
        except SignatureError as error:
            bad += [(row, problem.place, problem.value) for problem in error.problems]
    types = [f"{cls.stage}.{name}" for name in wrong]
    return Answer(whole=[], types=types, bad=bad, ids=ids)


@fuzzed(share=2)
@given(st.sampled_from(sorted(CLASSES)), st.data(), st.sampled_from([1, 2, 3, 100]), st.booleans())
def test_any_table_is_answered_as_the_single_path_does(
    stage: str, data: st.DataObject, slab: int, engine: bool
) -> None:  # fmt: skip
    """Of any columns, types, names, chunks and slices, in slabs of any size, hashed either way."""
    cls = CLASSES[stage]
    drawn = data.draw(tables(stage))
    made = table(drawn)
    expected = answer(cls, drawn, len(made))
    few = 1 if engine else bulk._FEW
    with mock.patch.object(arrow, "ROWS", slab), mock.patch.object(bulk, "_FEW", few):
        ids, error = attempt(ColumnError, lambda: arrow.gen_ids(made, cls).to_pylist())
        mask, fault = attempt(ColumnError, lambda: arrow.bad_rows(made, cls).to_pylist())
    problems = error.problems if error else ()
    told = [(one.place, None if one.value is NO_VALUE else one.value) for one in problems]
    if expected.whole:
        assert expected.whole == [place for place, _ in told]
    else:
        assert expected.types == [place for place, _ in told[: len(expected.types)]]
        assert [(f"row {row}, {place}", value) for row, place, value in expected.bad] == told[
            len(expected.types) :
        ]
    if error is None:
        assert expected.ids == ids
    if fault:
        assert [*expected.whole, *expected.types] == [problem.place for problem in fault.problems]
    else:
        assert [] == [*expected.whole, *expected.types]
        bad = {row for row, _, _ in expected.bad}
        assert [row in bad for row in range(len(made))] == mask


@fuzzed()
@given(st.data(), OTHER_NAMES)
def test_any_experiment_is_derived_or_refused(data: st.DataObject, column: str) -> None:
    """Chains of any tables, and columns of any name for the ids."""
    stages = data.draw(st.lists(st.sampled_from(sorted(CLASSES)), max_size=3))
    made = [table(data.draw(tables(stage))) for stage in stages]
    if made:
        more, _ = attempt(
            ColumnError, lambda: arrow.add_gen_id(made[0], CLASSES[stages[0]], column=column)
        )
        assert more is None or [*made[0].column_names, column] == more.column_names
    steps = [
        (CLASSES[stage], one if number == 0 else parented(data, one, len(made[number - 1])))
        for number, (stage, one) in enumerate(zip(stages, made, strict=True))
    ]
    done, error = attempt(ColumnError, lambda: arrow.chain(*steps))
    assert (done is None) == (error is not None)
    if done is not None:
        assert [len(one) for one in made] == [len(one["gen_id"]) for one in done]


def parented(data: st.DataObject, one: Any, before: int) -> Any:
    """Give rows parents, in or beyond the table before, in place of the column of their ids."""
    if data.draw(st.booleans()):
        one = one.select(
            [at for at, name in enumerate(one.column_names) if name != "parent_gen_id"]
        )
    rows = data.draw(held(st.integers(-1, before), len(one)))
    return one.append_column("parent_row", pa.array(rows, pa.int64()))
