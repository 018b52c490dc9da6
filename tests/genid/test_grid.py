"""Grids: what they refuse, and that they hold nothing but their axes."""

import tracemalloc
from collections import UserList, deque
from itertools import islice
from typing import Any

import pytest

from genid import Draft, Essay, Evaluation, Grid, SignatureError, gen_id
from genid._rules import _HASH_HINT, _REMEDY

AXES: dict[str, Any] = {
    "combo_id": ["c1", "c2"],
    "template_id": ["t1", "t2"],
    "llm_model_id": ["m"],
    "replicate": range(1, 4),
}


def problems(cls: Any, **axes: Any) -> list[str]:
    """Construct, and return the problems of the error that must come."""
    with pytest.raises(SignatureError) as caught:
        Grid(cls, **axes)
    return [str(problem) for problem in caught.value.problems]


def test_the_last_field_varies_fastest() -> None:
    """Nested loops over the fields as they are declared."""
    grid = Grid(Draft, **AXES)
    assert [
        ("c1", "t1", "m", 1),
        ("c1", "t1", "m", 2),
        ("c1", "t1", "m", 3),
        ("c1", "t2", "m", 1),
    ] == list(islice(grid.cells(), 4))
    first = Draft(combo_id="c1", template_id="t1", llm_model_id="m", replicate=1)
    assert gen_id(first) == next(iter(grid))
    assert 12 == len(grid)


def test_every_problem_of_every_axis_comes_at_once() -> None:
    """Bad values, repeated ones, unknown and missing axes."""
    found = problems(Draft, combo_id=["a b", "C", " c"], template_id=[], replicate=[0], modle=["x"])
    assert [
        "draft.modle: ['x'] is the axis of no field; leave it out",
        f"draft.combo_id: 'a b' has U+0020 ' ' as character 2; {_REMEDY}{_HASH_HINT}",
        "draft.combo_id: 'c' comes twice once normalized; name it once",
        "draft.llm_model_id: has no axis; give a list of values",
        "draft.replicate: 0 is out of range; replicates run from 1 to 2147483647",
    ] == found


@pytest.mark.parametrize("axis", ["abc", b"abc", 3])
def test_one_value_is_no_axis(axis: Any) -> None:
    """A string would otherwise be taken letter by letter."""
    assert ["is one value"] == [
        text.split("; ")[0].split(" ", 2)[2]
        for text in problems(Draft, **{**AXES, "combo_id": axis})
    ]


@pytest.mark.parametrize(
    "axis",
    [
        {"a", "b"}, frozenset("ab"), {"a": 1}, {"a": 1}.keys(), {"a": 1}.values(), iter(["a"]),
        (one for one in "ab"), map(str, "ab"), set(),
    ],
    ids=lambda axis: type(axis).__name__,
)  # fmt: skip
def test_what_is_not_a_sequence_is_not_an_axis(axis: Any) -> None:
    """A set has no order that lasts, an iterator is gone when read; each is one clear problem."""
    kind = type(axis).__name__
    for name in ("combo_id", "replicate"):
        assert [
            f"draft.{name}: {kind!r} is the type of the axis, not a sequence; give a list of values"
        ] == problems(Draft, **{**AXES, name: axis})


def test_an_axis_may_be_any_sequence() -> None:
    """A list, a tuple, a range, a deque, a user's own."""
    expected = list(Grid(Draft, **AXES))
    for kind in (list, tuple, deque, UserList):
        axes = {name: kind(axis) for name, axis in AXES.items()}
        assert expected == list(Grid(Draft, **axes))


def test_a_required_field_is_never_absent() -> None:
    """None is a value for an optional field alone."""
    assert 1 == len(problems(Draft, **{**AXES, "llm_model_id": [None]}))
    mixed = Grid(
        Essay, parent_gen_id=["d_x"], template_id=["t"], replicate=[1], llm_model_id=[None, "m"]
    )
    assert 2 == len(set(mixed))


def test_an_empty_axis_makes_an_empty_grid() -> None:
    """No parents, no children; a grid of none can feed another."""
    none = Grid(Draft, **{**AXES, "combo_id": []})
    assert [] == list(none)
    assert [] == list(Grid(Essay, parent_gen_id=none, template_id=["t"], replicate=[1]))


def test_a_grid_of_the_wrong_stage_feeds_no_children() -> None:
    """An essay's parent is a draft."""
    essays = Grid(Essay, parent_gen_id=["d_x"], template_id=["t"], replicate=[1])
    assert (
        "another stage's prefix"
        in problems(Essay, parent_gen_id=essays, template_id=["t"], replicate=[1])[0]
    )


def test_a_grid_anywhere_else_is_a_list_of_its_ids() -> None:
    """Only the first axis is lazy."""
    drafts = Grid(Draft, **AXES)
    odd = Grid(Draft, combo_id=["c"], template_id=drafts, llm_model_id=["m"], replicate=[1])
    assert list(drafts) == [cell[1] for cell in odd.cells()]


def test_memory_does_not_grow_with_the_number_of_ids() -> None:
    """Thousands of evaluations over a chain of grids, in less than a megabyte."""
    drafts = Grid(Draft, **{**AXES, "combo_id": [f"c{at}" for at in range(50)]})
    essays = Grid(Essay, parent_gen_id=drafts, template_id=["t1", "t2"], replicate=range(1, 5))
    evaluations = Grid(
        Evaluation,
        parent_gen_id=essays,
        template_id=["n1", "n2"],
        llm_model_id=["m1", "m2", "m3"],
        replicate=[1, 2],
    )
    tracemalloc.start()
    deque(islice(evaluations, 20_000), maxlen=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 28_800 == len(evaluations)
    assert 1_000_000 > peak
