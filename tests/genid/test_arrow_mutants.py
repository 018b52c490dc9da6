"""What mutation testing asked for: columns of which every character, bound and shortcut counts."""

from functools import partial
from typing import Any

import pytest

from genid import ColumnError, Draft, Essay, SignatureError, gen_id
from genid._signature import rules_of

pa = pytest.importorskip("pyarrow")
arrow = pytest.importorskip("genid.arrow")
bulk = pytest.importorskip("genid._bulk")
columns = pytest.importorskip("genid._columns")

COMPONENT = rules_of(Draft)["combo_id"]
PARENT = rules_of(Essay)["parent_gen_id"]
REPLICATE = rules_of(Draft)["replicate"]
CHARACTERS = [chr(code) for code in range(0x100)]
SOUND = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\']
FOLDED = [one for one in SOUND if not one.isupper()]


def drafts(**replaced: list[Any]) -> Any:
    """A table of drafts, sound but for what is replaced."""
    rows = max([1, *map(len, replaced.values())])
    sound = {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 1}
    return pa.table({name: replaced.get(name, [value] * rows) for name, value in sound.items()})


def essays(parents: list[str]) -> Any:
    rows = len(parents)
    return pa.table(
        {"parent_gen_id": parents, "template_id": ["t"] * rows, "replicate": [1] * rows}
    )


def refuses(cls: Any, fields: dict[str, Any]) -> bool:
    try:
        cls(**fields)
    except SignatureError:
        return True
    return False


def test_every_character_counts_by_itself() -> None:
    """Each in a column of its own, so that no other one takes the column off the fast path."""
    for one in CHARACTERS:
        made = drafts(combo_id=[one])
        assert [refuses(Draft, made.to_pylist()[0])] == arrow.bad_rows(made, Draft).to_pylist(), one
        made = essays([one])
        assert [refuses(Essay, made.to_pylist()[0])] == arrow.bad_rows(made, Essay).to_pylist(), one


def test_sound_columns_take_the_fast_path() -> None:
    """Up to every bound: a sound column is not checked row by row, nor copied to be folded."""
    folded: list[list[Any]] = [FOLDED, ["x" * 255], ["c"], ["c", None], [None], []]
    for texts in folded:
        array = pa.array(texts, pa.string())
        assert (array, None) == (
            columns._folded(COMPONENT, array), columns._suspect_texts(COMPONENT, array)
        )  # fmt: skip
        assert columns._folded(COMPONENT, array) is array
    assert not columns._any_in(columns._FORBIDDEN, pa.array(SOUND))
    assert columns._any_in(columns._FOLDED, pa.array(SOUND))
    for numbers in ([1, 2**31 - 1], [2], [1, None], [None]):
        assert columns._suspect_numbers(pa.array(numbers, pa.int64())) is None


def test_the_shortest_and_the_longest_text_are_judged_alone() -> None:
    """One character more or fewer, in a column with nothing else to look at."""
    made = [[""], ["c"], ["c" * 255], ["c" * 256], ["c", ""], ["c", "c" * 256]]
    assert [[True], [False], [False], [True], [False, True], [False, True]] == [
        arrow.bad_rows(drafts(combo_id=one), Draft).to_pylist() for one in made
    ]
    assert [[True], [False], [False], [True], [False, True], [False, True]] == [
        arrow.bad_rows(essays(one), Essay).to_pylist() for one in made
    ]


def test_the_least_and_the_greatest_replicate_are_judged_alone() -> None:
    """One more or fewer, in a column with nothing else to look at."""
    made = [[0], [1], [2**31 - 1], [2**31], [-1, 1], [1, 2**31]]
    assert [[True], [False], [False], [True], [True, False], [False, True]] == [
        arrow.bad_rows(drafts(replicate=one), Draft).to_pylist() for one in made
    ]


def test_a_fault_of_a_whole_column_stands_before_its_rows() -> None:
    """At row -1, whatever the number of its first row."""
    _values, found = columns.checked("x", REPLICATE, pa.chunked_array([["1"]]), first=7)
    assert {-1: "is the type of the column, not one of whole numbers"} == {
        row: problem.reason for row, problem in found.items()
    }


def test_a_table_without_chunks_has_no_ids() -> None:
    """Columns of no chunk at all, as a reader of nothing gives them."""
    made = pa.table({name: pa.chunked_array([], kind.type) for name, kind in
                     zip(drafts().column_names, drafts().schema, strict=True)})  # fmt: skip
    assert 0 == made["combo_id"].num_chunks
    assert [] == arrow.gen_ids(made, Draft).to_pylist()
    assert [] == arrow.add_gen_id(made, Draft)["gen_id"].to_pylist()


def test_two_chunks_are_both_read() -> None:
    """Also where every column has two."""
    made = pa.concat_tables([drafts(replicate=[1]), drafts(replicate=[2])])
    expected = [
        gen_id(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=at))
        for at in (1, 2)
    ]
    assert expected == arrow.gen_ids(made, Draft).to_pylist()


@pytest.mark.parametrize("rows", [0, 1, 4_095, 4_096, 4_097])
def test_both_ways_of_hashing_meet_at_their_border(rows: int) -> None:
    """Each row's id is that of its text, whichever way its number of rows took."""
    texts = pa.array([f"text {at}" for at in range(rows)], pa.string())
    pieces = [bulk.ids("d", ["", texts.slice(at, 1_000), ""]) for at in range(0, rows, 1_000)]
    whole = bulk.ids("d", ["", texts, ""])
    assert [one for piece in pieces for one in piece.to_pylist()] == whole.to_pylist()


def test_few_rows_take_the_loop_and_more_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query costs more than it saves below a border, which itself is worth one."""
    taken: list[str] = []
    loop = bulk._by_loop

    def noted(name: str, texts: Any) -> Any:
        taken.append(name)
        return loop(texts)

    monkeypatch.setattr(bulk, "_by_loop", partial(noted, "loop"))
    monkeypatch.setattr(bulk, "_by_engine", partial(noted, "engine"))
    for rows in (0, bulk._FEW - 1, bulk._FEW, bulk._FEW + 1):
        bulk.ids("d", ["", pa.array(["x"] * rows, pa.string()), ""])
    assert ["loop", "loop", "engine", "engine"] == taken


def test_a_column_of_ids_takes_28_bytes_a_row_and_its_offsets() -> None:
    """Nothing behind the last one."""
    _validity, offsets, data = bulk.ids("d", ["", pa.array(["a", "b", "c"]), ""]).buffers()
    assert (4 * 4, 3 * 28) == (offsets.size, data.size)


def test_ids_of_several_slabs_are_added_in_their_chunks_or_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table's column is not copied together; a record batch has no chunks."""
    monkeypatch.setattr(arrow, "ROWS", 2)
    made = drafts(replicate=[1, 2, 3, 4, 5])
    batch = made.combine_chunks().to_batches()[0]
    assert 3 == arrow.add_gen_id(made, Draft)["gen_id"].num_chunks
    assert (
        arrow.gen_ids(made, Draft).to_pylist()
        == arrow.add_gen_id(batch, Draft)["gen_id"].to_pylist()
    )


def test_texts_of_a_slice_are_hashed_where_it_begins() -> None:
    """Not where the column behind it does."""
    texts = pa.array([f"text {at}" for at in range(9_001)])
    whole = bulk.ids("d", ["", texts, ""]).to_pylist()
    assert whole[1:8_999] == bulk.ids("d", ["", texts.slice(1, 8_998), ""]).to_pylist()
    assert whole[40:50] == bulk.ids("d", ["", texts.slice(40, 10), ""]).to_pylist()


def test_one_engine_serves_every_thread_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once; slabs hashed at the same time give the ids of the loop, in the table's order."""
    assert bulk._session() is bulk._session()
    made = drafts(combo_id=[f"c{at}" for at in range(5 * bulk._FEW)])
    monkeypatch.setattr(arrow, "ROWS", bulk._FEW)
    by_engine = arrow.gen_ids(made, Draft)
    monkeypatch.setattr(bulk, "_by_engine", bulk._by_loop)
    assert arrow.gen_ids(made, Draft) == by_engine


@pytest.mark.parametrize(
    ("parent_row", "says"),
    [
        ([2], "beyond the 2 rows"),
        ([0, 2], "beyond"),
        ([3], "beyond"),
        ([-1, 1], "beyond"),
        ([-1], "beyond"),
    ],
)
def test_a_parent_row_is_judged_by_both_of_its_ends(parent_row: list[int], says: str) -> None:
    """One row too many and one too few, alone and with sound ones."""
    rows = len(parent_row)
    children = pa.table(
        {"parent_row": parent_row, "template_id": ["e"] * rows, "replicate": [1] * rows}
    )
    with pytest.raises(ColumnError, match=says):
        arrow.chain((Draft, drafts(replicate=[1, 2])), (Essay, children))
    sound = children.set_column(0, "parent_row", pa.array([1] * rows))
    made = arrow.chain((Draft, drafts(replicate=[1, 2])), (Essay, sound))
    assert rows == len(made[1]["gen_id"])


def test_slabs_follow_each_other_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad rows keep their numbers, in whichever slab they lie."""
    monkeypatch.setattr(arrow, "ROWS", 3)
    made = drafts(replicate=[0, 1, 1, 0, 1, 0, 1])
    assert [True, False, False, True, False, True, False] == arrow.bad_rows(made, Draft).to_pylist()
    with pytest.raises(ColumnError) as caught:
        arrow.gen_ids(made, Draft)
    assert ["row 0", "row 3", "row 5"] == [
        problem.place.split(",")[0] for problem in caught.value.problems
    ]
